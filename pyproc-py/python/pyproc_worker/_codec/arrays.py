"""Converts results of NumPy and pandas. This package imports neither library.

===================================  ==============================================
a result of type                     arrives as
===================================  ==============================================
NumPy scalar                         number, boolean or string
NumPy array                          nested arrays
Series, Index, pandas' arrays        array of the values
datetime64, Timestamp                like a datetime, with as many digits of a second as it
                                     needs; like a date if the unit is a day or longer
timedelta64, Timedelta               like a timedelta; months and years as ``P3M``, ``P2Y``
NaT, NA                              null
===================================  ==============================================

A DataFrame is refused: JSON can represent it in several ways, and it has a method for each.
"""

from __future__ import annotations

import sys

from pyproc_worker._codec.conversion import NotConvertible, check_size, duration, utc_offset

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DECIMALS = {"s": 0, "ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}
_SECONDS = {"m": 60, "h": 60 * 60, "D": 24 * 60 * 60, "W": 7 * 24 * 60 * 60}


def knows(value: Any) -> bool:
    """Whether `convert` of this module converts a value."""
    numpy = _loaded("numpy")
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return True
    pandas = _loaded("pandas")
    if pandas is None:
        return False
    return value is pandas.NA or value is pandas.NaT or isinstance(value, _types(pandas))


def convert(value: Any, room: int) -> Any:
    """Converts a value by one step; see `convert.convert`."""
    numpy = _loaded("numpy")
    if isinstance(value, numpy.ndarray):
        return _array(value, room)
    if isinstance(value, numpy.generic):
        return _scalar(numpy, value)
    pandas = _loaded("pandas")
    if value is pandas.NA or value is pandas.NaT:
        return None
    if isinstance(value, pandas.DataFrame):
        raise NotConvertible('a DataFrame is not JSON: return `.to_dict("records")` of it')
    if isinstance(value, pandas.Period):
        raise NotConvertible("a Period is not JSON: return `str(...)` of it, or its `.start_time`")
    if isinstance(value, pandas.Interval):
        raise NotConvertible("an Interval is not JSON: return its `.left` and `.right`")
    if isinstance(value, pandas.Timedelta):
        return value.to_timedelta64()
    if isinstance(value, pandas.Timestamp):
        return _moment(numpy, value.tz_localize(None).to_datetime64()) + utc_offset(value)
    check_size(value.size, room)
    return list(value)


def _types(pandas: Any) -> tuple[type, ...]:
    array = pandas.api.extensions.ExtensionArray
    scalars = (pandas.Timestamp, pandas.Timedelta, pandas.Period, pandas.Interval)
    return (pandas.DataFrame, pandas.Series, pandas.Index, array, *scalars)


def _loaded(module: str) -> Any:
    return sys.modules.get(module)


def _array(value: Any, room: int) -> Any:
    check_size(value.size, room)
    if value.dtype.kind in "mMV":  # for some units, `tolist` returns integers
        return list(value) if value.ndim else value[()]
    return value.tolist()


def _scalar(numpy: Any, value: Any) -> Any:
    if isinstance(value, numpy.datetime64):
        return None if numpy.isnat(value) else _moment(numpy, value)
    if isinstance(value, numpy.timedelta64):
        return None if numpy.isnat(value) else _span(numpy, value)
    if isinstance(value, numpy.void) and value.dtype.names:
        return [value[name] for name in value.dtype.names]
    item = value.item()
    if type(item) is type(value):
        name = type(value).__name__
        helps = "its `.real` and `.imag`" if value.dtype.kind == "c" else "`float(...)` of it"
        raise NotConvertible(f"a {name} is not JSON: return {helps}")
    return item


def _moment(numpy: Any, value: Any) -> str:
    unit, _ = numpy.datetime_data(value.dtype)
    is_date = unit in ("Y", "M", "W", "D")
    if is_date or unit in ("h", "m"):
        value = value.astype("datetime64[D]" if is_date else "datetime64[s]")
    text = str(value)
    if len(text.partition("-")[0]) != 4 or text.startswith("0000"):  # also of "-001-01-01"
        raise NotConvertible(f"the date {text} is not JSON: dates have the years 0001 to 9999")
    return text if is_date else _with_groups(text)


def _with_groups(text: str) -> str:
    """A moment whose fraction has 0, 6, 9 or more digits, in groups of three."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    digits = max(6, -(-len(fraction) // 3) * 3)
    return f"{whole}.{fraction:0<{digits}}" if fraction else whole


def _span(numpy: Any, value: Any) -> str:
    unit, each = numpy.datetime_data(value.dtype)
    count = int(value.astype("int64")) * each
    if unit in ("Y", "M"):
        return f"{'-' if count < 0 else ''}P{abs(count)}{unit}" if count else "P0D"
    if unit in _SECONDS:
        return duration(count * _SECONDS[unit], 0)
    if unit not in _DECIMALS:
        raise NotConvertible("a timedelta64 without a unit has no length: give it one")
    return duration(count, _DECIMALS[unit])
