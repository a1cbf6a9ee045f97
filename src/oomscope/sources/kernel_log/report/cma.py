"""A contiguous range that could not be had (mm/cma.c cma_alloc(), cma_debug_show_areas()), and who says so besides."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope.model.oom_event import CMA_FAILURE, CmaRequest
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

ALLOC_FAILED = re.compile(
    rb"(?:cma: )?_{0,2}cma_alloc(?:\(\))?: (?:(?P<pool>[^:\s]{1,64}): )?alloc failed, "
    rb"req-size: (?P<asked>\d{1,12}) pages, ret: (?P<error>-?\d{1,4})"
)
DRIVER_FAILED = re.compile(
    rb".{0,120}?(?:[Ff]ailed to allocate from CMA|CMA allocation failed|failed to allocate from CMA)"
)
_AREAS = re.compile(
    rb"(?:cma: )?(?:number of available pages: [\d@+ ]{0,4000})?=> ?(?P<free>\d{1,12}) free of "
    rb"(?P<total>\d{1,12}) total pages"
)
_BUSY = re.compile(rb"alloc_contig_range: \[[0-9a-f]{1,16}, ?[0-9a-f]{1,16}\) PFNs busy")
_DRIVERS_OWN = re.compile(
    rb".{0,80}?(?:failed to allocate buffer with size (?P<size>\d{1,12})"
    rb"|(?P<what>size bos (?:allocated|used|cached)): {1,8}(?P<kib>\d{1,12})kb"
    rb"|num bos (?:allocated|used|cached): \d{1,9})"
)


def begins(text: bytes) -> bool:
    """Whether a line tells of a request for a contiguous range that failed."""
    return any(form.match(text) is not None for form in (ALLOC_FAILED, DRIVER_FAILED, _BUSY))


class CmaLines(ReportSection):
    """The first request of the event that failed, and the pool's state behind it; what a driver adds of its buffers."""

    __slots__ = ("_asked", "buffers_kib", "request")

    def __init__(self, draft: Draft, asked: dict[str, object]) -> None:
        super().__init__(draft)
        self._asked = asked
        self.request: CmaRequest | None = None
        self.buffers_kib: dict[str, int] = {}

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.draft.kind != CMA_FAILURE and b"cma" not in text and b"total pages" not in text:
            return False
        if (match := ALLOC_FAILED.match(text)) is not None:
            if self.request is None or self.request.asked_pages is None:
                pool = match["pool"]
                self.request = CmaRequest(
                    None if pool is None else printable(pool),
                    int(match["asked"]),
                    int(match["error"]),
                    None,
                    None,
                    number,
                )
                self.draft.at("header", number, text)
            return True
        if (match := _AREAS.match(text)) is not None:
            if self.request is not None and self.request.total_pages is None:
                self.request = replace(self.request, free_pages=int(match["free"]), total_pages=int(match["total"]))
                self.draft.at("CMA", number, text)
            return True
        if self.draft.kind != CMA_FAILURE:
            return False
        if DRIVER_FAILED.match(text) is not None:
            if self.request is None:
                self.request = CmaRequest(None, None, None, None, None, number)
                self.draft.at("header", number, text)
            return True
        if (match := _DRIVERS_OWN.match(text)) is not None:
            if match["size"] is not None:
                self._asked.setdefault("size_bytes", int(match["size"]))
            elif match["what"] is not None:
                self.buffers_kib.setdefault(printable(match["what"]), int(match["kib"]))
                self.draft.at(printable(match["what"]), number, text)
            return True
        return _BUSY.match(text) is not None

    def with_buffers(self) -> CmaRequest | None:
        """The request and what the driver said besides; None where only busy ranges are told."""
        return None if self.request is None else replace(self.request, buffers_kib=self.buffers_kib)
