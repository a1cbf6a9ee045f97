"""What a name looks like: in a line of a report, in an account, in a message of a driver."""

from __future__ import annotations

import re

LEFT_OUT = b"(redacted)"
MESSAGE_BYTES = 1 << 12  # printk's own bound is 1 KiB: a longer one is of nobody who prints names in known places
# The kernel's own threads, whose names tell who asked (include/linux/kthread.h; they are started by kthreadd).
KERNEL_THREAD = re.compile(
    rb"(?:kswapd|kworker|ksoftirqd|kcompactd|khugepaged|kthreadd|ksmd|kdevtmpfs|kauditd|khungtaskd|migration|cpuhp|rcu"
    rb"|swapper|watchdog|oom_reaper|writeback|jbd2|xfs|kblockd|irq/|idle_inject|kdamond|netns|kmpath|kpsmouse|mm_percpu)"
    rb"[^\s]{0,16}"
)
# Words of cgroup paths that every machine has.
COMMON_GROUP = re.compile(
    rb"(?:system|user|init|machine|kubepods|kubepods-burstable|kubepods-besteffort|docker|lxc|crio|libpod_parent|app"
    rb"|background|session)(?:\.slice|\.scope)?|"
)
SUFFIX = re.compile(rb"\.(?:service|scope|slice|mount|socket|swap|payload)$")

_COMM = rb"(?P<name>[^\n]{1,15}?)"
_BEGINNING = rb"(?P<before>^|[\]>] )"  # of a message, or behind what stands before one
# In accounts, and in what a log quotes of them: who allocated a page (page_owner) or an object (kmemleak), for whom.
OWNER = re.compile(rb"(?P<before>\b(?:tgid|pid) \d{1,10} \()(?P<name>[^\n]{1,15}?)(?P<after>\), ts )")
LEAKER = re.compile(rb"(?P<before>comm \")" + _COMM + rb"(?P<after>\", pid \d)")
CHARGED = re.compile(
    rb"(?P<before>Charged (?:\(via objcg\) )?to (?:offlined? )?memcg )(?P<name>[^\n]{1,4000}?)(?P<after>\.?)"
    rb"(?=\r?(?:\n|\Z))"
)
# Where the kernel prints the name of a task: what stands before it, the name, what stands behind it.
TASKS: tuple[re.Pattern[bytes], ...] = tuple(
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
GROUPS: tuple[re.Pattern[bytes], ...] = tuple(
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
SLAB_GROUP = re.compile(
    rb"(?P<before>(?:^|\s)[\w.-]{1,60}\(\d{1,9}:)(?P<name>[^)\n]{1,200})(?P<after>\))", re.MULTILINE
)
BUILDER = re.compile(rb"(?P<before>Linux version \S{1,80} )\([^()\n]{1,120}@[^()\n]{1,120}\)")
DMA_BUFFER = re.compile(
    rb"(?m)^(?P<before>\d{8,20}\t[0-9a-f]{8}\t[0-9a-f]{8}\t-?\d{8,20}\t[^\t\n]{1,200}\t\d{8,20}\t)(?P<name>[^\t\n]+)(?P<after>)"
)

# --- lines that are left out, and what follows them

# What stands between two messages of one line: an escaped line end, or the stamp of the second.
WITHIN = re.compile(rb"(#012|\\x0a|(?<=\S)[ \t]*+\[ *\d{1,9}\.\d{6}\](?:\[ *[TC]\d{1,9}\])? )")
FIRST_OF_PROGRAMS = 8  # facility 1: what programs wrote to /dev/kmsg
LIST_INDENT = 4
KMSG_FIELD = re.compile(rb" [A-Z_]{2,40}=")  # of a record, beside its text: devices, and programs' own
KMSG = re.compile(rb"(?P<priority>\d{1,4}),\d{1,18},\d{1,15},[^;\n]{0,80};")
SYSLOG = re.compile(
    rb"(?:<\d{1,3}>\d? ?)?(?:[A-Z][a-z]{2} +\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    rb"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?) "
    rb"(?P<host>[^\s:\[\]]{1,255}) (?P<tag>[^\s:\[]{1,128})(?:\[\d{0,9}\])?: ?"
)
BEHIND_HOST = re.compile(rb"(?P<host>[A-Za-z0-9][\w.-]{1,254}) kernel: ")
FACILITY = re.compile(rb"(?:kern|user|daemon|auth|authpriv|syslog|cron|local\d)\.[a-z]{3,7}")  # of OpenWrt's logread
FROM_PROGRAM = re.compile(
    rb"(?:[\w@./-]{1,64}\[\d{1,9}\]|systemd(?:-[\w-]{1,40})?|dracut(?:-[\w-]{1,40})?|cloud-init): "
)
KERNELS_OWN = re.compile(rb"[^\[]{1,16}\[\d{1,9}\]: (?:segfault|trap|unhandled|bad frame|vsyscall|potentially)")
COMMAND_LINE = re.compile(rb"(?P<before>(?:Kernel )?[Cc]ommand line: *|Unknown kernel command line parameters *)")
LISTS_FOLLOW = re.compile(rb" *with (?:arguments|environment):")
AUDIT = re.compile(rb"audit(?:\(|:| )|type=\d{4} audit\(")
OF_DEVICES = re.compile(
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
WORDS: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
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
QUOTED = re.compile(rb"\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'")
PATH = re.compile(rb"(?<![\w./+<])/(?=[\w.@:+-]{2}|[\w.@:+-]/[\w.@:+-])(?:[\w.@:+-]{1,255}/){0,40}+[\w.@:+-]{0,255}")
SETTING = re.compile(
    rb"(?i)(?P<before>\b\w{0,40}(?:pass(?:word|wd)?|token|secret|key|user|login|ssid)\w{0,40} ?[=:] ?)\S{1,300}"
)
SERIAL = re.compile(rb"(?i)(?P<before>\b(?:serial(?:[ _-]?(?:number|num|no)\b)?|s/n)\.?\s?[:=#]?\s?)\S{3,64}")
NETWORK_PATH = re.compile(rb"(?<![\\\w])\\{2,4}[\w.$-]{1,64}(?:\\{1,2}[\w.$-]{1,64}){0,16}")
LINK_HEADER = re.compile(rb"(?P<before>\bll header: )[^\n]+")
SERVER = re.compile(rb"(?P<before>\bserver )[^\s,]{1,255}(?=,? (?:not responding|OK|timed out|error))")
LABEL = re.compile(
    rb"(?P<before>\b(?:EXT[234]-fs|XFS|F2FS-fs|JFS|GFS2)(?: \w{1,10})? \((?:device )?"
    rb"|\bBTRFS\b[^\n]{0,40}?(?:label|\(device) )"
    rb"(?![hsv]d[a-z]\d*|nvme\d|dm-\d|md\d|mmcblk\d|loop\d|vd[a-z])[^)\s]{1,255}"
)
SSID = re.compile(rb"(?i)(?P<before>\bssid ?[=:]? ?)\S{1,64}")
# Without one of these words a line has nothing for the patterns above: most lines need three questions, not forty.
MAY_NAME = re.compile(
    rb"[Cc]omm|[\[\]]|victim|AC: |acquire|rocess|thread |random|oom-killer|allocation|vmalloc|vmemmap|cpuset"
    rb"|stack depth|drop_caches|segfault|unhandled|undefined|User|[Tt]ask|trap|held by|HOLDER|lowmemory|behalf|sigkill"
    rb"|tgid|pid |memcg|cgroup|limit of|pids controller|\(\d|Linux version"
)
MAY_HAVE_WORDS = re.compile(rb"[-.:@]|0x[56]")
MAY_TELL = re.compile(
    rb"(?i)product|manufacturer|serial|model number|hostname|s/n|ssid|server |-fs|xfs|gfs2|jfs|btrfs|pass|token|secret"
    rb"|key|user|login|ll header"
)
# A line of a report, whatever it holds: numbers under names that are the kernel's own.
OF_A_REPORT = re.compile(
    rb"Node \d|[A-Z][A-Za-z0-9]{1,15} (?:free:|per-cpu:)|[A-Z][A-Za-z0-9]{1,15}: \d|[a-z_]{2,30}:\d|lowmem_reserve"
    rb"|\d{1,18} (?:pages|total)|(?:Free|Total) swap|\[ *pid|Tasks state|Mem-Info|OOM: |Call [Tt]race"
    rb"|\s*[\w.$]{1,255}\+0x|(?:memory|swap|kmem|memory\+swap): usage|\s*[a-z_]{2,40} \d{1,20}\s*$"
    rb"|Unreclaimable slab info|Memory allocations|Memory cgroup |Tasks? in /|Out of memory|oom-kill:|oom_reaper: "
    rb"|\s*[\d.]{1,20} ?[KMGTP]?i?B? +\d{1,15} \S{1,200}:\d"
)
