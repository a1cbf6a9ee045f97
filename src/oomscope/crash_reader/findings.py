"""All that is found in a dead kernel's memory, in the order in which it may be wanted, until time is over."""

from __future__ import annotations

import time

from oomscope.crash_reader import page_owner
from oomscope.crash_reader.bpf_maps import REPORTS, BpfMaps, TrackedPages
from oomscope.crash_reader.counters import ram_pages, vmstat
from oomscope.crash_reader.culprits import Culprits
from oomscope.crash_reader.errors import Unread
from oomscope.crash_reader.kernel_log import kernel_log
from oomscope.crash_reader.memory import Memory
from oomscope.crash_reader.plan import CrashPlan
from oomscope.crash_reader.stack_depot import DepotRecords
from oomscope.crash_reader.symbols import Symbols

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from oomscope.crash_reader.memory import Physical

FORMAT = "oomscope-vmcore/1"
PAGE_OWNER, LIST, TRACKED = "page_owner", "page_owner's own count per stack", "oomscope arm --track"
_FEWEST_STACKS = 100  # that are named though time is over
_PART_FOR_COUNTING = 0.6  # of the time
_MORE_THAN_SEEN = 1.1  # what was allocated and freed while the kernel died is less
_MOST_STACKS = 20_000  # that are named and written down; the rest is one number
_MOST_LOG_BYTES = 4 << 20
_BOOT = ("KERNELOFFSET", "NUMBER(phys_base)", "NUMBER(kimage_voffset)", "SYMBOL(mem_section)", "OSRELEASE")


class Findings:
    """What `vmcore-oom.json` holds, piece by piece, so that whatever fails leaves the others."""

    def __init__(self, core: Physical, plan: CrashPlan) -> None:
        plan.fit(core.vmcoreinfo)
        self._plan = plan
        self._memory = Memory(core, plan.machine)
        self.told: dict[str, object] = {
            "format": FORMAT,
            "release": plan.release,
            "build_id": core.vmcoreinfo.get("BUILD-ID"),
            "machine": plan.machine,
            "page_bytes": self._memory.page_bytes,
            "boot": " ".join(core.vmcoreinfo.get(name, "") for name in _BOOT),
            "missing": [],
        }

    def take_log(self) -> None:
        """The kernel's log, and its counters."""
        log = kernel_log(self._memory.bytes_at, self._memory.vmcoreinfo)
        if not log:
            self.miss("the kernel log cannot be read")
        self.told["log"] = log[-_MOST_LOG_BYTES:].decode("utf-8", "backslashreplace")
        self.told["vmstat"] = vmstat(self._memory, self._plan)
        self.told["ram_pages"] = ram_pages(self._memory, self._plan)

    def take_pages(self, began_s: float, most_s: float) -> None:
        """Who holds the pages: by page_owner, else by what was tracked.

        Of `most_s` since `began_s` on the monotonic clock, a part is kept for names; the greatest have them always.
        """
        deadline_s = began_s + most_s
        symbols, culprits = Symbols(self._memory, self._plan), Culprits(self._plan)
        if symbols.missing:
            self.miss(symbols.missing)
        maps = BpfMaps(self._memory, self._plan)
        self._take_reports(maps, symbols)
        try:
            pages, addresses_of = self._by_page_owner(began_s + _PART_FOR_COUNTING * most_s)
        except (Unread, KeyError) as why:
            try:
                pages, addresses_of = self._by_tracking(maps)
            except (Unread, KeyError):
                self.miss(f"who allocated the pages: {why}")
                return
        self._take_stacks(pages, addresses_of, symbols, culprits, deadline_s)

    def miss(self, what: str) -> None:
        """Say what is not there."""
        missing = self.told["missing"]
        assert isinstance(missing, list)
        missing.append(what)

    def _take_reports(self, maps: BpfMaps, symbols: Symbols) -> None:
        """What armed programs kept, as it lies in their maps, with the names of all that may be code in it."""
        try:
            values = maps.values(REPORTS)
        except Unread:
            values = []
        names = {}
        for raw in values:
            for at in range(0, len(raw) - 7, 8):
                address = int.from_bytes(raw[at : at + 8], "little")
                if address >> 63 and "+" in (name := symbols.name(address)):
                    names[f"{address:#x}"] = name
        self.told["reports"], self.told["names"] = [raw.hex() for raw in values], names

    def _by_page_owner(self, deadline_s: float) -> tuple[Counter[int], Callable[[int], tuple[int, ...] | None]]:
        found = page_owner.count(self._memory, self._plan, deadline_s)
        depot = DepotRecords(self._memory, self._plan)
        try:
            listed = page_owner.count_by_list(self._memory, self._plan)
        except Unread:
            listed = type(found.pages)()
        early_pages, nameless_pages = page_owner.take_out_made_up(self._memory, self._plan, listed)
        walked, counted = sum(found.pages.values()), sum(listed.values())
        self.told.update(
            way=PAGE_OWNER,
            walked_pages=found.walked_pages,
            early_pages=found.early_pages,
            nameless_pages=found.nameless_pages,
            unread_pages=found.unread_pages,
            is_stopped=found.is_stopped,
            listed_pages=counted or None,
        )
        # The list may lack stacks and never has more than there are: then page_ext is damaged, or was not all seen.
        if counted > walked * _MORE_THAN_SEEN:
            self.told.update(way=LIST, is_stopped=False, early_pages=early_pages, nameless_pages=nameless_pages)
            self.miss(f"page_owner's entries: they tell of {walked} pages only, the kernel's own count stands instead")
            return listed, depot.return_addresses
        return found.pages, depot.return_addresses

    def _by_tracking(self, maps: BpfMaps) -> tuple[Counter[int], Callable[[int], tuple[int, ...] | None]]:
        found = TrackedPages(self._memory, maps)
        self.told.update(
            way=TRACKED,
            since_ns=found.since_ns,
            left_out_pages=found.left_out_pages,
            nameless_pages=found.nameless_pages,
            lost_pages=found.lost_pages,
            is_stopped=False,
        )
        return found.pages, found.return_addresses

    def _take_stacks(
        self,
        pages: Counter[int],
        addresses_of: Callable[[int], tuple[int, ...] | None],
        symbols: Symbols,
        culprits: Culprits,
        deadline_s: float,
    ) -> None:
        whole, most = sum(pages.values()), _most_pages(self.told)
        if most and whole > most:
            self.miss(f"who allocated the pages: it is damaged, {whole} pages are more than the {most} of RAM")
            return
        by_stack: dict[object, list[int]] = {}
        for number, (handle, held) in enumerate(pages.most_common()):
            is_late = number >= _FEWEST_STACKS and time.monotonic() > deadline_s
            kept = by_stack.setdefault(handle if is_late else addresses_of(handle) or handle, [0, handle])
            kept[0] += held
        consumers: list[dict[str, object]] = []
        answering: dict[str, list[int]] = {}
        unnamed_pages = 0
        ranked = sorted(by_stack.items(), key=lambda each: (-each[1][0], each[1][1]))
        for key, (held, handle) in ranked:
            is_late = len(consumers) >= _FEWEST_STACKS and time.monotonic() > deadline_s
            if is_late or len(consumers) >= _MOST_STACKS:
                unnamed_pages += held
                continue
            frames = [symbols.name(address) for address in key] if isinstance(key, tuple) else []
            consumers.append({"pages": held, "handle": handle, "frames": frames})
            if not frames or "+" not in frames[0]:
                unnamed_pages += held
            elif (culprit := culprits.of(frames)) is not None:
                counted = answering.setdefault(culprit, [0, 0])
                counted[0] += held
                counted[1] += 1
        greatest = sorted(answering.items(), key=lambda each: -each[1][0])
        self.told.update(
            stacks=len(by_stack),
            pages=whole,
            consumers=consumers,
            unnamed_pages=unnamed_pages,
            culprits=[{"name": name, "pages": held, "stacks": count} for name, (held, count) in greatest],
        )
        if len(consumers) < len(by_stack):
            self.miss(f"{len(by_stack) - len(consumers)} of {len(by_stack)} stacks are not named")


def _most_pages(told: dict[str, object]) -> int:
    """As many as there can be: RAM, or all page frames where a balloon took pages out of it; 0 where none tells."""
    known = (told.get("ram_pages"), told.get("walked_pages"))
    return max((each for each in known if isinstance(each, int)), default=0)
