"""JSON for telemetry: any texts and values, of limited size, without exceptions.

It uses only built-in modules, so that no JSON library is loaded for it.
"""

from __future__ import annotations

import math

try:
    from _json import encode_basestring as quote  # what `json` itself uses
except ImportError:  # another Python than CPython
    from json.encoder import py_encode_basestring as quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

DEEPEST = 8
"""Levels of nesting; deeper values are left out."""

CUT = "…"
"""Replaces values that are left out."""

_LARGEST_INTEGER = 2**63

__all__ = [
    "bounded",
    "encoded",
    "members",
    "quote",
    "shortened",
    "shortened_amid",
    "text_of",
]


def encoded(text: str) -> bytes:
    """`text` in UTF-8; lone surrogates become question marks."""
    return text.encode("utf-8", "replace")


def shortened(text: str, limit: int) -> str:
    """`text`, cut to about `limit` characters with a note of its length."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}{CUT} (cut, of {len(text)} characters)"


def shortened_amid(text: str, limit: int) -> str:
    """`text`, cut in the middle to about `limit` characters, three quarters of them its end."""
    if len(text) <= limit:
        return text
    head = limit // 4
    note = f"\n{CUT} (cut, of {len(text)} characters)\n"
    return text[:head] + note + text[len(text) - limit + head :]


def text_of(value: Any) -> str:
    """`str(value)`, or a replacement if that raises."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose __str__ raised {type(error).__name__}>"


def members(mapping: Mapping[str, str]) -> str:
    """A JSON object of strings."""
    return "{" + ",".join(f"{quote(name)}:{quote(text)}" for name, text in mapping.items()) + "}"


def bounded(items: Iterable[tuple[Any, Any]], limit: int) -> str:
    """A JSON object of any values, of about `limit` characters.

    Values that JSON does not have become strings. Values beyond the limit are left out; values
    deeper than `DEEPEST` become `CUT`, which also ends cycles.
    """
    return _Writer(limit).object(items, 0)


class _Writer:
    """Encodes values until the limit is reached."""

    def __init__(self, limit: int) -> None:
        self._room = limit

    def object(self, items: Iterable[tuple[Any, Any]], depth: int) -> str:
        written: dict[str, str] = {}
        for key, value in items:
            if self._room <= 0:
                written[f'"{CUT}"'] = f'"{CUT}"'
                break
            name = self._text(key if isinstance(key, str) else text_of(key))
            written[name] = self._value(value, depth + 1)
        return "{" + ",".join([f"{name}:{text}" for name, text in written.items()]) + "}"

    def _array(self, values: Iterable[Any], depth: int) -> str:
        written: list[str] = []
        for value in values:
            if self._room <= 0:
                written.append(f'"{CUT}"')
                break
            written.append(self._value(value, depth + 1))
        return "[" + ",".join(written) + "]"

    def _value(self, value: Any, depth: int) -> str:
        if isinstance(value, str):
            return self._text(value)
        self._room -= 8
        if value is None or value is True or value is False:
            return "null" if value is None else "true" if value else "false"
        try:
            if isinstance(value, int) and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
                return int.__repr__(value)
            if isinstance(value, float) and math.isfinite(value):
                return float.__repr__(value)
            if isinstance(value, (dict, list, tuple)):
                return self._nested(value, depth)
        except Exception:  # a subclass with broken methods
            pass
        return self._text(text_of(value))

    def _nested(self, value: Any, depth: int) -> str:
        if depth > DEEPEST:
            return f'"{CUT}"'
        if isinstance(value, dict):
            return self.object(list(value.items()), depth)
        return self._array(list(value), depth)

    def _text(self, text: str) -> str:
        quoted = quote(shortened(text, max(self._room, 0)))
        self._room -= len(quoted)
        return quoted
