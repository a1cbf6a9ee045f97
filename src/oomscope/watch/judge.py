"""The process that reads what a log says and judges it: without privileges, and only as long as there is work.

It is given stretches of a log on its standard input, each behind its length, and answers with a line of JSON for each.
"""

from __future__ import annotations

import os
import re
import sys
import time
from datetime import datetime

import msgspec

from oomscope.errors import NothingToExplain, OomscopeError
from oomscope.model.notice import OomNotice
from oomscope.model.oom_event import SHOWN, OomEvent
from oomscope.model.triage import BY_LOG
from oomscope.model.verdict import Verdict
from oomscope.pipeline.api import explain_events
from oomscope.report import cells, json_report, short, terminal
from oomscope.triage.signature import signature
from oomscope.triage.timestamps import when
from oomscope.verdict.oom.case import NO_SHORTAGE
from oomscope.watch.kill_line import groups_of
from oomscope.watch.privileges import drop_privileges
from oomscope.watch.protocol import LENGTH_BYTES, WHOLE, Answered

_ON_REQUEST = (SHOWN, NO_SHORTAGE)  # of SysRq or crash tools: no OOM
_COLUMNS = 120


def main(arguments: list[str]) -> None:
    """Answer until the standard input ends; with `--whole`, with all that `explain` prints, too."""
    drop_privileges()
    while (stretch := _next_stretch()) is not None:
        _write(msgspec.json.encode(answered(stretch, whole=WHOLE in arguments)) + b"\n")


def answered(stretch: bytes, *, whole: bool = False) -> Answered:
    """The events of a stretch of a log; none where no line of it is of one."""
    try:
        notices = [_notice(verdict, stretch, whole=whole) for verdict in explain_events(stretch)]
        return Answered([each for each in notices if (each.kind, each.oom_class) != _ON_REQUEST])
    except NothingToExplain:
        return Answered([])
    except OomscopeError as error:
        return Answered([], str(error))
    except Exception as error:  # noqa: BLE001 - a bug of ours ends no watch
        return Answered([], f"{type(error).__name__}: {error}")


def _notice(verdict: Verdict, stretch: bytes, *, whole: bool) -> OomNotice:
    answer, oom = verdict.answer, verdict.oom
    event = None if oom is None or oom.analysis is None else oom.analysis.event
    page_bytes = cells.page_bytes_of(verdict)
    own = [] if event is None else stretch.split(b"\n")[event.first_line - 1 : event.last_line]
    groups = next((found for line in own if (found := groups_of(line)) is not None), None)
    named = signature(verdict)
    by_another = event is not None and event.killer is not None and event.victims
    how = f"{event.killer.name} acted, not the kernel" if by_another and event and event.killer else answer.certainty
    label = [f"OOM class: {answer.oom_class}" + (f" ({how})" if how else "")]
    paragraph = " ".join(answer.paragraph)
    told = [answer.headline, *label, cells.machine(verdict), paragraph, f"Next: {answer.next}" if answer.next else ""]
    return OomNotice(
        headline=answer.headline,
        oom_class=answer.oom_class,
        certainty=answer.certainty,
        holder=answer.holder,
        holder_kind=answer.holder_kind,
        module=answer.module,
        pages=answer.pages,
        size_bytes=None if answer.pages is None or page_bytes is None else answer.pages * page_bytes,
        share_of_ram=answer.share_of_ram,
        next=answer.next,
        short=short.render(verdict).rstrip("\n"),
        text="\n".join(line for line in told if line),
        whole_text=terminal.render(verdict, width=_COLUMNS) if whole else "",
        kind="" if event is None else event.kind,
        stamp=None if event is None else event.stamp,
        at_ns=None if event is None else event.at_ns,
        stamped_at=_stamped_at(None if event is None else event.stamp),
        host=None if event is None else event.host,
        group=_group(event),
        task_group=None if groups is None else groups[1],
        victims=() if event is None else tuple((victim.pid, victim.comm) for victim in event.victims),
        killer=None if event is None or event.killer is None else event.killer.name,
        signature=str(named),
        signature_id=named.id,
        report=json_report.to_json(verdict),
    )


def _group(event: OomEvent | None) -> str | None:
    """The memory cgroup at its limit, or the one that systemd-oomd ended."""
    if event is None:
        return None
    if event.memcg is not None:
        return event.memcg.path
    ended = [victim.comm for victim in event.victims if victim.comm.startswith("/")]
    return ended[0] if event.killer is not None and ended else None


def _stamped_at(stamp: str | None) -> float | None:
    """The log's own date, in seconds since the epoch; without a zone it is this machine's."""
    if stamp is None:
        return None
    told, by = when(None, stamp, time.time())
    if told is None or by != BY_LOG:
        return None
    found = datetime.fromisoformat(told)
    has_zone = re.search(r"(?:Z|[+-]\d\d:?\d\d)$", stamp) is not None
    return (found if has_zone else found.replace(tzinfo=None)).timestamp()


def _next_stretch() -> bytes | None:
    head = _read(LENGTH_BYTES)
    return None if head is None else _read(int.from_bytes(head, "big"))


def _read(size: int) -> bytes | None:
    pieces, left = list[bytes](), size
    while left:
        piece = os.read(0, min(left, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
