"""What the conversions of all types share: their errors, their limit, and ISO 8601."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DAY = 24 * 60 * 60  # seconds


class NotConvertible(Exception):
    """No codec can encode a value. The message names the reason and, if possible, a remedy."""


class LimitExceeded(Exception):
    """A result is larger than a frame may be."""


def check_size(parts: int, limit: int) -> None:
    """Raises `LimitExceeded` before a conversion makes more parts than `limit`."""
    if parts > limit:
        raise LimitExceeded


def duration(count: int, decimals: int) -> str:
    """ISO 8601 for a number of seconds, given in units of ``10**-decimals`` of one."""
    sign, count = ("-", -count) if count < 0 else ("", count)
    seconds, fraction = divmod(count, 10**decimals)
    days, seconds = divmod(seconds, DAY)
    text = f"{sign}P{days}D" if days else f"{sign}P"
    if seconds or fraction:
        part = f".{fraction:0{decimals}}".rstrip("0") if fraction else ""
        return f"{text}T{seconds}{part}S"
    return text if days else "P0D"


def utc_offset(moment: Any) -> str:
    """The suffix of a moment: ``Z`` for UTC, else hours and minutes, as RFC 3339 requires."""
    offset = moment.utcoffset()
    if offset is None:
        return ""
    minutes = round(offset.total_seconds() / 60)
    hours, minutes_left = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{minutes_left:02}" if minutes else "Z"
