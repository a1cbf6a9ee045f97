"""Lines put together again that a mailer, an editor or a lost prefix has broken.

In a log whose lines are stamped, a line without a stamp is the rest of the line before. In one without stamps only what
cannot begin a line of a report is: `min:512kB`, `12*64kB`, `oom_score_adj=0`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from oomscope import bounds
from oomscope.sources.kernel_log.prefixes import LogLine

_MOST_PIECES = 60
_REPLAYED = b"** replaying previous printk message **"
# What no line of a report begins with: the middle of a field list, of free lists, of a header.
_MIDDLE = re.compile(
    rb"\s*+(?:(?:boost|min|low|high|reserved_highatomic|free_highatomic|active|inactive|active_anon|inactive_anon|active_file|"
    rb"inactive_file|unevictable|isolated\(\w{1,8}\)|present|managed|mlocked|dirty|writeback|writepending|mapped|shmem|"
    rb"shmem_thp|shmem_pmdmapped|anon_thp|slab_reclaimable|slab_unreclaimable|kernel_stack|shadow_call_stack|pagetables|"
    rb"sec_pagetables|unstable|bounce|zspages|free_pcp|local_pcp|free_cma|writeback_tmp|Balloon):? *+\d++ *+[kK]B"
    rb"|\d++\*\d++kB|= *+\d++kB|\(\w{1,6}\) \d++\*\d++kB|k?B\b|all_unreclaimable\?|pages_scanned:\d"
    rb"|mode:0x|oom_score_adj=|hugepages_(?:free|surp|size)=|anon-rss:|file-rss:|shmem-rss:"
    rb"|total-vm:|\(\S{1,64}\) total-vm:|order=-?\d|gfp_mask=0x|nodemask=)"
)
# What every such line of a report does begin with: never the rest of another.
_BEGINS = re.compile(
    rb".{1,80}: (?:page allocation failure|vmalloc error|vmemmap alloc failure)|.{1,80} invoked oom-killer:"
    rb"|vmap allocation|Mem-Info:|Node \d+ |active_anon:\d+ inactive_anon|[A-Z]\w{1,15} free:\d"
    rb"|[A-Z]\w{1,15}: \d+\*\d+kB|lowmem_reserve\[|\d+ (?:total pagecache )?pages|Free swap|Total swap|CPU: \d"
    rb"|Call [Tt]race|Hardware name|\[ *\d+\] +\d|\[ *pid|Tasks state|oom-kill:|Out of memory|Memory cgroup"
    rb"|memory: usage|swap: usage|Kernel panic"
)
# netconsole and the consoles of old kernels stamp each piece of a line that is printed in pieces (KERN_CONT).
_PIECE = re.compile(rb"\s*+(?:\d{1,12}\*\d{1,9}kB|\([A-Z]{1,8}\)|= \d{1,15}kB|\d{1,9})\s*+$")
_TAKES_PIECES = re.compile(rb"lowmem_reserve\[\]:|(?:Node \d{1,4} )?[A-Z]\w{1,15}:(?: *+\d{1,12}\*|\s*+$)")
_TASK_ROW = re.compile(rb"\[ *\d{1,9}\](?: ++\S++)*+ *+$")
_TASK_COLUMNS_LEAST = 9  # the table's narrowest form has that many words behind the pid
_COMPLETE = re.compile(rb"pages (?:RAM|reserved|HighMem|hwpoisoned|cma reserved)|\w swap {1,40}=|Mem-Info:|cache stats")


def joined(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Whole lines; each has the number and the stamp of its first piece."""
    held: LogLine | None = None
    pieces = 0
    for line in lines:
        if line.may_begin and _REPLAYED in line.text:
            held = (
                None  # the line before is cut, and comes again (kernel/printk/printk.c, a console that was taken over)
            )
            continue
        if held is not None and pieces < _MOST_PIECES and _continues(held, line):
            held = held._replace(text=_together(held.text, line.text), may_begin=True)
            pieces += 1
            continue
        if held is not None:
            yield held
        held, pieces = line, 0
    if held is not None:
        yield held


def _continues(held: LogLine, line: LogLine) -> bool:
    is_piece = False
    if line.is_stamped:
        is_piece = _PIECE.match(line.text) is not None and _TAKES_PIECES.match(held.text) is not None
        if not is_piece:
            return False
    if line.is_quoted != held.is_quoted or len(held.text) + len(line.text) > bounds.JOINED_LINE_BYTES:
        return False
    text = line.text.strip()
    if not text:
        return False
    if is_piece:
        return True
    if text.startswith(b"oom-killer: gfp_mask"):
        return held.text.rstrip().endswith(b"invoked")
    if _MIDDLE.match(text) is not None:
        return True
    if not held.is_stamped or _BEGINS.match(text) is not None:
        return False
    if _TASK_ROW.match(held.text) is not None:
        return len(held.text.replace(b"]", b" ").split()) < _TASK_COLUMNS_LEAST + 2 and not text.startswith(b"[")
    return _COMPLETE.search(held.text) is None


def _together(held: bytes, text: bytes) -> bytes:
    """With a blank between, as a mailer takes one away; none inside a number's unit (`8176k` + `B unstable`)."""
    return held.rstrip() + (b"" if held.endswith(b"k") and text.startswith(b"B") else b" ") + text.strip()
