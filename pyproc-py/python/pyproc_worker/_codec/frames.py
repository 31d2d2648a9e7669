"""Frames: a big-endian length of four bytes, then the body. No input or output here."""

import struct
from typing import Optional, Union

from pyproc_worker._errors import BrokenFrame
from pyproc_worker._settings import DEFAULT_MAXIMUM

VERSION_1 = 0x7B  # "{"
END_OF_KINDS = 0x20  # the first byte of version 2 is below

Bytes = Union[bytes, bytearray]

prefix = struct.Struct(">I").pack
"""The four bytes before a body of the given length."""

_unpack_length = struct.Struct(">I").unpack_from
_unpack_start = struct.Struct(">IB").unpack_from


class FrameReader:
    """Splits the bytes of one connection into the bodies of frames.

    A frame longer than `maximum` bytes, an empty one, or one of an unknown version ends the
    stream: the frames before it are still returned, `error` is the reason, and everything after
    is ignored. Memory is allocated only for bytes that have arrived.
    """

    def __init__(self, maximum: int = DEFAULT_MAXIMUM) -> None:
        self.error: Optional[BrokenFrame] = None
        self._maximum = maximum
        self._partial = bytearray()
        self._wanted = 4  # bytes that `_partial` needs for the next step

    def feed(self, data: bytes) -> list[Bytes]:
        """Takes the next bytes of the stream and returns the bodies that they complete."""
        if self.error:
            return []
        if not self._partial:
            return self._split(data)
        self._partial += data
        if len(self._partial) < self._wanted:
            return []
        whole, self._partial = self._partial, bytearray()
        return self._split(whole)

    def _split(self, data: Bytes) -> list[Bytes]:
        frames: list[Bytes] = []
        start, end = 0, len(data)
        maximum = self._maximum
        self._wanted = 4
        while end - start > 4:
            length, first = _unpack_start(data, start)
            stop = start + 4 + length
            if (first >= END_OF_KINDS and first != VERSION_1) or not 0 < length <= maximum:
                self._fail(length, first)
                return frames
            if stop > end:
                self._wanted = stop - start
                break
            frames.append(data[start + 4 : stop])
            start = stop
        if start < end:
            self._keep(data[start:])
        return frames

    def _keep(self, rest: Bytes) -> None:
        if len(rest) == 4:  # a wrong length is reported at once, not with the next byte
            (length,) = _unpack_length(rest)
            if not 0 < length <= self._maximum:
                return self._fail(length, VERSION_1)
            self._wanted = 5
        self._partial += rest

    def _fail(self, length: int, first: int) -> None:
        if length == 0:
            reason = "a frame of length 0"
        elif length > self._maximum:
            reason = f"a frame of {length} bytes, longer than the maximum of {self._maximum}"
        else:
            reason = f"a frame that begins with byte 0x{first:02x}, which no version has"
        self.error = BrokenFrame(reason)
