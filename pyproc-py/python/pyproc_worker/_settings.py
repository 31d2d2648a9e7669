"""What the environment sets."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Optional

from pyproc_worker._frames import DEFAULT_MAXIMUM

SMALLEST_MAXIMUM = 1024


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a worker, read from the environment once when it starts."""

    max_frame_size: int = DEFAULT_MAXIMUM
    """``PYPROC_MAX_FRAME_SIZE``: bytes of the longest frame, both ways; at least 1,024."""

    parent_pid: Optional[int] = None
    """``PYPROC_PARENT_PID``: the worker exits when this is no longer its parent process."""

    codec: Optional[str] = None
    """``PYPROC_JSON``: msgspec, orjson or json; the fastest that is installed if unset."""

    log_level: str = "INFO"
    """``PYPROC_LOG_LEVEL``: a level of `logging`; counts only if the script set up no logging."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises `ValueError` if a variable makes no sense."""
        maximum = _integer(environment, "PYPROC_MAX_FRAME_SIZE", SMALLEST_MAXIMUM)
        return cls(
            max_frame_size=DEFAULT_MAXIMUM if maximum is None else maximum,
            parent_pid=_integer(environment, "PYPROC_PARENT_PID", 1),
            codec=environment.get("PYPROC_JSON") or None,
            log_level=(environment.get("PYPROC_LOG_LEVEL") or "INFO").upper(),
        )


def _integer(environment: Mapping[str, str], name: str, least: int) -> Optional[int]:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or not least <= int(text) < 2**32:
        raise ValueError(f"{name} is {text!r}; it must be an integer, at least {least}")
    return int(text)
