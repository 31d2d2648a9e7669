"""Splits a message into its members where no JSON library reads the whole message.

It finds the id of a frame that is nested too deeply, for instance. It's slow: no peer sends
many such frames.
"""

from __future__ import annotations

import json
import re
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented

from pyproc_worker._errors import BrokenFrame

_skip_space = re.compile(r"[ \t\n\r]*").match
_scalar = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null").match
_CLOSING = {"{": "}", "[": "]"}


def members(text: str) -> dict[str, str]:
    """The members of the JSON object `text`, not decoded. The last of equal keys counts.

    Raises `BrokenFrame` if the text is not an object.
    """
    try:
        return _members(text)
    except json.JSONDecodeError as error:
        raise BrokenFrame(f"a frame that is no JSON: {error}") from None


def _members(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = _after(text, 0, "{")
    if text[at : at + 1] != "}":
        while True:
            key, start = _key(text, at)
            end = _end_of_value(text, start)
            found[key] = text[start:end]
            at = _space(text, end)
            if text[at : at + 1] != ",":
                break
            at = _space(text, at + 1)
    end = _after(text, at, "}")
    if end != len(text):
        raise _no_json(text, end)
    return found


def _end_of_value(text: str, at: int) -> int:
    """The end of the value that begins at `at`. Not recursive, so that any depth is read."""
    enclosing: list[str] = []
    while True:
        first = text[at : at + 1]
        if first in _CLOSING:
            inner = _space(text, at + 1)
            if text[inner : inner + 1] != _CLOSING[first]:
                enclosing.append(first)
                at = _key(text, inner)[1] if first == "{" else inner
                continue
            at = inner + 1
        elif first == '"':
            at = scanstring(text, at + 1)[1]
        else:
            scalar = _scalar(text, at)
            if scalar is None:
                raise _no_json(text, at)
            at = scalar.end()
        while enclosing:
            end = _space(text, at)
            if text[end : end + 1] == ",":
                at = _space(text, end + 1)
                if enclosing[-1] == "{":
                    at = _key(text, at)[1]
                break
            if text[end : end + 1] != _CLOSING[enclosing.pop()]:
                raise _no_json(text, end)
            at = end + 1
        else:
            return at


def _key(text: str, at: int) -> tuple[str, int]:
    """A key, and the start of its value."""
    if text[at : at + 1] != '"':
        raise _no_json(text, at)
    key, end = scanstring(text, at + 1)
    return key, _after(text, _space(text, end), ":")


def _after(text: str, at: int, expected: str) -> int:
    if text[at : at + 1] != expected:
        raise _no_json(text, at)
    return _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = _skip_space(text, at)
    return at if found is None else found.end()


def _no_json(text: str, at: int) -> json.JSONDecodeError:
    return json.JSONDecodeError("unexpected character or end", text, at)
