"""How it ended: the summary, who was killed, the panic (mm/oom_kill.c oom_kill_process(), out_of_memory())."""

from __future__ import annotations

import re
from dataclasses import replace

from oomscope import bounds
from oomscope.model.oom_event import KILL, SHOWN, Victim
from oomscope.sources.kernel_log.report.draft import Draft, ReportSection
from oomscope.sources.kernel_log.report.memcg import WHOLE_GROUP
from oomscope.text import either, printable

SUMMARY = re.compile(rb"oom-kill:constraint=(?P<constraint>\w{4,40}),(?P<rest>.*)")
# Virtuozzo and OpenVZ: a container's own OOM killer.
OF_CONTAINER = re.compile(
    rb"Out of memory in UB (?P<ub>\S{1,40}): OOM killed process (?P<pid>\d{1,9}) \((?P<comm>.{1,40}?)\)"
    rb"(?: score \d{1,9})?(?: vm:(?P<vm>\d{1,15})kB, rss:(?P<rss>\d{1,15})kB, swap:(?P<swap>\d{1,15})kB)?"
)
# A path may hold commas; what follows it are the fields of dump_oom_summary(), which some who paste set apart.
_OOM_MEMCG = re.compile(rb"oom_memcg=(?P<path>[^,]*+(?:,(?! ?(?:task_memcg|task|pid|uid)=)[^,]*+)*+)")
KILL_LINE = re.compile(
    rb"(?P<memcg>Memory cgroup o|O)ut of [Mm]emory(?: \((?P<why>[^)]{1,60})\))?: [Kk]ill(?:ed)? process "
    rb"(?P<pid>\d{1,9})(?:, UID \d+,)? \((?P<comm>.{1,40}?)\)(?=[,.]|\s|$)(?P<rest>.*)"
)
KILLED = re.compile(rb"Killed process (?P<pid>\d{1,9})(?:, UID \d+,)? \((?P<comm>.{1,40}?)\)(?=[,.]|\s|$)(?P<rest>.*)")
_SCORE = re.compile(rb"score (?P<score>\d{1,6})")
_RSS = re.compile(rb"(?P<name>total-vm|anon-rss|file-rss|shmem-rss): ?(?P<value>\d{1,20}) ?kB")
# 2.4: nothing but the name (mm/oom_kill.c oom_kill_task(), mm/memory.c).
KILLED_OLD = re.compile(rb"VM: killing process (?P<comm>\S.{0,39}?)\s{0,80}+$")
NO_VICTIM = re.compile(rb"Out of memory and no killable processes")
_PANIC = re.compile(rb"(?<!end )Kernel panic - not syncing: (?P<message>.{1,200})")
_PANIC_OF_OOM = re.compile(rb"(?i)out of memory|deadlocked on memory|system-wide panic_on_oom")
# Whom the reaper has emptied: where the kill line is lost, that is who was killed (mm/oom_kill.c oom_reap_task_mm()).
REAPED = re.compile(rb"oom_reaper: reaped process (?P<pid>\d{1,9}) \((?P<comm>.{1,40}?)\),? now anon-rss:")
_AT_END = either(
    *(rb"oom-kill:", rb",oom_memcg=/", rb"VM: killing", rb"ut of [Mm]emory", rb"Killed process", rb"Kernel panic"),
    rb"oom_reaper: ",
)
# "Kill process 4944 (apache2) score 12 or a child": what was chosen, not yet who was killed.
_OF_CONTAINER = (("total-vm", "vm"), ("rss", "rss"), ("swap", "swap"))
_ANNOUNCED = re.compile(rb" or (?:a|sacrifice) child")
# The task of the summary line: whom the kernel chose (dump_oom_summary()).
_TASK = re.compile(rb",task=(?P<comm>.{1,40}?),pid=(?P<pid>\d{1,9})(?:,uid=|\s*$)")


def _panic(text: bytes) -> re.Match[bytes] | None:
    return _PANIC.search(text) if b"Kernel panic" in text else None


def is_cut_summary(text: bytes) -> bool:
    """Whether it is the summary line of a memory cgroup's kill with its left end cut off: only such a one has both."""
    return b",oom_memcg=/" in text and b",task=" in text and SUMMARY.match(text) is None


def is_of_oom(message: bytes) -> bool:
    """Whether a panic's message says that memory was the reason."""
    return _PANIC_OF_OOM.search(message) is not None


def is_panic_of_oom(text: bytes) -> bool:
    """Whether a line is the panic of an OOM."""
    return (match := _panic(text)) is not None and is_of_oom(match["message"])


class End(ReportSection):
    """Victims by pid; what the panic said."""

    __slots__ = ("_chosen", "constraint", "panic", "victims")
    has_words = True

    def __init__(self, draft: Draft) -> None:
        super().__init__(draft)
        self.constraint: str | None = None
        self.panic: str | None = None
        self.victims: dict[int, Victim] = {}
        self._chosen: Victim | None = None

    def take(self, text: bytes, number: int) -> bool:
        """See ReportSection."""
        if _AT_END.search(text) is None:
            return False
        if (match := SUMMARY.match(text)) is not None:
            self._take_whole_summary(match, text, number)
            return True
        if is_cut_summary(text) and (path := _OOM_MEMCG.search(text)) is not None:
            self.draft.is_of_memcg(printable(path["path"]), number, text)
            self._take_summary(text, number)
            return True
        if (match := OF_CONTAINER.match(text)) is not None:
            self._take_of_container(match, text, number)
            return True
        if (match := REAPED.match(text)) is not None:
            pid = int(match["pid"])
            if not self.victims and self.draft.has_room("victims", self.victims, bounds.VICTIMS):
                self.victims[pid] = Victim(pid, printable(match["comm"]), {}, None, number)
                self.draft.at(f"victim {pid}", number, text)
            return True
        if text.startswith(b"oom_reaper: "):
            return True
        match = KILL_LINE.match(text)
        if match is not None and match["memcg"] != b"O":
            self.draft.is_of_memcg(None, number, text)
        match = match or KILLED.match(text)
        if match is not None:
            self._take_victim(match, text, number)
            return True
        if (old := KILLED_OLD.match(text)) is not None and self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            self.victims[0] = Victim(0, printable(old["comm"]), {}, None, number)
            self.draft.at("victim 0", number, text)
            return True
        if NO_VICTIM.match(text) is not None:
            self.draft.at("no killable processes", number, text)
            self.draft.section = ""
            return True
        match = _panic(text)
        if match is not None:
            self.panic = self.panic or printable(match["message"].strip())
            self.draft.at("panic", number, text)
            return True
        return False

    def _take_whole_summary(self, match: re.Match[bytes], text: bytes, number: int) -> None:
        self.constraint = match["constraint"].decode()
        self.draft.section = ""
        self.draft.take_nodes(text)
        if self.draft.kind == SHOWN:
            self.draft.kind = KILL
        self.draft.at("oom-kill", number, text)
        if self.constraint == "CONSTRAINT_MEMCG":
            path = _OOM_MEMCG.search(match["rest"])
            self.draft.is_of_memcg(None if path is None else printable(path["path"]), number, text)
        self._take_summary(match["rest"], number)

    def _take_victim(self, match: re.Match[bytes], text: bytes, number: int) -> None:
        self.draft.section = ""
        if self.draft.kind == SHOWN:
            self.draft.kind = KILL  # its header is lost
        pid, comm = int(match["pid"]), printable(match["comm"])
        rest = match["rest"] or b""
        kib = {}
        for rss in _RSS.finditer(rest):
            value = self.draft.number(rss["value"], text)
            if value is not None:
                kib[rss["name"].decode()] = value
        score = _SCORE.search(rest)
        # "Kill process N or sacrifice child" announces, "Killed process M" tells who it was and what it held.
        is_announced = not kib and _ANNOUNCED.search(rest) is not None
        last = next(reversed(self.victims.values()), None)
        if (victim := self.victims.get(pid)) is not None:
            self.victims[pid] = replace(victim, kib={**victim.kib, **kib}, is_announced=is_announced)
        elif last is not None and (last.is_announced or (kib and not last.kib)) and not is_announced:
            del self.victims[last.pid]
            self.victims[pid] = Victim(pid, comm, kib, last.score, number)
        elif self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            number_of_score = None if score is None else int(score["score"])
            self.victims[pid] = Victim(pid, comm, kib, number_of_score, number, is_announced)
        self.draft.at(f"victim {pid}", number, text)

    def _take_summary(self, rest: bytes, number: int) -> None:
        """The summary names the task that is about to be killed, in case that its kill line is lost."""
        task = _TASK.search(rest)
        if task is not None:
            self._chosen = Victim(int(task["pid"]), printable(task["comm"]), {}, None, number, is_announced=True)

    def killed(self) -> tuple[Victim, ...]:
        """Who was killed; where no line tells it, who was chosen."""
        if self.victims or self._chosen is None:
            return tuple(self.victims.values())
        return (self._chosen,)

    def _take_of_container(self, match: re.Match[bytes], text: bytes, number: int) -> None:
        self.draft.is_of_memcg(f"UB {printable(match['ub'])}", number, text)
        pid = int(match["pid"])
        if self.draft.has_room("victims", self.victims, bounds.VICTIMS):
            kib = {name: int(match[group]) for name, group in _OF_CONTAINER if match[group] is not None}
            self.victims[pid] = Victim(pid, printable(match["comm"]), kib, None, number)
            self.draft.at(f"victim {pid}", number, text)

    def is_behind(self, text: bytes) -> bool:
        """Whether the event had ended before this line, which tells of an end, too."""
        if self.panic is not None:
            return True
        if b"memory.oom.group set" in text:
            return False
        if SUMMARY.match(text) is not None:
            return bool(self.victims) or "oom-kill" in self.draft.lines  # dump_oom_summary() is called once
        if _panic(text) is not None or NO_VICTIM.match(text) is not None:
            return False
        # mm/oom_kill.c oom_kill_process(): with memory.oom.group each kill line behind is of this event.
        match = KILL_LINE.match(text) if WHOLE_GROUP in self.draft.lines else None
        is_of_group = match is not None and match["memcg"] != b"O"
        return bool(self.victims) and KILLED.match(text) is None and not is_of_group
