"""Where each distribution's kdump calls the reader: the files that have to be there, and what has to be run then."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass

from oomscope.host.bpf.systemd_unit import quoted
from oomscope.host.facts import Machine
from oomscope.host.kdump.tree import READER, RUN

HOME = "/var/lib/oomscope/crash-reader"
ROOT = f"{HOME}/root"
_HERE = f"{ROOT}{RUN}"  # where the crash kernel boots the root file system
_BEFORE_DUMP, _BEFORE_SUSE = f"{HOME}/before-kdump-tools", f"{HOME}/before-suse-kdump"
_KEPT = "/run/oomscope-vmcore"


@dataclass(frozen=True, slots=True)
class KdumpSystem:
    """One way that a dump is saved: `files` are paths and what stands in them, `then` is what the user has to run.

    `is_in_initramfs` tells that the tree is unpacked into the crash kernel's memory. `line` is a setting of a file that
    is not ours: the file, its key, and the value that it has to have.
    """

    name: str
    files: dict[str, str]
    then: str
    line: tuple[str, str, str] | None = None
    can_skip_dump: bool = False
    is_in_initramfs: bool = True


def system_of(machine: Machine, *, only: bool) -> KdumpSystem:
    """The one this machine has: Debian's kdump-tools, dracut's kdump, SUSE's kdump, else an initramfs of one's own."""
    if machine.has("/usr/sbin/kdump-config"):
        return _kdump_tools(only=only)
    if machine.has("/etc/sysconfig/kdump") and machine.has("/usr/lib/kdump/kdump-read-config.sh"):
        return _suse()
    if machine.has("/etc/kdump.conf"):
        return _dracut()
    return KdumpSystem(
        "an initramfs of your own",
        {},
        f"append to the crash kernel's initramfs what (cd {ROOT} && find . | cpio -o -H newc) gives, and call there"
        f" {RUN} FOLDER before the dump is saved",
        can_skip_dump=True,
    )


def _plan_anew() -> str:
    """Not from the current folder (-P): root runs it wherever a hook happens to be."""
    return f"{shlex.quote(sys.executable)} -P -m oomscope arm --kdump=plan"


# The folder is named when it is needed: kdump-config names its own by the minute in which it begins.
_BEFORE_KDUMP_TOOLS = f"""\
#!/bin/sh
# Called by kdump-tools-dump.service before kdump-config saves the dump, whose folder is named by the minute.
. /etc/default/kdump-tools
umask 077
rm -rf {_KEPT}
mkdir {_KEPT} || exit 1
{_HERE} {_KEPT} told
told=$?
while [ "$(date +%S)" -gt 57 ]; do sleep 1; done
folder="${{KDUMP_COREDIR:-/var/crash}}/$(date +%Y%m%d%H%M)"
if [ -e "$folder" ] || [ -L "$folder" ]; then
	[ -O "$folder" ] && [ ! -L "$folder" ] || folder="$folder-oomscope"
fi
mkdir -p "$folder" && cp {_KEPT}/vmcore-oom.* "$folder/" || exit 1
sync
exit $told
"""


def _kdump_tools(*, only: bool) -> KdumpSystem:
    """The crash kernel boots the root file system, and systemd starts this service in it."""
    dump = f"[Service]\nExecStartPre=-{_BEFORE_DUMP}\n"
    if only:  # what is not told is dumped
        answered = f"{_BEFORE_DUMP} && {{ sync; reboot -f; }}; exec /etc/init.d/kdump-tools start"
        dump = f"[Service]\nExecStart=\nExecStart=/bin/sh -c '{answered}'\n"
    anew = f"/usr/bin/timeout 120 {quoted(sys.executable)} -P -m oomscope arm --kdump=plan"
    return KdumpSystem(
        "kdump-tools",
        {
            _BEFORE_DUMP: _BEFORE_KDUMP_TOOLS,
            "/etc/systemd/system/kdump-tools-dump.service.d/oomscope.conf": dump,
            # At each boot, before the crash kernel is loaded: the plan may be of the kernel before.
            "/etc/systemd/system/kdump-tools.service.d/oomscope.conf": f"[Service]\nExecStartPre=-{anew}\n",
        },
        "systemctl daemon-reload",
        can_skip_dump=True,
        is_in_initramfs=False,
    )


_MODULE = f"""\
#!/bin/bash
# The crash kernel's reader of oomscope, in the initramfs of kdump alone. Its plan is made anew with each of these.
check() {{
	[ -n "$IN_KDUMP" ] || [[ " $dracutmodules $add_dracutmodules $force_add_dracutmodules " == *" kdump"* ]] || return 1
}}

install() {{
	%s || dwarn "oomscope: the plan was not made anew"
	(cd {ROOT} && find . -type f -print) | while read -r file; do
		inst_simple "{ROOT}/${{file#./}}" "/${{file#./}}"
	done
	inst_dir {READER}/python/lib
	[ ! -f {_BEFORE_SUSE} ] || inst_simple {_BEFORE_SUSE} {READER}/before-suse-kdump
}}
"""
# Both exit with 0: anything else is warned of in kdump's own log.
_BEFORE = f"#!/bin/sh\nrm -rf {_KEPT}\nmkdir -p -m 700 {_KEPT}\n{RUN} {_KEPT}\nexit 0\n"
_AFTER = f"""\
#!/bin/sh
# Beside the dump that was saved after the findings, wherever its file system is mounted; nothing older, and no link.
path=/var/crash
while read -r option value; do
	[ "$option" != path ] || path=$value
done </etc/kdump.conf
while read -r _ mount _; do
	for file in "${{mount%%/}}$path"/*/vmcore*; do
		if [ -f "$file" ] && [ ! -L "$file" ] && [ "$file" -nt {_KEPT}/vmcore-oom.json ]; then
			rm -f "${{file%%/*}}/vmcore-oom.json" "${{file%%/*}}/vmcore-oom.txt"
			cp {_KEPT}/vmcore-oom.* "${{file%%/*}}/"
		fi
	done
done </proc/mounts
exit 0
""".replace("%%", "%")


def _dracut() -> KdumpSystem:
    return KdumpSystem(
        "dracut's kdump",
        {
            "/usr/lib/dracut/modules.d/98oomscope/module-setup.sh": _MODULE % _plan_anew(),
            "/etc/kdump/pre.d/50-oomscope": _BEFORE,
            "/etc/kdump/post.d/50-oomscope": _AFTER,
        },
        "kdumpctl rebuild && kdumpctl restart",
    )


# KDUMP_PRESCRIPT, in the initramfs: kdump-save names its own folder by the minute, right after this.
_IN_SUSE = f"""\
#!/bin/sh
KDUMP_PROTO=file
KDUMP_SAVEDIR=/var/crash
[ ! -f /etc/kdump.conf ] || . /etc/kdump.conf
umask 077
rm -rf {_KEPT}
mkdir -p {_KEPT}
{RUN} {_KEPT}
host=
case $KDUMP_PROTO in
file) below=${{KDUMP_SAVEDIR#file://}} ;;
nfs | cifs)
	below=
	read -r host </etc/hostname.kdump
	host=$host-
	;;
*) exit 0 ;;
esac
[ -d "/kdump/mnt$below" ] || exit 0
folder="/kdump/mnt$below/$host$(date +%Y-%m-%d-%H-%M)"
mkdir -p "$folder" && cp {_KEPT}/vmcore-oom.* "$folder/"
exit 0
"""


def _suse() -> KdumpSystem:
    """The package kdump from 2.0 on: before, the dump lies elsewhere."""
    return KdumpSystem(
        "SUSE's kdump",
        {
            "/usr/lib/dracut/modules.d/98oomscope/module-setup.sh": _MODULE % _plan_anew(),
            _BEFORE_SUSE: _IN_SUSE,
        },
        "mkdumprd -f && systemctl restart kdump",
        line=("/etc/sysconfig/kdump", "KDUMP_PRESCRIPT", f"{READER}/before-suse-kdump"),
    )
