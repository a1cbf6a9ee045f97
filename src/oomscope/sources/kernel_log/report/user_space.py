"""Killers in user space: Android's, earlyoom, systemd-oomd, nohang. Whom they ended, by what rule of theirs."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import FOREIGN, Killer, Victim
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.text import either, printable
from oomscope.units import bytes_text

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
    # main.c, kill.c: in the journal behind its tag, on a terminal without
    (
        "earlyoom",
        re.compile(
            rb"(?:.{0,120}?earlyoom(?:\[\d{1,9}\])?: )?"
            rb"(?:(?:sending SIG(?:TERM|KILL) to|killing) process (?P<pid>\d{1,9})(?: uid \d{1,9})?"
            rb" \"(?P<comm>[^\"]{1,80})\""
            rb"(?: with signal \d{1,2})?(?:: (?:badness|oom_score) \d{1,9}, VmRSS (?P<mib>\d{1,9}) MiB)?"
            rb"|(?P<reason>[Ll]ow memory! .{1,200})|(?<=: )(?P<state>mem avail: .{1,120}))"
        ),
    ),
    (
        "systemd-oomd",
        re.compile(
            rb".{0,120}?systemd-oomd(?:\[\d{1,9}\])?: (?:"
            rb"(?:Killed|Marked) (?P<comm>/\S{1,300})(?: for killing)?(?: due to (?P<reason>.{1,400}))?"
            rb"|Considered \d{1,9} cgroups for killing)"
        ),
    ),
    (
        "nohang",
        re.compile(
            rb"(?:.{0,120}?nohang(?:-desktop)?(?:\[\d{1,9}\])?: )?(?:"
            rb"Sen(?:ding|t) SIG(?:TERM|KILL) to (?!the victim)(?P<comm>\S{1,80})(?: ?\(?(?P<pid>\d{1,9}))?"
            rb"|Found the victim with highest badness|Process with highest badness"
            rb"| *PID: (?P<pid_too>\d{1,9}), name: (?P<comm_too>\S{1,80}), badness: \d"
            rb"| *(?:badness|Badness): +\d{1,9}, oom_score: )"
        ),
    ),
)
# earlyoom waits ten seconds for a process to end, then says that it did not (kill.c).
_STAYED = re.compile(
    rb"(?:.{0,120}?earlyoom(?:\[\d{1,9}\])?: )?(?:process (?P<pid>\d{1,9}) did not exit|kill failed: (?P<why>.{1,80}))"
)
_TO_FREE = re.compile(rb"to free (?P<kib>\d{1,12}) ?kB(?: rss, (?P<swap>\d{1,12}) ?kB swap)?")
_WHY = re.compile(rb"(?:; reason: (?P<reason>.{1,200})|because (?P<because>.{1,200}))")
# lowmem_scan(): what was too little, and what is left above the zones' reserves, each on a line of its own.
_BELOW = re.compile(rb"\s*(?P<reason>cache \d{1,12} ?kB is below limit \d{1,12} ?kB for (?:oom_score_)?adj -?\d{1,5})")
_FREE = re.compile(rb"\s*Free memory is -?\d{1,12} ?kB (?:above|below) reserved")
# A word of each, so that most lines are not asked for more.
HINT = either(
    *(rb"Kill '", rb"Killing '", rb"Reclaim '", rb"earlyoom", rb"systemd-oomd", rb"nohang", rb"to free \d"),
    *(rb"is below limit", rb"Free memory is", rb"Low memory! ", rb"low memory! ", rb"to process \d"),
    *(
        rb"killing process \d",
        rb"Found the victim",
        rb"with highest badness",
        rb"did not exit",
        rb"kill failed",
        rb"Name:",
        rb"PID:",
        rb"UID:",
        rb"VmRSS:",
        rb"VmS\w\w\w:",
    ),
    *(rb"Realpath:", rb"CmdLine:", rb"Badness: ", rb"badness: "),
)
# What nohang says of whom it chose, a line each, and systemd-oomd of whom it considered.
_OF_VICTIM = re.compile(
    rb"(?:.{0,120}?nohang(?:-desktop)?(?:\[\d{1,9}\])?: )? *"
    rb"(?P<name>Name|PID|UID|VmRSS|VmS(?:wap|ize)|Realpath|CmdLine|CGroup_v\d|NSsid|Cwd|Lifetime): +"
    rb"(?P<value>\S.{0,200})"
)
_MIB = re.compile(rb"(?P<mib>\d{1,9}) MiB")
_CANDIDATE = re.compile(
    rb".{0,120}?systemd-oomd(?:\[\d{1,9}\])?:\s+(?:Path: (?P<path>/\S{1,300})"
    rb"|(?:Current Memory [Uu]sage|Swap Usage): (?P<number>\d{1,6}(?:\.\d)?)(?P<unit>[BKMGT]))"
)
_PID_DIGITS = 10
_KIB = {b"B": 1 / 1024, b"K": 1, b"M": 1 << 10, b"G": 1 << 20, b"T": 1 << 30}


def is_of_user_space(text: bytes) -> bool:
    """Whether a line tells of a kill in user space."""
    return HINT.search(text) is not None and any(form.match(text) is not None for _, form in _KILLS)


class UserSpaceKills(ReportSection):
    """Who killed, why, and whom; one event for all that stands close together."""

    __slots__ = ("_candidates", "_chosen", "_path", "killer", "victims")

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.killer: Killer | None = None
        self.victims: dict[tuple[int, str], Victim] = {}
        self._candidates: dict[bytes, int] = {}  # kB of each group that systemd-oomd considered
        self._path = b""
        self._chosen: dict[bytes, bytes] = {}  # what nohang says of whom it chose

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if self.draft.kind != FOREIGN or HINT.search(text) is None:
            return False
        for name, form in _KILLS:
            if (match := form.match(text)) is not None:
                self._take(name, match.groupdict(), text, number)
                return True
        if (candidate := _CANDIDATE.match(text)) is not None:
            self._consider(candidate)
            return True
        if self.killer is None:
            return False
        if self.killer.name == "earlyoom" and (stayed := _STAYED.match(text)) is not None:
            self._stay(stayed, number, text)
            return True
        if self.killer.name == "nohang" and (about := _OF_VICTIM.match(text)) is not None:
            self._chosen.setdefault(about["name"], about["value"].strip())
            self._choose(number)
            return True
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
        if told.get("state") is not None and not self.victims:
            reason = told["state"]  # said every hour: the last before a kill counts, where no other reason is told
        if reason is not None:
            self.killer = Killer(name, printable(reason.strip(b" \t`")), number)
            self.draft.lines.pop("reason", None)  # the last one counts
            self.draft.at("reason", number, text)
        comm = told.get("comm") or told.get("comm_too")
        if b"Found the victim" in text or b"highest badness" in text:
            self._chosen = {}
        if comm is None or not self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            return
        pid = int(told.get("pid") or told.get("pid_too") or 0)
        kib = {"rss": int(told["mib"] or 0) * 1024} if told.get("mib") else _amounts(rest)
        if comm in self._candidates:
            kib = {"rss": self._candidates[comm]}
        self.victims.setdefault((pid, printable(comm)), Victim(pid, printable(comm), kib, None, number))
        self.draft.at(f"victim {pid}", number, text)

    def _stay(self, told: re.Match[bytes], number: int, text: bytes) -> None:
        """Whoever was asked to end and did not: by its number, or the last one where the reason alone is told."""
        pid = None if told["pid"] is None else int(told["pid"])
        for key in list(self.victims) if pid is not None else list(self.victims)[-1:]:
            if pid in (None, key[0]):
                self.victims[key] = replace(self.victims[key], is_announced=True)
                self.draft.at("did not end", number, text)

    def _consider(self, candidate: re.Match[bytes]) -> None:
        if candidate["path"] is not None:
            self._path = candidate["path"]
        elif self._path and self.draft.has_room("candidates", self._candidates):
            kib = round(float(candidate["number"]) * _KIB[candidate["unit"]])
            if not self._candidates and self.killer is not None and self.killer.reason is None:
                first = f"the first that it considered, {printable(self._path)}, had {bytes_text(kib * 1024)}"
                self.killer = Killer(self.killer.name, first, self.killer.line)
            self._candidates.setdefault(self._path, kib)

    def _choose(self, number: int) -> None:
        """The victim of nohang, once its name and size are known; its name may be told by its file alone."""
        told = self._chosen
        size = None if b"VmRSS" not in told else _MIB.match(told[b"VmRSS"])
        name = told.get(b"Name") or told.get(b"Realpath", b"").rpartition(b"/")[2]
        if size is None or not name or not self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            return
        digits = told.get(b"PID", b"").partition(b",")[0]  # "903309, PPID: 1"
        pid = int(digits) if digits.isdigit() and len(digits) < _PID_DIGITS else 0
        swap = None if b"VmSwap" not in told else _MIB.match(told[b"VmSwap"])
        kib = {"rss": int(size["mib"]) * 1024}
        if swap is not None:
            kib["swap"] = int(swap["mib"]) * 1024
        self.victims[pid, printable(name)] = Victim(pid, printable(name), kib, None, number)

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
