"""Pages, bytes and nanoseconds, and how people read them."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DURATIONS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}


def pages_text(pages: int) -> str:
    """`35,072 pages`; one page is `1 page`."""
    return f"{pages:,} page" if pages == 1 else f"{pages:,} pages"


def size_text(pages: int, page_bytes: int | None) -> str:
    """`137.0 MiB (35,072 pages)`; pages alone where nothing tells how large one is."""
    return pages_text(pages) if page_bytes is None else f"{bytes_text(pages * page_bytes)} ({pages_text(pages)})"


def counted(count: int, thing: str) -> str:
    """`1 row`, `1,234 rows`."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def bytes_text(size_bytes: int) -> str:
    """`137.0 MiB`: the largest binary unit that leaves at least 1, as it is shown: 1,048,575 bytes are 1.0 MiB."""
    value, unit = float(size_bytes), _BINARY[0]
    for unit in _BINARY:
        if round(abs(value), 0 if unit == "B" else 1) < 1024 or unit == _BINARY[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


# What two counts of one moment may differ by: a part that is larger than its whole by more is of no such part.
AT_ONE_MOMENT = 1.02


def share_text(share: float) -> str:
    """`28.5 %`; a share that is not zero never reads as zero, and none is larger than the whole."""
    if abs(share) > AT_ONE_MOMENT:
        return "more than all"
    percent = share * 100
    return "<0.1 %" if 0 < percent < 0.05 else f"{percent:.1f} %"


def duration_text(span_ns: int) -> str:
    """`3.2 d`, `4.0 h`, `75.0 s`, `12.5 ms`: the unit in which the number stays readable."""
    for unit, threshold in (("d", 2 * 86400), ("h", 2 * 3600), ("min", 5 * 60), ("s", 1)):
        if span_ns >= threshold * 10**9:
            return f"{span_ns / _DURATIONS[unit]:.1f} {unit}"
    return f"{span_ns / 10**6:.1f} ms"


def uptime_text(at_ns: int) -> str:
    """`19.637 s`: a moment since boot as the kernel log prints it."""
    return f"{at_ns / 10**9:.3f} s"


def parse_duration_ns(text: str) -> int:
    """Nanoseconds of `12.5`, `12.5s`, `90min`, `3h`, `2d`, `100ms`; a bare number is seconds.

    Raises ValueError where the text is no duration.
    """
    stripped = text.strip()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = stripped[len(number) :] or "s"
    if unit not in _DURATIONS:
        raise ValueError(f"{text!r}: unknown unit {unit!r}; use one of {', '.join(_DURATIONS)}")
    value_ns = float(number) * _DURATIONS[unit]
    if not 0 <= value_ns < 2**63:
        raise ValueError(f"{text!r} is out of range")
    return round(value_ns)
