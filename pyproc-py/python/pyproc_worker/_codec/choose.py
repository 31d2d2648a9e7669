"""Chooses the JSON library: msgspec, or the standard library where msgspec is not installed."""

import contextlib
from typing import Optional

from pyproc_worker._codec.json_codec import Codec, StandardCodec
from pyproc_worker._settings import CODECS


def choose_codec(name: Optional[str] = None, preferred: Optional[str] = None) -> Codec:
    """The codec called `name`, one of `CODECS`.

    Without a name: the preferred one if it is installed, else the fastest that is.

    Raises `ImportError` if the library called `name` is not installed.
    """
    if name == "json":
        return StandardCodec()
    if name == "msgspec":
        from pyproc_worker._codec.msgspec_codec import MsgspecCodec

        return MsgspecCodec()
    for candidate in (preferred, *CODECS):
        if candidate is not None:
            with contextlib.suppress(ImportError):
                return choose_codec(candidate)
    raise AssertionError("json of the standard library is always there")
