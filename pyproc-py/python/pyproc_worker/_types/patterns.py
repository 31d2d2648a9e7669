"""Patterns of dates, times, durations, UUIDs, decimals and base64, as msgspec reads them.

The schemas contain them beside `format`, which validators may ignore, and which excludes datetimes
without an offset. They use only what all dialects of regular expressions share. Values that no
pattern can exclude (February 30, a duration of more than 999,999,999 days) are refused when read.
"""

import re


def _whole(pattern: str) -> str:
    return f"^{pattern}$"


_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
_OFFSET = r"([Zz]|[-+]([01][0-9]|2[0-3]):?[0-5][0-9])"
_NUMBER = r"[0-9]+(\.[0-9]+)?"  # the last part of a duration may have a fraction
_OF_A_DAY = rf"({_NUMBER}[Hh]|([0-9]+[Hh])?({_NUMBER}[Mm]|([0-9]+[Mm])?{_NUMBER}[Ss]))"

DATE = _whole(_DATE)
TIME = _whole(f"{_TIME}{_OFFSET}?")
DATETIME = _whole(f"{_DATE}[Tt ]{_TIME}{_OFFSET}?")
DURATION = _whole(f"[-+]?[Pp]({_NUMBER}[Dd]|([0-9]+[Dd])?[Tt]{_OF_A_DAY})")
UUID = _whole(r"([0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32})")
BASE64 = _whole(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

AWARE = f"{_OFFSET}$"
"""The end of a text with a time zone."""
NAIVE = r":[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"

DECIMAL = _whole(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([Ee][-+]?[0-9]{1,17})?")
"""Finite numbers, also in Python's notation: ``1E+5``."""
is_decimal = re.compile(DECIMAL[1:-1]).fullmatch
