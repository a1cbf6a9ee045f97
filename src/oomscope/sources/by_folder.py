"""What a file does not say of itself, and the kernel says in its place in sysfs or debugfs."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope.model.account import ZRAM_DISK
from oomscope.model.reading import Reading
from oomscope.model.unknown import Unknown
from oomscope.sources.debugfs.alloc_traces import ALLOC_TRACES

FREE_TRACES = "free_traces"
_CACHE = re.compile(r"slab/(?P<cache>[^/:]{1,200})/(?:alloc|free)_traces")
_FREE_TRACES = re.compile(r"(?:^|[/:])free_traces(?:\.\w+)?$")
_DISK = re.compile(r"(?P<disk>zram\d{1,4})[/.:]mm_stat")


def told_by_folder(reading: Reading) -> Reading:
    """The reading with the cache or the disk that its file is of, where its path says so.

    free_traces has the same lines as alloc_traces and says something else: who freed an object's place last.
    """
    notes = reading.notes
    if reading.format == ALLOC_TRACES.format and _FREE_TRACES.search(reading.origin):
        notes.cache_objects = ()
        notes.absent = (Unknown(reading.origin, "it tells who freed objects last, not who holds them: no part of it"),)
        return replace(reading, format=FREE_TRACES)
    if cache := _CACHE.search(reading.origin):
        notes.cache_objects = tuple(replace(objects, cache=cache["cache"]) for objects in notes.cache_objects)
    if disk := _DISK.search(reading.origin):
        notes.accounts = tuple(
            replace(told, entries=tuple(replace(entry, name=disk["disk"]) for entry in told.entries))
            if told.kind == ZRAM_DISK
            else told
            for told in notes.accounts
        )
    return reading
