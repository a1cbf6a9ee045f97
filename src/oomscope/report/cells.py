"""What stands in a cell of any table: shares, kinds with their parts, and the size of the page that they are in."""

from __future__ import annotations

from oomscope.model.balance import BalanceRow
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Verdict
from oomscope.units import share_text, size_text

PARTS_SHOWN = 3


def share_of_ram(share: float | None) -> str:
    """A share of RAM (0..1) as people read it; empty where it is not known."""
    return "" if share is None else share_text(share)


def kind_with_parts(row: BalanceRow) -> str:
    """A row's kind, and the greatest of what is in it."""
    named = ", ".join(f"{name} {pages:,}" for name, pages in row.parts[:PARTS_SHOWN])
    more = f" and {len(row.parts) - PARTS_SHOWN:,} more" if len(row.parts) > PARTS_SHOWN else ""
    return f"{row.kind}: {named}{more}" if named else row.kind


def machine(verdict: Verdict) -> str:
    """`RAM 5.5 GiB, kernel 4.18.0-305.el8 x86_64, host db-3`: as far as the evidence shows it."""
    kernel, oom = verdict.kernel, verdict.oom
    event = None if oom is None or oom.analysis is None else oom.analysis.event
    # Of the event that the answer is of; files beside it may be of another machine.
    release = None if event is None else event.release
    if release is None and isinstance(kernel.release, str):
        release = kernel.release
    page_bytes = page_bytes_of(verdict)
    of_event = None if oom is None or oom.analysis is None else oom.analysis.accounting.ram_pages
    pages = verdict.ram_pages if of_event is None else of_event
    ram = "" if pages is None else size_text(pages, page_bytes).partition(" (")[0]
    arch = kernel.arch if isinstance(kernel.arch, str) and release in (kernel.release, None) else ""
    told = (
        ram and f"RAM {ram}",
        "" if release is None else f"kernel {release}" + ("" if arch in release else f" {arch}"),
        "" if event is None or event.host is None else f"host {event.host}",
    )
    return ", ".join(each for each in told if each)


def page_bytes_of(verdict: Verdict) -> int | None:
    """The page size; where kB became pages by the usual one, that gives the kB again."""
    kernel, oom = verdict.kernel, verdict.oom
    event = None if oom is None or oom.analysis is None else oom.analysis.event
    if event is not None and event.page_kib is not None:
        return event.page_kib * 1024  # the report's own numbers, whatever was given
    if not isinstance(kernel.page_size_bytes, Unknown):
        return kernel.page_size_bytes
    return kernel.page_size_assumed_bytes if verdict.oom is None else None
