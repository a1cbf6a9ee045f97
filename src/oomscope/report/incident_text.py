"""An incident for people: when, the answer, and what the living machine had beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from oomscope.model.notice import OOM, Incident, Surroundings
from oomscope.units import bytes_text

_STAT_SHOWN = ("anon", "file", "shmem", "slab", "kernel_stack", "pagetables", "sock", "unevictable", "cache", "rss")
_KIB = 1024


def render(incident: Incident, *, whole: bool = False) -> str:
    """The lines of it, an empty one behind an OOM; `whole` has all that `explain` prints."""
    when = datetime.fromtimestamp(incident.at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()
    notice = incident.notice
    if incident.kind != OOM or notice is None:
        return f"{when}  {incident.text}\n"
    told = notice.whole_text if whole else notice.text
    lines = [f"{when}  {told}".rstrip("\n")]
    if incident.place is not None and incident.place.path != "/":
        lines.append(f"In: {incident.place}")
    if incident.surroundings is not None:
        lines += beside(incident.surroundings)
    return "\n".join(lines) + "\n\n"


def beside(surroundings: Surroundings) -> Iterator[str]:
    """A line for each thing that only the living machine has."""
    stat = {name: size for name in _STAT_SHOWN if (size := surroundings.cgroup_stat.get(name, 0)) > 0}
    if stat:
        shown = sorted(stat.items(), key=lambda item: -item[1])[:4]
        yield "memory.stat: " + ", ".join(f"{name} {bytes_text(size)}" for name, size in shown)
    if surroundings.meminfo_kib:
        named = ("MemAvailable", "Slab", "Shmem", "SwapFree")
        told = {name: surroundings.meminfo_kib[name] for name in named if name in surroundings.meminfo_kib}
        yield "meminfo: " + ", ".join(f"{name} {bytes_text(kib * _KIB)}" for name, kib in told.items())
    if surroundings.slab_bytes:
        caches = list(surroundings.slab_bytes.items())[:3]
        yield "slab: " + ", ".join(f"{name} {bytes_text(size)}" for name, size in caches)
    if "memory" in surroundings.pressure:
        yield "memory pressure: " + "; ".join(surroundings.pressure["memory"].splitlines())
    yield from surroundings.armed
