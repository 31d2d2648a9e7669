"""The Go original's module for codecs, for scripts that were written for it.

The worker does not use it: `PYPROC_JSON` selects the worker's JSON library.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = [
    "HAS_MSGSPEC",
    "HAS_ORJSON",
    "Codec",
    "JSONCodec",
    "MsgpackCodec",
    "MsgspecCodec",
    "OrjsonCodec",
    "default_codec",
    "get_codec",
]

HAS_ORJSON = find_spec("orjson") is not None
HAS_MSGSPEC = find_spec("msgspec") is not None


class Codec(ABC):
    """Encodes values to bytes and decodes them."""

    @abstractmethod
    def encode(self, obj: Any) -> bytes: ...

    @abstractmethod
    def decode(self, data: bytes) -> Any: ...

    @property
    @abstractmethod
    def name(self) -> str: ...


class JSONCodec(Codec):
    """JSON by the standard library."""

    name = "json-stdlib"

    def encode(self, obj: Any) -> bytes:
        return json.dumps(obj).encode()

    def decode(self, data: bytes) -> Any:
        return json.loads(data)


class OrjsonCodec(JSONCodec):
    """JSON by the standard library, as this package no longer uses orjson."""

    name = "json-orjson"


class MsgspecCodec(Codec):
    """JSON by msgspec. Raises `ImportError` if it is not installed."""

    name = "msgspec"
    _format = "json"

    def __init__(self) -> None:
        library = getattr(_library("msgspec"), self._format)
        self.encoder = library.Encoder()
        self.decoder = library.Decoder()

    def encode(self, obj: Any) -> bytes:
        encoded: bytes = self.encoder.encode(obj)
        return encoded

    def decode(self, data: bytes) -> Any:
        return self.decoder.decode(data)


class MsgpackCodec(MsgspecCodec):
    """MessagePack by msgspec. Raises `ImportError` if it is not installed."""

    name = "msgpack"
    _format = "msgpack"


_CODECS: dict[str, type[Codec]] = {
    "json": JSONCodec,
    "orjson": OrjsonCodec,
    "msgspec": MsgspecCodec,
    "msgpack": MsgpackCodec,
}


def get_codec(codec_type: str = "auto") -> Codec:
    """The codec called "json", "orjson", "msgspec" or "msgpack"; "auto" is the faster JSON."""
    if codec_type == "auto":
        codec_type = "msgspec" if HAS_MSGSPEC else "json"
    if codec_type not in _CODECS:
        raise ValueError(
            f"Unknown codec type: {codec_type!r}; it may be auto, {', '.join(_CODECS)}"
        )
    return _CODECS[codec_type]()


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: pip install {name}") from error


default_codec: Codec = JSONCodec()
