"""What names a machine, its people and their work, taken out of kernel logs and accounts.

Each name becomes the same word everywhere, so that an answer stays what it was: `task-1`, `unit-2`, `host`. What the
kernel prints of memory is kept; command lines, arguments, messages of programs and audit records are left out; of
other lines addresses, identifiers, paths, domains and whatever stands in quotes. Kernel threads keep their names: they
decide classes.

A log is read line by line, for what stands in one line decides what the next ones are (arguments follow their title).
Accounts are large and of few forms: they are read in one go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from oomscope.sources.kernel_log.prefixes import without_prefixes

LEFT_OUT = b"(redacted)"
_MESSAGE_BYTES = 1 << 12  # printk's own bound is 1 KiB: a longer one is of nobody who prints names in known places
# The kernel's own threads, whose names tell who asked (include/linux/kthread.h; they are started by kthreadd).
_KERNEL_THREAD = re.compile(
    rb"(?:kswapd|kworker|ksoftirqd|kcompactd|khugepaged|kthreadd|ksmd|kdevtmpfs|kauditd|khungtaskd|migration|cpuhp|rcu"
    rb"|swapper|watchdog|oom_reaper|writeback|jbd2|xfs|kblockd|irq/|idle_inject|kdamond|netns|kmpath|kpsmouse|mm_percpu)"
    rb"[^\s]{0,16}"
)
# Words of cgroup paths that every machine has.
_COMMON_GROUP = re.compile(
    rb"(?:system|user|init|machine|kubepods|kubepods-burstable|kubepods-besteffort|docker|lxc|crio|libpod_parent|app"
    rb"|background|session)(?:\.slice|\.scope)?|"
)
_SUFFIX = re.compile(rb"\.(?:service|scope|slice|mount|socket|swap|payload)$")

_COMM = rb"(?P<name>[^\n]{1,15}?)"
_BEGINNING = rb"(?P<before>^|[\]>] )"  # of a message, or behind what stands before one
# In accounts, and in what a log quotes of them: who allocated a page (page_owner) or an object (kmemleak), for whom.
_OWNER = re.compile(rb"(?P<before>\b(?:tgid|pid) \d{1,10} \()(?P<name>[^\n]{1,15}?)(?P<after>\), ts )")
_LEAKER = re.compile(rb"(?P<before>comm \")" + _COMM + rb"(?P<after>\", pid \d)")
_CHARGED = re.compile(
    rb"(?P<before>Charged (?:\(via objcg\) )?to (?:offlined? )?memcg )(?P<name>[^\n]{1,4000}?)(?P<after>\.?)"
    rb"(?=\r?(?:\n|\Z))"
)
# Where the kernel prints the name of a task: what stands before it, the name, what stands behind it.
_TASKS: tuple[re.Pattern[bytes], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        rb"(?P<before>\b[Cc]omm:? )"
        + _COMM
        + rb"(?P<after>: | (?:Not tainted|Tainted:|Kdump:)| \d{1,2}\.\d{1,3}|\s*$)",
        rb"(?P<before>\bOOM victim \d{1,9} \()" + _COMM + rb"(?P<after>\))",
        rb"(?P<before>#AC: )" + _COMM + rb"(?P<after>/\d)",
        _BEGINNING + _COMM + rb"(?P<after>/\d{1,9} is trying to acquire lock)",
        rb"(?P<before>\bProcess )" + _COMM + rb"(?P<after> pid )",
        rb"(?P<before>\bthread )" + _COMM + rb"(?P<after>(?::\w{1,8})? pid )",
        rb"(?P<before>\brandom: )" + _COMM + rb"(?P<after>: uninitialized)",
        _BEGINNING + _COMM + rb"(?P<after> ?invoked oom-killer|: page allocation |: vmalloc error|: vmalloc: "
        rb"|: vmemmap alloc failure| cpuset=\S+ mems_allowed=| used greatest stack depth| \(\d{1,9}\): drop_caches"
        rb"|\[\d{1,9}\]:? (?:segfault|trap|unhandled|general protection|bad frame|vsyscall|potentially|undefined)"
        rb"|\(\d{1,9}\): (?:undefined|unhandled|segfault|User))",
        rb"(?P<before>\b[Kk]ill(?:ed)? process \d{1,9}(?:, UID \d{1,10},)? \()" + _COMM + rb"(?P<after>\)(?=,|\s|$|:))",
        rb"(?P<before>reaped process \d{1,9} \()" + _COMM + rb"(?P<after>\))",
        rb"(?P<before>,task=)" + _COMM + rb"(?P<after>,pid=)",
        rb"(?P<before>(?:^|\s)\[ *\d{1,9}\] +(?:-?\d{1,20} +){7,12})(?P<name>\S[^\n]{0,14}?)(?P<after>\s*$)",
        rb"(?P<before>\btraps?: )" + _COMM + rb"(?P<after>\[\d)",
        rb"(?P<before>\bINFO: task )" + _COMM + rb"(?P<after>:\d{1,9} |[ :]blocked)",
        rb"(?P<before>(?:^|\s)task:)" + _COMM + rb"(?P<after> *state:)",
        rb"(?P<before>\bprocess ')" + _COMM + rb"(?P<after>' launched)",
        rb"(?P<before>\bBad (?:page state|page map|swap file entry|rss-counter state) in process )"
        + _COMM
        + rb"(?P<after>(?:  |\s*$))",
        rb"(?P<before>\bby task )" + _COMM + rb"(?P<after>/\d)",
        rb"(?P<before>\bProcess )" + _COMM + rb"(?P<after> \(pid: )",
        rb"(?P<before>\bstuck for \d{1,6}s! \[)" + _COMM + rb"(?P<after>:\d)",
        rb"(?P<before>\bLOCK-HOLDER |\block held by |\blocks held by )" + _COMM + rb"(?P<after>/\d)",
        rb"(?P<before>\bin )(?P<name>[^\s\[\]]{1,255})(?P<after>\[[0-9a-f]{1,16}(?:,[0-9a-f]{1,16})?\+[0-9a-f])",
        rb"(?P<before>lowmemorykiller: Killing ')" + _COMM + rb"(?P<after>')",
        rb"(?P<before>\bto free \d{1,12}kB on behalf of ')" + _COMM + rb"(?P<after>')",
        rb"(?P<before>\bsend sigkill to \d{1,9} \()" + _COMM + rb"(?P<after>\))",
    )
)
_GROUPS: tuple[re.Pattern[bytes], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        rb"(?P<before>\b(?:task|oom)_memcg=)(?P<name>[^\n]{1,4000}?)(?P<after>)(?=,(?:task_memcg|oom_memcg|task|pid)=|$)",
        rb"(?P<before>\bcpuset=)(?P<name>[^\s,]{1,4000})(?P<after>)",
        rb"(?P<before>^Memory cgroup stats for )(?P<name>[^\n]{1,4000}?)(?P<after>:(?:\s|$))",
        rb"^(?P<before>Task in )(?P<name>[^\n]{1,4000}?)(?P<after> killed as)",
        rb"(?P<before>\bas a result of limit of )(?P<name>[^\n]{1,4000})(?P<after>)",
        rb"^(?P<before>Tasks in )(?P<name>[^\n]{1,4000}?)(?P<after> are going)",
        rb"(?P<before>\brejected by pids controller in )(?P<name>\S{1,4000})(?P<after>)",
    )
)
_SLAB_GROUP = re.compile(
    rb"(?P<before>(?:^|\s)[\w.-]{1,60}\(\d{1,9}:)(?P<name>[^)\n]{1,200})(?P<after>\))", re.MULTILINE
)
_BUILDER = re.compile(rb"(?P<before>Linux version \S{1,80} )\([^()\n]{1,120}@[^()\n]{1,120}\)")
_DMA_BUFFER = re.compile(
    rb"(?m)^(?P<before>\d{8,20}\t[0-9a-f]{8}\t[0-9a-f]{8}\t-?\d{8,20}\t[^\t\n]{1,200}\t\d{8,20}\t)(?P<name>[^\t\n]+)(?P<after>)"
)

# --- lines that are left out, and what follows them

# What stands between two messages of one line: an escaped line end, or the stamp of the second.
_WITHIN = re.compile(rb"(#012|\\x0a|(?<=\S)[ \t]*+\[ *\d{1,9}\.\d{6}\](?:\[ *[TC]\d{1,9}\])? )")
_FIRST_OF_PROGRAMS = 8  # facility 1: what programs wrote to /dev/kmsg
_LIST_INDENT = 4
_KMSG_FIELD = re.compile(rb" [A-Z_]{2,40}=")  # of a record, beside its text: devices, and programs' own
_KMSG = re.compile(rb"(?P<priority>\d{1,4}),\d{1,18},\d{1,15},[^;\n]{0,80};")
_SYSLOG = re.compile(
    rb"(?:<\d{1,3}>\d? ?)?(?:[A-Z][a-z]{2} +\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) "
    rb"(?P<host>[^\s:\[\]]{1,255}) (?P<tag>[^\s:\[]{1,128})(?:\[\d{0,9}\])?: ?"
)
_BEHIND_HOST = re.compile(rb"(?P<host>[A-Za-z0-9][\w.-]{1,254}) kernel: ")
_FACILITY = re.compile(rb"(?:kern|user|daemon|auth|authpriv|syslog|cron|local\d)\.[a-z]{3,7}")  # of OpenWrt's logread
_FROM_PROGRAM = re.compile(
    rb"(?:[\w@./-]{1,64}\[\d{1,9}\]|systemd(?:-[\w-]{1,40})?|dracut(?:-[\w-]{1,40})?|cloud-init): "
)
_KERNELS_OWN = re.compile(rb"[^\[]{1,16}\[\d{1,9}\]: (?:segfault|trap|unhandled|bad frame|vsyscall|potentially)")
_COMMAND_LINE = re.compile(rb"(?P<before>(?:Kernel )?[Cc]ommand line: *|Unknown kernel command line parameters *)")
_LISTS_FOLLOW = re.compile(rb" *with (?:arguments|environment):")
_AUDIT = re.compile(rb"audit(?:\(|:| )|type=\d{4} audit\(")
_OF_DEVICES = re.compile(
    rb"(?P<before>\b(?:Product|Manufacturer|SerialNumber|Model Number|Serial Number|Hostname)\s*[:=]\s*)[^\n]+"
)

# --- what is taken out of other lines, wherever it stands

# A name with dots that is no file, no suffix of a compiler, no setting: memory.oom.group, foo.isra.0, slub.c.
_DOMAIN = (
    rb"(?<![\w./@=-])(?!(?:kern|daemon|memory|vm|kernel|net|fs|cpu|io|sysctl|dev)\.)"
    rb"[A-Za-z](?:[A-Za-z0-9-]{0,62})\.(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){0,8}"
    rb"(?!(?:ko|rs|so|py|sh|isra|part|cold|constprop|slice|scope|service|mount|socket|conf|fw|bin|img|txt)(?![\w-]))"
    rb"(?!(?:group|max|min|high|low|stat|events|current)(?![\w-]))[A-Za-z]{2,24}(?![\w+./:-]|\.\d)"
)
_WORDS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("uuid", rb"(?<![0-9A-Fa-f-])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f-])"),
        ("mac", rb"(?<![0-9A-Fa-f:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5,7}(?![0-9A-Fa-f:-])"),
        ("address", rb"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"),
        (
            "address",
            rb"(?<![\w:.])(?=[0-9A-Fa-f:]*::|(?:[0-9A-Fa-f]{1,4}:){7})[0-9A-Fa-f:]{3,45}(?:%\w{1,15})?(?![\w:])",
        ),
        ("mail", rb"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}(?![\w-])"),
        ("storage", rb"\b(?:iqn|nqn|eui|naa|wwn)[.-][\w.:-]{4,223}|\b0x[56][0-9a-f]{15}\b"),
        ("link", rb"\b[a-z][a-z0-9+]{1,15}://[^\s\"'<>]{1,500}"),
        ("domain", _DOMAIN),
    )
)
_QUOTED = re.compile(rb"\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'")
_PATH = re.compile(rb"(?<![\w./+<])/(?=[\w.@:+-]{2}|[\w.@:+-]/[\w.@:+-])(?:[\w.@:+-]{1,255}/){0,40}+[\w.@:+-]{0,255}")
_SETTING = re.compile(
    rb"(?i)(?P<before>\b\w{0,40}(?:pass(?:word|wd)?|token|secret|key|user|login|ssid)\w{0,40} ?[=:] ?)\S{1,300}"
)
_SERIAL = re.compile(rb"(?i)(?P<before>\b(?:serial(?:[ _-]?(?:number|num|no)\b)?|s/n)\.?\s?[:=#]?\s?)\S{3,64}")
_NETWORK_PATH = re.compile(rb"(?<![\\\w])\\{2,4}[\w.$-]{1,64}(?:\\{1,2}[\w.$-]{1,64}){0,16}")
_LINK_HEADER = re.compile(rb"(?P<before>\bll header: )[^\n]+")
_SERVER = re.compile(rb"(?P<before>\bserver )[^\s,]{1,255}(?=,? (?:not responding|OK|timed out|error))")
_LABEL = re.compile(
    rb"(?P<before>\b(?:EXT[234]-fs|XFS|F2FS-fs|JFS|GFS2)(?: \w{1,10})? \((?:device )?"
    rb"|\bBTRFS\b[^\n]{0,40}?(?:label|\(device) )"
    rb"(?![hsv]d[a-z]\d*|nvme\d|dm-\d|md\d|mmcblk\d|loop\d|vd[a-z])[^)\s]{1,255}"
)
_SSID = re.compile(rb"(?i)(?P<before>\bssid ?[=:]? ?)\S{1,64}")
# Without one of these words a line has nothing for the patterns above: most lines need three questions, not forty.
_MAY_NAME = re.compile(
    rb"[Cc]omm|[\[\]]|victim|AC: |acquire|rocess|thread |random|oom-killer|allocation|vmalloc|vmemmap|cpuset"
    rb"|stack depth|drop_caches|segfault|unhandled|undefined|User|[Tt]ask|trap|held by|HOLDER|lowmemory|behalf|sigkill"
    rb"|tgid|pid |memcg|cgroup|limit of|pids controller|\(\d|Linux version"
)
_MAY_HAVE_WORDS = re.compile(rb"[-.:@]|0x[56]")
_MAY_TELL = re.compile(
    rb"(?i)product|manufacturer|serial|model number|hostname|s/n|ssid|server |-fs|xfs|gfs2|jfs|btrfs|pass|token|secret"
    rb"|key|user|login|ll header"
)
# A line of a report, whatever it holds: numbers under names that are the kernel's own.
_OF_A_REPORT = re.compile(
    rb"Node \d|[A-Z][A-Za-z0-9]{1,15} (?:free:|per-cpu:)|[A-Z][A-Za-z0-9]{1,15}: \d|[a-z_]{2,30}:\d|lowmem_reserve"
    rb"|\d{1,18} (?:pages|total)|(?:Free|Total) swap|\[ *pid|Tasks state|Mem-Info|OOM: |Call [Tt]race"
    rb"|\s*[\w.$]{1,255}\+0x|(?:memory|swap|kmem|memory\+swap): usage|\s*[a-z_]{2,40} \d{1,20}\s*$"
    rb"|Unreclaimable slab info|Memory allocations|Memory cgroup |Tasks? in /|Out of memory|oom-kill:|oom_reaper: "
    rb"|\s*[\d.]{1,20} ?[KMGTP]?i?B? +\d{1,15} \S{1,200}:\d"
)


def _told_before(match: re.Match[bytes]) -> bytes:
    return match["before"] + LEFT_OUT


class Redactor:
    """Takes names out of the texts of one machine; see the top of this file. `hosts` are names known beforehand."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._names: dict[str, dict[bytes, bytes]] = {}
        self._hosts: set[bytes] = set()
        # Whether a message, indented so far, belongs to what was left out of the one before.
        self._follows: Callable[[bytes, int], bool] | None = None
        self._is_stamped = False
        for host in hosts:
            self._learn_host(host.encode())

    def account(self, text: bytes) -> bytes:
        """Whole lines of a file of /proc, /sys or debugfs."""
        text = _OWNER.sub(self._task, text)
        text = _LEAKER.sub(self._task, text)
        text = _CHARGED.sub(self._group, text)
        text = _SLAB_GROUP.sub(self._unit, text)
        text = _BUILDER.sub(rb"\g<before>(builder)", text)
        text = _DMA_BUFFER.sub(self._buffer, text)
        text = self._without_hosts(text)
        for kind, pattern in _WORDS[:5]:
            text = pattern.sub(lambda match, kind=kind: self._word(kind, match[0]), text)  # type: ignore[misc]
        return text

    def log(self, text: bytes) -> bytes:
        """Whole lines of a kernel log, whatever collected it; lines of programs are left out."""
        kept = ((self._line(line.rstrip(b"\r")), line.endswith(b"\r")) for line in text.split(b"\n"))
        return b"\n".join(line + b"\r" if has_return else line for line, has_return in kept if line is not None)

    def learn(self, text: bytes) -> None:
        """Meet every name in a log before it is redacted: a line may have one that a later line tells to be one."""
        self.log(text)
        self._follows, self._is_stamped = None, False

    def member_name(self, name: str, form: str, number: int) -> str:
        """A name for an archive's member: its place in /proc, /sys or /dev where it has one, else its form."""
        found = _PLACE.search(name[-_NAME_REACH:])
        return found[1] if found is not None else f"{number:03d}-{form.replace(' ', '-')}"

    # --- lines of a log

    def _line(self, line: bytes) -> bytes | None:
        if line.startswith(b"{"):
            return self._of_journal(line)
        if (syslog := _SYSLOG.match(line)) is not None:
            self._learn_host(syslog["host"])
            if syslog["tag"] != b"kernel":
                return None
        elif (
            (kmsg := _KMSG.match(line)) is not None
            and int(kmsg["priority"]) >= _FIRST_OF_PROGRAMS
            and b";OOM: " not in line
        ):
            self._follows = None
            return None
        elif _KMSG_FIELD.match(line) is not None:
            return None
        elif (behind := _BEHIND_HOST.match(line)) is not None:
            self._learn_host(behind["host"])
        stripped = without_prefixes(line, 0)
        head = line[: len(line) - len(stripped.text)]
        indent = len(head) - len(head.rstrip(b" "))
        if self._follows is not None:
            if self._follows(stripped.text, indent) or (not stripped.is_stamped and self._is_stamped and stripped.text):
                return self._without_hosts(head) + LEFT_OUT
            self._follows = None
        self._is_stamped = stripped.is_stamped
        parts = _WITHIN.split(stripped.text)
        return self._without_hosts(head) + b"".join(
            self._message(part) if index % 2 == 0 else part for index, part in enumerate(parts)
        )

    def _message(self, text: bytes) -> bytes:
        if (command_line := _COMMAND_LINE.search(text)) is not None:
            self._follows = _is_rest_of_command_line if text.rstrip().endswith(b"\\") else _is_nothing
            return text[: command_line.end()] + LEFT_OUT
        if _LISTS_FOLLOW.match(text) is not None:
            self._follows = _is_listed
            return text
        if _AUDIT.match(text) is not None:
            return b"audit: " + LEFT_OUT
        if _FROM_PROGRAM.match(text) is not None and _KERNELS_OWN.match(text) is None:
            return LEFT_OUT
        if len(text) > _MESSAGE_BYTES:
            return LEFT_OUT
        if _MAY_NAME.search(text) is not None:
            text = _BUILDER.sub(rb"\g<before>(builder)", text)
            for pattern in (_OWNER, _LEAKER, *_TASKS):
                text = pattern.sub(self._task, text)
            for pattern in (_CHARGED, *_GROUPS):
                text = pattern.sub(self._group, text)
            text = _SLAB_GROUP.sub(self._unit, text)
        text = self._without_hosts(text)
        if _MAY_HAVE_WORDS.search(text) is not None:
            for kind, pattern in _WORDS:
                text = pattern.sub(lambda match, kind=kind: self._word(kind, match[0]), text)  # type: ignore[misc]
        if _OF_A_REPORT.match(text) is not None:
            return text
        text = _QUOTED.sub(b"'" + LEFT_OUT + b"'", text)
        if _MAY_TELL.search(text) is not None:
            for pattern in (_OF_DEVICES, _SERIAL, _SSID, _SERVER, _LABEL, _SETTING, _LINK_HEADER):
                text = pattern.sub(_told_before, text)
        if b"/" in text or b"\\" in text:
            text = _NETWORK_PATH.sub(lambda match: self._path(match[0]), text)
            text = _PATH.sub(lambda match: self._path(match[0]), text)
        return self._without_tasks(text)

    def _of_journal(self, line: bytes) -> bytes | None:
        """A record of `journalctl -o json`: a kernel's text, stamps and priority; nothing of a program's."""
        try:
            record = json.loads(line)
            message = record["MESSAGE"]
            text = bytes(message) if isinstance(message, list) else str(message).encode("utf-8", "backslashreplace")
            if record.get("_TRANSPORT", "kernel") != "kernel":
                return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return LEFT_OUT
        if isinstance(host := record.get("_HOSTNAME"), str):
            self._learn_host(host.encode("utf-8", "backslashreplace"))
        kept = {key: record[key] for key in _JOURNAL_KEYS if key in record}
        lines = [self._line(part) for part in text.split(b"\n")]
        kept["MESSAGE"] = b"\n".join(part for part in lines if part is not None).decode("utf-8", "backslashreplace")
        return json.dumps(kept).encode()

    # --- names

    def _renamed(self, kind: str, name: bytes) -> bytes:
        names = self._names.setdefault(kind, {})
        return names.setdefault(name, b"%s-%d" % (kind.encode(), len(names) + 1))

    def _task(self, match: re.Match[bytes]) -> bytes:
        name = match["name"]
        if _KERNEL_THREAD.fullmatch(name) is not None or not name.strip():
            return match[0]
        return match["before"] + self._renamed("task", name) + match["after"]

    def _group(self, match: re.Match[bytes]) -> bytes:
        parts = match["name"].split(b"/")
        return match["before"] + b"/".join(map(self._group_part, parts)) + match["after"]

    def _group_part(self, part: bytes) -> bytes:
        if _COMMON_GROUP.fullmatch(part) is not None or part in (b"", b"(null)", b"(deleted)"):
            return part
        suffix = _SUFFIX.search(part)
        return self._renamed("unit", part) + (b"" if suffix is None else suffix[0])

    def _unit(self, match: re.Match[bytes]) -> bytes:
        return match["before"] + self._group_part(match["name"]) + match["after"]

    def _buffer(self, match: re.Match[bytes]) -> bytes:
        name = match["name"]
        return match["before"] + (name if name == b"<none>" else self._renamed("buffer", name)) + match["after"]

    def _word(self, kind: str, word: bytes) -> bytes:
        return self._renamed(kind, word.lower())

    def _path(self, path: bytes) -> bytes:
        return b"/" + self._renamed("path", path)

    def _without_tasks(self, text: bytes) -> bytes:
        """Names of tasks that were met before, where a line of no known form has them as a word."""
        names = self._names.get("task")
        if not names:
            return text
        return _NAME_LIKE.sub(lambda match: names.get(match[0], match[0]), text)

    def _learn_host(self, host: bytes) -> None:
        if _FACILITY.fullmatch(host) is not None:
            return
        name = host.partition(b".")[0].lower()
        if len(name) > 1 and name not in _NO_HOSTS and not name.isdigit():  # of an address: _WORDS
            self._hosts.add(name)

    def _without_hosts(self, text: bytes) -> bytes:
        return _LABELS.sub(self._host, text) if self._hosts else text

    def _host(self, match: re.Match[bytes]) -> bytes:
        """A word with dots, from the first label that is a host's name on."""
        labels = match[0].split(b".")
        found = next((at for at, label in enumerate(labels) if label.lower() in self._hosts), None)
        return match[0] if found is None else b".".join([*labels[:found], b"host"])


_NAME_REACH = 300
_LABELS = re.compile(rb"[\w-]+(?:\.[\w-]+)*+")
# Where a file of the kernel's lies, without a name that somebody gave.
_PLACE = re.compile(
    r"(?:^|/)(proc/(?:(?:slab|mem|vmalloc|alloc|zone|buddy|pagetype)info|vmstat|modules|cmdline|version)"
    r"|sys/kernel/debug/(?:page_owner|page_owner_stacks/[a-z_]{3,30}|kmemleak|dma_buf/bufinfo|percpu_stats"
    r"|slab/[\w-]{1,60}/(?:alloc|free)_traces)|sys/block/zram\d{1,3}/mm_stat|dev/kmsg)$"
)
_NO_HOSTS = {b"localhost", b"host", b"kernel", b"(none)", b"linux"}
_NAME_LIKE = re.compile(rb"(?<![\w.+/-])[\w.+@:-]{3,15}(?![\w+/-])")
_JOURNAL_KEYS = (
    "__REALTIME_TIMESTAMP",
    "__MONOTONIC_TIMESTAMP",
    "_SOURCE_MONOTONIC_TIMESTAMP",
    "PRIORITY",
    "_TRANSPORT",
)


def _is_listed(_: bytes, indent: int) -> bool:
    return indent >= _LIST_INDENT


def _is_rest_of_command_line(message: bytes, _: int) -> bool:
    return _COMMAND_LINE.search(message) is None


def _is_nothing(_: bytes, __: int) -> bool:
    return False
