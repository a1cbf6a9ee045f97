"""Killers in user space: Android's, earlyoom, systemd-oomd, nohang. Whom they ended, by what rule of theirs."""

from __future__ import annotations

import re

from oomscope import bounds
from oomscope.model.oom_event import FOREIGN, Killer, Victim
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import printable

# Each with the name of who writes it; `reason` is its own word on why.
_KILLS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    # drivers/staging/android/lowmemorykiller.c up to 4.11; lmkd since, whose tag logcat sets before the message
    (
        "Android's low memory killer (LMK)",
        re.compile(
            rb"(?:.{0,80}?lowmemorykiller ?: )?(?:Killing|Kill|Reclaim) '(?P<comm>[^']{1,80})' \((?P<pid>\d{1,9})\)"
            rb"(?:,? (?:\(tgid \d{1,9}\), |uid \d{1,9}, )?(?:oom_score_)?adj (?P<adj>-?\d{1,5}))?(?P<rest>.*)"
        ),
    ),
    (
        "earlyoom",
        re.compile(
            rb".{0,120}?earlyoom(?:\[\d{1,9}\])?: (?:sending SIG(?:TERM|KILL) to process (?P<pid>\d{1,9})"
            rb"(?: uid \d{1,9})? \"(?P<comm>[^\"]{1,80})\": badness \d{1,9}, VmRSS (?P<mib>\d{1,9}) MiB"
            rb"|(?P<reason>low memory! .{1,200}|mem avail: .{1,120}))"
        ),
    ),
    (
        "systemd-oomd",
        re.compile(
            rb".{0,120}?systemd-oomd(?:\[\d{1,9}\])?: Killed (?P<comm>/\S{1,300}) due to (?P<reason>memory .{1,400})"
        ),
    ),
    (
        "nohang",
        re.compile(
            rb".{0,120}?nohang(?:\[\d{1,9}\])?: Sen(?:ding|t) SIG(?:TERM|KILL) to (?P<comm>\S{1,80})"
            rb"(?: ?\(?(?P<pid>\d{1,9}))?"
        ),
    ),
)
_TO_FREE = re.compile(rb"to free (?P<kib>\d{1,12}) ?kB(?: rss, (?P<swap>\d{1,12}) ?kB swap)?")
_WHY = re.compile(rb"(?:; reason: (?P<reason>.{1,200})|because (?P<because>.{1,200}))")
# lowmem_scan(): what was too little, and what is left above the zones' reserves, each on a line of its own.
_BELOW = re.compile(rb"\s*(?P<reason>cache \d{1,12} ?kB is below limit \d{1,12} ?kB for (?:oom_score_)?adj -?\d{1,5})")
_FREE = re.compile(rb"\s*Free memory is -?\d{1,12} ?kB (?:above|below) reserved")
# A word of each, so that most lines are not asked for more.
HINT = re.compile(rb"(?:Kill|Killing|Reclaim) '|earlyoom|systemd-oomd|nohang|to free \d|is below limit|Free memory is")


def is_of_user_space(text: bytes) -> bool:
    """Whether a line tells of a kill in user space."""
    return HINT.search(text) is not None and any(form.match(text) is not None for _, form in _KILLS)


class UserSpaceKills(ReportSection):
    """Who killed, why, and whom; one event for all that stands close together."""

    __slots__ = ("killer", "victims")

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.killer: Killer | None = None
        self.victims: dict[tuple[int, str], Victim] = {}

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.draft.kind != FOREIGN or HINT.search(text) is None:
            return False
        for name, form in _KILLS:
            if (match := form.match(text)) is not None:
                self._take(name, match.groupdict(), text, number)
                return True
        if self.killer is None:
            return False
        # Up to Android 9 what it frees, and why, stand on lines of their own.
        if (below := _BELOW.match(text)) is not None:
            self.killer = Killer(self.killer.name, self.killer.reason or printable(below["reason"]), self.killer.line)
            return True
        return _FREE.match(text) is not None or self._take_amount(text)

    def _take(self, name: str, told: dict[str, bytes | None], text: bytes, number: int) -> None:
        if self.killer is None:
            self.killer = Killer(name, None, number)
            self.draft.at("user-space killer", number, text)
        rest = told.get("rest") or b""
        reason = told.get("reason") or _reason(rest)
        if reason is not None:
            self.killer = Killer(name, printable(reason.strip()), number)
            self.draft.at("reason", number, text)
        comm = told.get("comm")
        if comm is None or not self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            return
        pid = int(told.get("pid") or 0)
        kib = {"rss": int(told["mib"] or 0) * 1024} if told.get("mib") else _amounts(rest)
        self.victims.setdefault((pid, printable(comm)), Victim(pid, printable(comm), kib, None, number))
        self.draft.at(f"victim {pid}", number, text)

    def _take_amount(self, text: bytes) -> bool:
        amounts = _amounts(text)
        last = next(reversed(self.victims), None)
        if not amounts or last is None:
            return False
        victim = self.victims[last]
        self.victims[last] = Victim(victim.pid, victim.comm, {**amounts, **victim.kib}, None, victim.line)
        if self.killer is not None and self.killer.reason is None and (reason := _reason(text)) is not None:
            self.killer = Killer(self.killer.name, printable(reason.strip()), self.killer.line)
        return True


def _amounts(text: bytes) -> dict[str, int]:
    match = _TO_FREE.search(text)
    if match is None:
        return {}
    swap = {} if match["swap"] is None else {"swap": int(match["swap"])}
    return {"rss": int(match["kib"]), **swap}


def _reason(text: bytes) -> bytes | None:
    match = _WHY.search(text)
    return None if match is None else match["reason"] or match["because"]
