"""The one answer: who holds the memory, how much, by what evidence. Every output reads it and decides nothing.

With an OOM report its class decides. A class that leaves memory without a name (WANTS_A_NAME) takes the name from
allocation stacks, else from the report's own call sites and caches; any other class is its own answer, whatever stacks
lie beside it. Without a report, or where it cannot tell, the greatest culprit over all its stacks answers, or the
greatest stack where that holds more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from oomscope.model import answer as kinds
from oomscope.model.account import (
    BYTES,
    CALL_SITE,
    DMA_BUFFER,
    PAGES,
    PER_CPU,
    SLAB_CACHE,
    UNREFERENCED,
    VMALLOC_CALLER,
    ZRAM_DISK,
)
from oomscope.model.answer import BY_REPORT, BY_STACKS, LACKING, NO_REPORT, Answer
from oomscope.model.answer import UNDETERMINED as NOT_TOLD
from oomscope.model.holding import BALLOON, KERNEL, LARGE_KMALLOC
from oomscope.model.holding import SLAB as SLAB_KIND
from oomscope.model.oom_event import CallSite, OomEvent, own_pages
from oomscope.model.ranked import Consumer, CulpritRow
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import POSSIBLE, Finding, Oom
from oomscope.units import bytes_text, share_text
from oomscope.verdict.headline import Headline, headline, outcome, when
from oomscope.verdict.oom.case import (
    HIDDEN_KERNEL,
    MEMCG_LIMIT,
    SLAB,
    UNDETERMINED,
    USER_ANON,
    VMALLOC,
    WANTS_A_NAME,
    Cause,
)
from oomscope.verdict.oom.hidden_kernel import COUNTED
from oomscope.verdict.rules.case import RuleCase

WORTH_NAMING = 0.05  # of RAM: a holder that answers for the case
_PART_OF_CLASS = 0.2  # of the class's pages: as much as a culprit must hold to answer for it
_MOST_OF_CLASS = 0.5  # as much as a report's own accounts must
_OF_PROCESSES = (USER_ANON, MEMCG_LIMIT)
# Which files say who holds the memory of a class.
_ACCOUNTS_FOR = {
    SLAB: (SLAB_CACHE, CALL_SITE, UNREFERENCED),
    VMALLOC: (VMALLOC_CALLER, CALL_SITE),
    HIDDEN_KERNEL: (CALL_SITE, VMALLOC_CALLER, DMA_BUFFER, ZRAM_DISK, PER_CPU),
}


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who holds the memory, as far as it is known, and how that is said."""

    name: str | None
    kind: str
    module: str | None = None
    pages: int | None = None
    share: float | None = None
    who: str = ""
    text: str = ""
    second: str = ""
    row: CulpritRow | None = None


def answer(case: RuleCase, oom: Oom | None, findings: tuple[Finding, ...]) -> Answer:
    """The answer of a case; `findings` are all of its findings, those of the class first."""
    oom_class = NO_REPORT if oom is None else oom.oom_class
    holder = _by_report(case, oom, findings) if oom is not None and _decides(oom) else _by_stacks(case, oom, findings)
    first = findings[0] if findings else None
    pages = holder.pages if holder.pages is not None or first is None else first.pages
    ram_pages = case.facts.evidence.ram_pages
    share = holder.share
    if share is None and pages is not None and not isinstance(ram_pages, Unknown) and 0 <= pages <= ram_pages:
        share = pages / ram_pages
    return Answer(
        oom_class=oom_class,
        holder=holder.name,
        holder_kind=holder.kind,
        module=holder.module,
        pages=pages,
        share_of_ram=share,
        certainty=oom.certainty if oom is not None and oom.certainty else _certainty(holder, findings),
        by=_by(case, oom, holder, first),
        who=holder.who,
        text=holder.text,
        second=holder.second,
        paragraph=_paragraph(oom, holder, first) if oom is not None else (),
        next=oom.next if oom is not None and oom.next else "" if first is None else first.next,
        row=holder.row,
    )


def _certainty(holder: _Holder, findings: tuple[Finding, ...]) -> str | None:
    """Of the finding that says what the answer says: of a culprit, the one with the pages of all its stacks."""
    if holder.row is not None:
        begins = f"{holder.row.culprit} holds "
        for finding in findings:
            if finding.pages == holder.row.pages and finding.claim.startswith(begins):
                return finding.certainty
    return findings[0].certainty if findings else None


def row_for(causes: Collection[tuple[str, int | None]], culprits: Iterable[CulpritRow]) -> CulpritRow | None:
    """The first culprit that holds enough of the memory which one of these causes leaves without a name.

    A cause is its class and its pages.
    """
    return next(
        (row for row in culprits if _is_worth_naming(row) and any(_is_of(row, *cause) for cause in causes)), None
    )


def _is_of(row: CulpritRow, oom_class: str, pages: int | None) -> bool:
    """Whether a culprit's memory is what the class leaves without a name.

    Of a culprit that a dying kernel told of without any of its stacks, the kind is not known: half of all slab is
    enough to be of it. Before 6.1 kmalloc() of more than two pages goes by names that do not tell that it is counted
    as slab (mm/slub.c): such a culprit is one that holds as much as all slab.
    """
    if row.pages < _PART_OF_CLASS * (pages or 0):
        return False
    if oom_class != SLAB:
        return oom_class in WANTS_A_NAME and (not row.kinds or KERNEL in row.kinds)
    if not row.kinds:
        return row.pages >= _MOST_OF_CLASS * (pages or 0)
    return bool({SLAB_KIND, LARGE_KMALLOC} & set(row.kinds)) or (
        KERNEL in row.kinds and pages is not None and row.pages >= pages
    )


def _paragraph(oom: Oom, holder: _Holder, first: Finding | None) -> tuple[str, ...]:
    """The event's story; the class's claim is no part of it where it is the headline already."""
    what_happened, *rest = oom.story or ("",)
    if not oom.story:
        return ()
    return (what_happened, *(rest[1:] if first is not None and first.claim in holder.text else rest))


def _decides(oom: Oom) -> bool:
    """Whether the report's class is the answer, or says at least what is to be named."""
    return oom.analysis is not None and oom.oom_class != UNDETERMINED


def _is_worth_naming(row: CulpritRow) -> bool:
    return (row.share_of_ram or 0) >= WORTH_NAMING


def _by_report(case: RuleCase, oom: Oom, findings: tuple[Finding, ...]) -> _Holder:
    assert oom.analysis is not None
    event = oom.analysis.event
    row = row_for([(oom.oom_class, findings[0].pages)], case.culprits)
    holder = _of_row(row, case) if row is not None else _call_site(case, oom, event, findings[0].pages or 0)
    if holder is not None:
        return replace(holder, text=holder.text + _ended(case))
    line = _line(case, oom, findings[0])
    if oom.oom_class == SLAB and event.slab_caches:
        cache = max(event.slab_caches, key=lambda each: each.total_kib)
        pages = cache.total_kib // (event.page_kib or 4)
        return _Holder(cache.name, kinds.SLAB_CACHE, pages=pages, who=line.who, text=line.text)
    if oom.oom_class in _OF_PROCESSES and (event.processes or event.victims):
        return _of_process(event, line)
    return _Holder(None, kinds.NOBODY, who=line.who, text=line.text)


def _line(case: RuleCase, oom: Oom, first: Finding) -> Headline:
    assert case.event is not None
    return headline(case.event, Cause(oom.oom_class, first))


def _ended(case: RuleCase) -> str:
    """How the event ended, and when, behind whom stacks name."""
    return "" if case.event is None else f"{outcome(case.event)}{when(case.event)}"


def _by_stacks(case: RuleCase, oom: Oom | None, findings: tuple[Finding, ...]) -> _Holder:
    """The greatest culprit where its stacks together hold more than any one, else the greatest stack, else why none."""
    row, consumer = _greatest(case)
    if consumer is None and row is None:
        return _without_a_name(case, oom, findings)
    if row is not None and (consumer is None or row.pages > consumer.pages or consumer.holding.culprit is not None):
        holder = _of_row(row, case)
        # Beside a report that cannot tell, what little stacks name is said and answers for nothing.
        is_little = case.event is not None and row.share_of_ram is not None and not _is_worth_naming(row)
        return replace(holder, name=None, kind=kinds.NOBODY) if is_little else holder
    assert consumer is not None
    holding = consumer.holding
    return _Holder(
        holding.kind,
        kinds.MEMORY,
        pages=consumer.pages,
        share=consumer.share_of_ram,
        who=holding.name,
        text=f" {_holds(holding.kind)} {consumer.amount}",
    )


def _greatest(case: RuleCase) -> tuple[CulpritRow | None, Consumer | None]:
    """The greatest culprit and the greatest stack.

    What a balloon holds is the host's, and no RAM: it comes behind whoever holds a part of RAM that is worth naming.
    """
    row = case.culprits[0] if case.culprits else None
    consumer = case.consumers[0] if case.consumers else None
    if consumer is not None and consumer.holding.kind == BALLOON:
        rows = [each for each in case.culprits if each.kinds != (BALLOON,) and _is_worth_naming(each)]
        others = [each for each in case.consumers if each.holding.kind != BALLOON]
        if rows and others:
            return rows[0], others[0]
    return row, consumer


def _without_a_name(case: RuleCase, oom: Oom | None, findings: tuple[Finding, ...]) -> _Holder:
    if case.most_allocations:
        first = case.most_allocations[0]
        text = f" made most allocations: {first.blocks:,}; pages are not counted here"
        return _Holder(None, kinds.NOBODY, who=first.name, text=text)
    if case.event is not None and oom is not None and findings:
        line = _line(case, oom, findings[0])
        return _Holder(None, kinds.NOBODY, who=line.who, text=line.text)
    if not case.counted_stacks and (case.facts.balance is not None or findings):
        return _Holder(
            None, kinds.NOBODY, text=findings[0].claim if findings else "Who took the pages was not recorded"
        )
    return _Holder(None, kinds.NOBODY, text="Nobody can be named: only early, dummy or failure stacks hold pages")


def _of_row(row: CulpritRow, case: RuleCase) -> _Holder:
    consumer = next((each for each in case.consumers if each.holding.culprit == row.culprit), None)
    greatest = _greatest(case)[1]
    kind = row.kinds[0] if len(row.kinds) == 1 else ""
    over = "in one stack" if row.stacks == 1 else f"over {row.stacks:,} stacks"
    text, second = f" {_holds(kind)} {_amount_of_row(row, case)}, {over}", ""
    if case.is_told_in_part(row):
        printed = f"by the {row.stacks:,} of its stacks that were printed"
        text = f" {_holds(kind)} at least {_amount_of_row(row, case)}, {printed}"
    if consumer is not None and row.stacks == 1:
        text = f" {_holds(consumer.holding.kind)} {consumer.amount}"
    elif consumer is not None and consumer is greatest:
        second = f"its greatest single stack holds {consumer.amount}"
    if greatest is not None and consumer is not greatest:
        second = f"the greatest single stack: {greatest.holding.name} holds {greatest.amount}"
    return _Holder(
        row.culprit.function,
        kinds.CULPRIT,
        row.culprit.module,
        row.pages,
        row.share_of_ram,
        str(row.culprit),
        text,
        second,
        row,
    )


def _amount_of_row(row: CulpritRow, case: RuleCase) -> str:
    share = "" if row.share_of_ram is None else f", {share_text(row.share_of_ram)} of RAM"
    return f"{case.size(row.pages)}{share}"


def _holds(kind: str) -> str:
    return "grew slab caches to hold" if kind == SLAB_KIND else "holds"


def _call_site(case: RuleCase, oom: Oom, event: OomEvent, class_pages: int) -> _Holder | None:
    """Whom the report's own allocation profiling names, where that holds most of what the class leaves without a name.

    Slab and user memory, which the report counts, are none of it.
    """
    ram_pages, page_bytes = case.facts.evidence.ram_pages, case.facts.evidence.kernel.page_size_bytes
    if oom.oom_class not in (HIDDEN_KERNEL, VMALLOC) or isinstance(ram_pages, Unknown):
        return None
    if isinstance(page_bytes, Unknown):  # bytes cannot be held against pages
        return None
    site = max(filter(_is_uncounted, event.call_sites), key=lambda each: each.size_bytes, default=None)
    least = max(WORTH_NAMING * ram_pages, _MOST_OF_CLASS * class_pages)
    if site is None or site.size_bytes < least * page_bytes:
        return None
    pages = site.size_bytes // page_bytes
    function = site.function.removesuffix("_noprof")
    share = pages / ram_pages if pages <= ram_pages else None
    of_ram = "" if share is None else f", {share_text(share)} of RAM"
    return _Holder(
        function,
        kinds.CALL_SITE,
        site.module,
        pages,
        share,
        f"{function} [{site.module}]" if site.module else function,
        f" allocated {bytes_text(site.size_bytes)}{of_ram}, by the report's allocation profiling",
    )


def _is_uncounted(site: CallSite) -> bool:
    return not any(word in site.function for word in COUNTED)


def _of_process(event: OomEvent, line: Headline) -> _Holder:
    """The process with most memory of its own, else the victim."""
    most = max(event.processes, key=own_pages, default=None)
    if most is not None:
        return _Holder(most.comm, kinds.PROCESS, pages=own_pages(most), who=line.who, text=line.text)
    victim = event.victims[0]
    kib = victim.kib.get("anon-rss")
    pages = None if kib is None else kib // (event.page_kib or 4)
    return _Holder(victim.comm, kinds.PROCESS, pages=pages, who=line.who, text=line.text)


def _by(case: RuleCase, oom: Oom | None, holder: _Holder, first: Finding | None) -> str:
    """What it took to answer; see Answer."""
    if holder.kind == kinds.CULPRIT:
        return BY_STACKS
    if oom is None:
        return BY_STACKS if case.consumers else NOT_TOLD
    if oom.oom_class in WANTS_A_NAME:
        return BY_REPORT if _accounts_name_it(case, oom, first) else LACKING
    return NOT_TOLD if oom.oom_class == UNDETERMINED or oom.certainty in (None, POSSIBLE) else BY_REPORT


def _accounts_name_it(case: RuleCase, oom: Oom, first: Finding | None) -> bool:
    """Whether the kernel's own accounts name who holds most of such memory: caches, call sites, areas of vmalloc."""
    event = None if oom.analysis is None else oom.analysis.event
    if oom.oom_class == SLAB and event is not None and event.slab_caches:
        return True
    page_bytes = case.facts.evidence.kernel.page_size_bytes
    fitting = _ACCOUNTS_FOR[oom.oom_class]
    amounts = [(each.total, each.unit) for each in case.facts.accounts.accounts if each.kind in fitting]
    if event is not None:
        amounts.append((sum(site.size_bytes for site in event.call_sites), BYTES))
    if isinstance(page_bytes, Unknown):  # bytes cannot be held against pages
        amounts = [(amount, unit) for amount, unit in amounts if unit == PAGES]
        page_bytes = 1
    if first is None or first.pages is None:
        return False
    named_pages = [amount if unit == PAGES else amount / page_bytes for amount, unit in amounts]
    return max(named_pages, default=0) >= _MOST_OF_CLASS * first.pages
