"""Moments as scripts of SQL Server up to 2012 write them: CAST(0x00009CEF00A25634 AS DateTime).

The bytes are the server's own storage format. DateTime has days since 1900 and units of 1/300 s; SmallDateTime has days
since 1900 and minutes; Date has days since the year 1; DateTime2 has a scale, the time in units of that scale, and days
since the year 1.
"""

import re
from datetime import date, datetime, timedelta

_HEXADECIMAL = re.compile(
    r"CAST\(\s*0x([0-9A-F]{6,20})\s+AS\s+\[?(date|datetime|smalldatetime|datetime2)\]?\s*(?:\([0-7]\)\s*)?\)",
    re.IGNORECASE,
)
_SINCE = datetime(1900, 1, 1)  # noqa: DTZ001 - without a zone, as the server keeps it


def moment_of(text: str) -> str | None:
    """Return the moment, or the date, in ISO form; None for any other text."""
    found = _HEXADECIMAL.fullmatch(text)
    if found is None or len(found[1]) % 2:
        return None
    data, of_type = bytes.fromhex(found[1]), found[2].lower()
    try:
        if of_type == "datetime" and len(data) == 8:
            days, ticks = int.from_bytes(data[:4], "big", signed=True), int.from_bytes(data[4:], "big")
            return (_SINCE + timedelta(days=days, seconds=ticks // 300)).isoformat(" ")
        if of_type == "smalldatetime" and len(data) == 4:
            days, minutes = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big")
            return (_SINCE + timedelta(days=days, minutes=minutes)).isoformat(" ")
        if of_type == "date":
            return _day(data[:3]).isoformat()
        if of_type == "datetime2" and data[0] <= 7:
            seconds = int.from_bytes(data[1:-3], "little") // 10 ** data[0]
            return (datetime.combine(_day(data[-3:]), datetime.min.time()) + timedelta(seconds=seconds)).isoformat(" ")
    except (OverflowError, ValueError):
        return None
    return None


def _day(data: bytes) -> date:
    return date.fromordinal(int.from_bytes(data, "little") + 1)
