"""One OOM of a living machine, explained: what is passed on to whoever is asked to be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class OomNotice:
    """What `explain` says of an event.

    The fields of the answer are those of model.answer; `short` is it in one line, `text` the answer for people and
    `whole_text` all that `explain` prints, empty where nobody asked; `report` is the JSON of it. `stamp` is the time as
    the log writes it, `at_ns` since boot, `stamped_at` since the epoch where a date is told. `group` is the memory
    cgroup at its limit, `task_group` that of the process that was killed.
    """

    headline: str
    oom_class: str
    certainty: str | None
    holder: str | None
    holder_kind: str
    module: str | None
    pages: int | None
    size_bytes: int | None
    share_of_ram: float | None
    next: str
    short: str
    text: str
    whole_text: str
    kind: str
    stamp: str | None
    at_ns: int | None
    stamped_at: float | None
    host: str | None
    group: str | None
    task_group: str | None
    victims: tuple[tuple[int, str], ...]
    killer: str | None
    signature: str
    signature_id: str
    report: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CgroupPlace:
    """Whose a memory cgroup is, as far as its path and the kubelet's folders tell: `unit` is systemd's."""

    path: str
    unit: str | None = None
    pod_uid: str | None = None
    container_id: str | None = None
    namespace: str | None = None
    pod: str | None = None
    container: str | None = None

    def __str__(self) -> str:
        if self.pod is not None:
            pod = f"pod {self.namespace}/{self.pod}"
        else:
            pod = "" if self.pod_uid is None else f"pod {self.pod_uid}"
        who = self.container or (self.container_id[:12] if self.container_id else "")
        parts = (pod, f"container {who}" if who else "", "" if pod or self.unit is None else f"unit {self.unit}")
        return ", ".join(part for part in parts if part) or f"cgroup {self.path}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a living machine tells beside the log at that moment.

    `meminfo_kib` is a choice of /proc/meminfo; `pressure` lines of PSI by what they are of; `slab_bytes` the greatest
    caches; `cgroup_stat` is of the group at its limit, or of the killed process; `armed` are lines of
    what an armed program reported. `files` are the files that were read, whole, by their names in a case.
    """

    meminfo_kib: Mapping[str, int] = field(default_factory=dict)
    pressure: Mapping[str, str] = field(default_factory=dict)
    slab_bytes: Mapping[str, int] = field(default_factory=dict)
    cgroup_stat: Mapping[str, int] = field(default_factory=dict)
    armed: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that is passed on.

    `kind` is OOM, or STORM: `count` more of the same since `first_at`, after the one that was told in full; NEAR a
    cgroup near its limit, GROWTH what grows steadily, LOST what could not be read or passed on: these
    have their `text` alone.
    Times are seconds since the epoch. `source` is the log it was found in, `log` its lines; `place` is whose the cgroup
    of an OOM is, `host` the machine.
    """

    kind: str
    at: float
    text: str
    source: str
    notice: OomNotice | None = None
    surroundings: Surroundings | None = None
    place: CgroupPlace | None = None
    host: str | None = None
    count: int = 1
    first_at: float | None = None
    log: bytes = field(default=b"", repr=False)
    figures: Mapping[str, int | float | str] = field(default_factory=dict)


OOM, STORM, NEAR, GROWTH, LOST = "oom", "storm", "near-limit", "growth", "lost"
