"""The verdict as JSON, schema oomscope/1 (oomscope-1.schema.json beside this file)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from oomscope.model.account import Account
from oomscope.model.answer import Answer
from oomscope.model.balance import BalanceRow
from oomscope.model.free_area import FreeArea
from oomscope.model.holding import Culprit, Group, HoldingDetail, Part
from oomscope.model.ranked import Consumer, Recent
from oomscope.model.reading import System
from oomscope.model.slab_objects import CacheObjects
from oomscope.model.stack import Stack
from oomscope.model.unknown import Unknown
from oomscope.model.verdict import Verdict
from oomscope.report import oom_json

SCHEMA = "oomscope/1"


def render_all(verdicts: Iterable[Verdict], *, top: int | None = None) -> str:
    """Every event of a log, see `pieces_all`."""
    return "".join(pieces_all(verdicts, top=top))


def render(verdict: Verdict, *, top: int | None = None) -> str:
    """One JSON object; `top` bounds the lists of consumers, culprits and groups."""
    return "".join(pieces(verdict, top=top))


def pieces_all(verdicts: Iterable[Verdict], *, top: int | None = None) -> Iterator[str]:
    """`{"schema", "events": [...]}`, each entry an object as `pieces` gives; of the log's events it has its own alone.

    (The list of all of them in each of them would be as long as its square.)
    """
    separator = f'{{\n "schema": "{SCHEMA}",\n "events": [\n'
    for verdict in verdicts:
        own = tuple(line for line in verdict.events if verdict.oom is not None and line.number == verdict.oom.number)
        yield separator
        yield from _without_last_line_end(pieces(replace(verdict, events=own), top=top))
        separator = ",\n"
    yield "\n ]\n}\n"


def pieces(verdict: Verdict, *, top: int | None = None) -> Iterator[str]:
    """The text of one JSON object, an entry of a list at a time.

    Keys and the entries of lists stand on lines of their own. (json's `indent` would say the same at a tenth of the
    speed: it leaves the compiled encoder.)
    """
    separator = "{\n "
    for key, value in _members(verdict, top):
        yield f"{separator}{_text(key)}: "
        separator = ",\n "
        if isinstance(value, Iterator):
            yield from _lines(value)
        else:
            yield _text(value)
    yield "\n}\n"


def _lines(entries: Iterator[object]) -> Iterator[str]:
    separator = "[\n  "
    for entry in entries:
        yield separator + _text(entry)
        separator = ",\n  "
    yield "[]" if separator == "[\n  " else "\n ]"


def _without_last_line_end(texts: Iterator[str]) -> Iterator[str]:
    held = next(texts)
    for text in texts:
        yield held
        held = text
    yield held.rstrip("\n")


_text = json.JSONEncoder(ensure_ascii=False).encode


def to_json(verdict: Verdict, *, top: int | None = None) -> dict[str, Any]:
    """The verdict as plain values. Unknown is null; `absent` says why."""
    return {key: list(value) if isinstance(value, Iterator) else value for key, value in _members(verdict, top)}


def _members(verdict: Verdict, top: int | None) -> Iterator[tuple[str, Any]]:
    """Keys and values in their order; a long list is made an entry at a time."""
    yield "schema", SCHEMA
    yield "answer", _answer(verdict.answer)
    yield "partial", verdict.partial
    yield (
        "kernel",
        {
            "release": _known(verdict.kernel.release),
            "arch": _known(verdict.kernel.arch),
            "page_size_bytes": _known(verdict.kernel.page_size_bytes),
            "page_size_assumed_bytes": verdict.kernel.page_size_assumed_bytes,
            **_system(verdict.system),
        },
    )
    yield "source", verdict.source
    yield "at_ns", verdict.at_ns
    yield "oom", None if verdict.oom is None else oom_json.oom(verdict.oom)
    yield "events", (oom_json.line(line) for line in verdict.events)
    yield "greatest_consumer", _consumer(verdict.greatest)
    yield "greatest_kernel_consumer", _consumer(verdict.greatest_kernel)
    yield "counted", {"pages": verdict.counted_pages, "stacks": verdict.counted_stacks}
    yield "consumers", (_consumer(c) for c in verdict.consumers[:top])
    yield (
        "most_allocations",
        (
            {"allocations": h.blocks, "stack": list(h.stack.texts), "culprit": _culprit(h.culprit)}
            for h in verdict.most_allocations[:top]
        ),
    )
    yield "excepted", (_consumer(c) for c in verdict.excepted)
    yield (
        "culprits",
        (
            {
                "function": row.culprit.function,
                "module": row.culprit.module,
                "subsystem": row.culprit.subsystem,
                "kinds": list(row.kinds),
                "pages": row.pages,
                "share_of_ram": row.share_of_ram,
                "stacks": row.stacks,
                "growth": row.growth,
                "recent": _recent(row.recent),
            }
            for row in verdict.culprits[:top]
        ),
    )
    yield (
        "groups",
        (
            None
            if verdict.groups_by is None
            else {"by": verdict.groups_by, "rows": [_group(g) for g in verdict.groups[:top]]}
        ),
    )
    yield (
        "balance",
        (
            None
            if verdict.balance is None
            else {
                "ram_pages": verdict.balance.ram_pages,
                "reserved_pages": verdict.balance.reserved_pages,
                "rows": [_balance_row(row) for row in verdict.balance.rows],
                "unexplained_pages": verdict.balance.unexplained_pages,
                "unexplained_parts": [
                    {"name": name, "pages": pages} for name, pages in verdict.balance.unexplained_parts
                ],
                "notes": list(verdict.balance.notes),
            }
        ),
    )
    yield "ledgers", (_ledger(each, top) for each in verdict.accounts)
    yield "free_blocks", (_free_blocks(each) for each in verdict.free_blocks)
    yield "slab_objects", (_cache_objects(each) for each in verdict.cache_objects[:top])
    yield (
        "witnesses",
        (
            {
                "origin": w.origin,
                "witness_of": w.witness_of,
                "unit": w.unit,
                "ours": w.ours,
                "theirs": w.theirs,
                "difference": [{"name": p.name, "amount": p.amount, "stacks": p.stacks} for p in w.parts],
            }
            for w in verdict.witnesses
        ),
    )
    yield (
        "findings",
        (
            {
                "claim": f.claim,
                "pages": f.pages,
                "certainty": f.certainty,
                "because": list(f.because),
                "refuted_by": f.refuted_by,
                "next": f.next,
            }
            for f in verdict.findings
        ),
    )
    yield "absent", ({"what": a.what, "reason": a.reason} for a in verdict.absent)
    yield (
        "inputs",
        (
            {
                "origin": i.origin,
                "format": i.format,
                "records": i.records,
                "spoilt_records": i.corrupt_records,
                "unknown_lines": i.unknown_lines,
                "defect": i.defect,
            }
            for i in verdict.inputs
        ),
    )


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "headline": answer.headline,
        "class": answer.oom_class,
        "holder": answer.holder,
        "holder_kind": answer.holder_kind,
        "module": answer.module,
        "pages": answer.pages,
        "share_of_ram": answer.share_of_ram,
        "certainty": answer.certainty,
        "by": answer.by,
        "next": answer.next,
    }


def _recent(recent: Recent | None) -> dict[str, Any] | None:
    return None if recent is None else {"interval_ns": recent.interval_ns, "pages": recent.pages}


def _system(system: System | None) -> dict[str, Any]:
    if system is None:
        return {}
    return {
        "command_line": system.command_line,
        "taint": system.taint,
        "modules": list(system.modules),
        "last_unloaded_module": system.last_unloaded_module,
        "panic_message": system.panic_message,
        "live": system.is_live,
        "counters": dict(system.vmstat),
    }


def _ledger(told: Account, top: int | None) -> dict[str, Any]:
    rows = [
        {
            "name": entry.name,
            "module": entry.module,
            told.unit: entry.amount,
            "count": entry.count,
            **({"place": entry.place} if entry.place else {}),
            **({} if entry.stack is None else {"stack": list(entry.stack.texts)}),
        }
        for entry in told.entries[:top]
    ]
    return {"kind": told.kind, "unit": told.unit, "counted": told.counted, "total": told.total, "rows": rows}


def _free_blocks(zone: FreeArea) -> dict[str, Any]:
    told = {"node": zone.node, "zone": zone.zone, "migrate_type": zone.migrate_type, "pages": zone.pages}
    return {**told, "blocks_by_order": list(zone.counts)}


def _cache_objects(each: CacheObjects) -> dict[str, Any]:
    owners = [{"stack": list(stack.texts), **_lines_of(stack), "objects": count} for stack, count in each.owners]
    return {"cache": each.cache, "by": each.by, "objects": each.objects, "owners": owners}


def _lines_of(stack: Stack) -> dict[str, Any]:
    """Beside the stack, frame by frame, what debug info adds; nothing where it adds nothing."""
    if not any(frame.source for frame in stack.frames):
        return {}
    return {"lines": [{"source": frame.source, "inlined": list(frame.inlined)} for frame in stack.frames]}


def _balance_row(row: BalanceRow) -> dict[str, Any]:
    parts = [{"name": name, "pages": pages} for name, pages in row.parts]
    source = {"source": row.source} if row.source else {}
    return {"kind": row.kind, "pages": row.pages, **source, **({"parts": parts} if parts else {})}


def _consumer(consumer: Consumer | None) -> dict[str, Any] | None:
    if consumer is None:
        return None
    holding = consumer.holding
    return {
        "pages": consumer.pages,
        "bytes": consumer.size_bytes,
        "share_of_ram": consumer.share_of_ram,
        "kind": holding.kind,
        "label": holding.label,
        "stack": list(holding.stack.texts),
        **_lines_of(holding.stack),
        "handle": holding.stack.handle,
        "culprit": _culprit(holding.culprit),
        "blocks": holding.blocks,
        "first_allocated_ns": holding.first_ns,
        "last_allocated_ns": holding.last_ns,
        "spread_ns": None
        if consumer.spread_ns is None
        else dict(zip(("p5", "p50", "p95"), consumer.spread_ns, strict=True)),
        "growth": consumer.growth,
        "recent": _recent(consumer.recent),
        **({} if consumer.detail is None else _detail(consumer.detail)),
    }


def _detail(detail: HoldingDetail) -> dict[str, Any]:
    return {
        "orders": _parts(({"order": order}, part) for order, part in detail.orders),
        "gfp": _parts(
            ({"gfp_mask": f"{r.gfp_mask:#x}", "gfp_flags": r.gfp_flags}, part) for r, part in detail.requests
        ),
        "tasks": _parts(({"pid": t.pid, "tgid": t.tgid, "comm": t.comm}, part) for t, part in detail.tasks),
        "places": _parts(({"node": p.node, "zone": p.zone}, part) for p, part in detail.places),
        "memcgs": _parts(({"memcg": memcg}, part) for memcg, part in detail.memcgs if memcg is not None),
    }


def _parts(parts: Iterable[tuple[dict[str, Any], Part]]) -> list[dict[str, Any]]:
    return [{**names, "pages": part.pages, "blocks": part.blocks} for names, part in parts]


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "pages": group.pages,
        "blocks": group.blocks,
        "stacks": group.stacks,
        "first_allocated_ns": group.first_ns,
        "last_allocated_ns": group.last_ns,
        **({} if group.holding is None else {"stack": list(group.holding.stack.texts)}),
    }


def _culprit(culprit: Culprit | None) -> dict[str, Any] | None:
    if culprit is None:
        return None
    return {"function": culprit.function, "module": culprit.module, "subsystem": culprit.subsystem}


def _known(value: str | int | Unknown) -> str | int | None:
    return None if isinstance(value, Unknown) else value
