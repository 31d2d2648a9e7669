"""The settings of a worker, from the environment."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_MAXIMUM = 10 * 1024 * 1024
SMALLEST_MAXIMUM = 1024
CORES = ("python", "native")
CODECS = ("msgspec", "json")  # the faster first
_FORMER = {"orjson": "json"}  # libraries of earlier versions
OWNER_ONLY = 0o600  # readable and writable


class Settings:
    """Settings of a worker, read from the environment once when it starts."""

    max_frame_size: int = DEFAULT_MAXIMUM
    """``PYPROC_MAX_FRAME_SIZE``: bytes of the longest frame, both ways; at least 1,024."""

    parent_pid: int | None = None
    """``PYPROC_PARENT_PID``: the worker ends with this process, which started it: its parent, or
    an ancestor with a wrapper in between."""

    codec: str | None = None
    """``PYPROC_JSON``: msgspec or json, for the core in Python; msgspec if unset and installed.
    ``orjson``, which earlier versions used, means json."""

    core: str | None = None
    """``PYPROC_WORKER_CORE``: python or native; native if unset and installed."""

    spin_us: int = 0
    """``PYPROC_SPIN_US``: microseconds that the worker polls for messages before it sleeps; see
    `Spin`. 0 means no spinning."""

    socket_mode: int = OWNER_ONLY
    """``PYPROC_SOCKET_MODE``: the mode of the socket's file, in octal digits, independent of the
    umask. Other users must be in ``PYPROC_ALLOWED_UIDS``, too."""

    allowed_uids: frozenset[int] = frozenset()
    """``PYPROC_ALLOWED_UIDS``: numbers of the users that may connect besides the worker's own and
    root, separated by commas."""

    log_level: str = ""
    """``PYPROC_LOG_LEVEL`` in upper case: a level of `logging`, or directives of the Rust side's
    log. It is the root logger's level, unless the script sets one."""

    forward_logs: bool = True
    """``PYPROC_FORWARD_LOGS``: whether clients that ask for logs get any; 0 or 1."""

    preferred_codec: str | None = None
    """Like `codec`, but ignored if it is not installed. From ``PYPROC_CODEC_TYPE``, else the
    argument of `run_worker`; see `codec_of_type`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Reads the settings. Raises `ValueError` for an invalid variable."""
        maximum = _integer(environment, "PYPROC_MAX_FRAME_SIZE", SMALLEST_MAXIMUM)
        settings = cls()
        settings.max_frame_size = DEFAULT_MAXIMUM if maximum is None else maximum
        settings.parent_pid = _integer(environment, "PYPROC_PARENT_PID", 1)
        settings.codec = _codec(environment)
        settings.core = _one_of(environment, "PYPROC_WORKER_CORE", CORES)
        settings.spin_us = _integer(environment, "PYPROC_SPIN_US", 0) or 0
        settings.socket_mode = _mode(environment, "PYPROC_SOCKET_MODE")
        settings.allowed_uids = _uids(environment, "PYPROC_ALLOWED_UIDS")
        settings.forward_logs = _one_of(environment, "PYPROC_FORWARD_LOGS", ("0", "1")) != "0"
        settings.log_level = (environment.get("PYPROC_LOG_LEVEL") or "").upper()
        return settings


def codec_of_type(codec_type: str) -> str | None:
    """The JSON library for a codec type of the Go original's worker; None for ``auto``.

    Raises `ValueError` for an unknown type.
    """
    if codec_type == "msgpack":
        raise ValueError(
            "the codec type 'msgpack' is not needed: leave it out. The worker answers each body "
            "in the form it came in, and a pool sends MessagePack where it is asked to"
        )
    codec_type = _FORMER.get(codec_type, codec_type)
    if codec_type not in ("auto", *CODECS):
        raise ValueError(
            f"the codec type is {codec_type!r}; it may be one of auto, {', '.join(CODECS)}"
        )
    return None if codec_type == "auto" else codec_type


def _codec(environment: Mapping[str, str]) -> str | None:
    if environment.get("PYPROC_JSON") in _FORMER:
        return _FORMER[environment["PYPROC_JSON"]]
    return _one_of(environment, "PYPROC_JSON", CODECS)


def _one_of(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    text = environment.get(name) or None
    if text is not None and text not in choices:
        raise ValueError(f"{name} is {text!r}; it may be one of {', '.join(choices)}")
    return text


def _integer(environment: Mapping[str, str], name: str, least: int) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or not least <= int(text) < 2**32:
        raise ValueError(f"{name} is {text!r}; it must be an integer, at least {least}")
    return int(text)


def _mode(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if not text:
        return OWNER_ONLY
    digits = text[1:] if len(text) == 4 and text[0] == "0" else text
    if len(digits) != 3 or set(digits) - set("01234567") or digits[0] not in "67":
        raise ValueError(
            f"{name} is {text!r}; it must be octal digits, such as 0660, that let the owner read "
            "and write"
        )
    return int(digits, 8)


def _uids(environment: Mapping[str, str], name: str) -> frozenset[int]:
    text = environment.get(name)
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdecimal() and len(part) <= 10 for part in parts):
        raise ValueError(f"{name} is {text!r}; it must be numbers of users, such as 1000,1001")
    return frozenset(map(int, parts))
