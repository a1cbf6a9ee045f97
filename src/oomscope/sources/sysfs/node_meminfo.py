"""/sys/devices/system/node/nodeN/meminfo (drivers/base/node.c node_read_meminfo()): /proc/meminfo of each node."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.reading import Meminfo, Notes
from oomscope.sources.base import AccountSource
from oomscope.sources.tools import amounts
from oomscope.text import Lines

ROW = re.compile(rb"\s*Node (?P<node>\d{1,5}) (?P<name>[A-Za-z0-9_()]{1,60}): +(?P<value>\d{1,15})(?P<kib> kB)?\s*$")
# By what /proc/meminfo calls it.
_NAMES = {"FilePages": "Cached"}
_NODES = 4096


def _recognises(head: bytes) -> bool:
    """`Node 0 MemTotal:` at the very beginning."""
    return re.match(rb"\s*Node \d{1,5} MemTotal: +\d{1,15} kB\n", head) is not None


def _read(rows: Lines) -> Notes:
    """`notes.accounts.meminfo` has the sums over all nodes; a node that stands there twice counts once."""
    notes = Notes()
    of_nodes: dict[int, dict[str, int]] = {}
    for line in rows:
        match = None if line is None else ROW.match(line)
        if match is None:
            notes.stats.unknown_lines += line is None or bool(line.strip())
            continue
        if match["kib"] is None or len(of_nodes) >= _NODES:
            continue
        node = of_nodes.setdefault(int(match["node"]), {})
        name = match["name"].decode()
        if len(node) < bounds.EVENT_NAMES:
            node.setdefault(_NAMES.get(name, name), int(match["value"]))
    kib: dict[str, int] = {}
    for node in of_nodes.values():
        for name, value in node.items():
            kib[name] = kib.get(name, 0) + value
    # A node's FilePages hold its buffers, too.
    kib.setdefault("Buffers", 0)
    if 0 < kib.get("MemTotal", 0) <= bounds.PAGES * 4:
        notes.accounts.meminfo = Meminfo(kib["MemTotal"] * 1024, amounts.bytes_of(kib.get("MemFree")), None, kib)
    return notes


NODE_MEMINFO = AccountSource("node meminfo", _recognises, _read)
