"""When a case happened: by the sidecar, by the log's own stamps, else by the file's time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from oomscope.model.triage import BY_FILE, BY_LOG, BY_SIDECAR
from oomscope.triage.labels import parsed_time

# dmesg -T and ctime(3); syslog, which tells no year; Android's logcat, which tells none, either.
_WITH_YEAR = (
    (re.compile(r"[A-Z][a-z]{2} +([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d)(?:\.\d+)? (\d{4})"), "{0} {1} {2} {3}"),
    (re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d{4}) (\d\d:\d\d:\d\d)(?:\.\d+)?"), "{0} {1} {3} {2}"),
)
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d)(?:\.\d+)?")
_LOGCAT = re.compile(r"(\d\d)-(\d\d) (\d\d:\d\d:\d\d)\.\d+")
_ISO_FRACTION = re.compile(r",(\d{1,9})")
_LAST_YEAR = 9999  # that a calendar has
_TOLERATED = timedelta(days=2)  # clocks and zones: a log is not written after the file it stands in


def when(sidecar: str | None, stamp: str | None, modified_s: float | None) -> tuple[str | None, str | None]:
    """The time as ISO 8601 in UTC, and who says so; both None where nobody does.

    A stamp without a zone is taken for UTC, one without a year for the last such day before the file was written.
    """
    if sidecar is not None:
        return parsed_time(sidecar), BY_SIDECAR
    written = _at(modified_s)
    told = None if stamp is None else _of_stamp(stamp.strip(), written)
    if told is not None:
        return told, BY_LOG
    return (None, None) if written is None else (written.isoformat(timespec="seconds"), BY_FILE)


def _at(modified_s: float | None) -> datetime | None:
    try:
        return None if modified_s is None else datetime.fromtimestamp(modified_s, UTC)
    except (ValueError, OverflowError, OSError):
        return None  # beyond what a calendar has


def _of_stamp(stamp: str, written: datetime | None) -> str | None:
    for pattern, order in _WITH_YEAR:
        if match := pattern.fullmatch(stamp):
            return _parsed(order.format(*match.groups()))
    if match := _SYSLOG.fullmatch(stamp):
        return _with_year(f"{match[1]} {match[2]} {match[3]}", "%b %d %H:%M:%S", written)
    if match := _LOGCAT.fullmatch(stamp):
        return _with_year(f"{match[1]} {match[2]} {match[3]}", "%m %d %H:%M:%S", written)
    return parsed_time(_ISO_FRACTION.sub(r".\1", stamp))


def _parsed(text: str) -> str | None:
    try:
        return datetime.strptime(text, "%b %d %H:%M:%S %Y").replace(tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        return None


def _with_year(text: str, form: str, written: datetime | None) -> str | None:
    if written is None or written.year >= _LAST_YEAR:
        return None  # no such day, or a file's time that is none
    for year in (written.year, written.year - 1, written.year - 2, written.year - 3, written.year - 4):
        try:
            found = datetime.strptime(f"{text} {year}", f"{form} %Y").replace(tzinfo=UTC)
        except ValueError:
            continue  # 29 February
        if found <= written + _TOLERATED:
            return found.isoformat(timespec="seconds")
    return None
