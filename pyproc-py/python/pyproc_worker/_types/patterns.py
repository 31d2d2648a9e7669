"""Which texts are dates, times, durations and their like: as msgspec reads them.

The schemas say so by these patterns, which have no more than all dialects of regular expressions
share: `format` binds no validator, and takes neither a naive datetime nor a fraction of a second.
What a pattern cannot say (February 30, a duration of more than 999,999,999 days) is refused, too.
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
"""What a text with a time zone ends with."""
NAIVE = r":[0-9]{2}:[0-9]{2}(\.[0-9]+)?$"

DECIMAL = _whole(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([Ee][-+]?[0-9]{1,17})?")
"""Finite numbers, also as Python writes them: ``1E+5``."""
is_decimal = re.compile(DECIMAL[1:-1]).fullmatch
