"""Let the crash kernel name the greatest memory consumer: put there, made anew, and taken away again."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from oomscope.crash_reader.plan import FORMAT
from oomscope.errors import BadQuestion, NothingToExplain, NotOffered
from oomscope.host.bpf.requirements import require_root
from oomscope.host.crash_kernel import needed_bytes, reserved_bytes
from oomscope.host.facts import Machine
from oomscope.host.kdump import systems, tree

HOME, ROOT = systems.HOME, systems.ROOT
_STATE = Path(HOME) / "state.json"
_SECONDS = 60.0
_AT_WORK_BYTES = 16 << 20  # what the reader takes at its peak


@dataclass(frozen=True, slots=True)
class KdumpArmed:
    """What was put there: for which kdump, the kernel that the plan is of, what the tree takes, what is to be run."""

    system: str
    release: str
    build_id: str | None
    tree_bytes: int
    files: tuple[str, ...]
    then: str
    line: tuple[str, str, str] | None = None
    line_before: str | None = None
    is_in_initramfs: bool = False


def arm(machine: Machine, *, only: bool) -> KdumpArmed:
    """Make the plan and the tree of this kernel, and have kdump call it.

    With `only` no dump is saved. Raises NoAccess, NotOffered, BadQuestion.
    """
    require_root(machine)
    system = systems.system_of(machine, only=only)
    if only and not system.can_skip_dump:
        raise BadQuestion(f"{system.name} cannot go without a dump: --kdump alone")
    before = status(machine)
    try:
        plan = _write_tree(machine)
        if before is not None:
            _take_away(machine, before, following=system)
        line_before = None if system.line is None else _set_line(machine, system.line)
        if before is not None and before.line == system.line:
            line_before = before.line_before
        armed = KdumpArmed(
            system.name,
            "",
            None,
            0,
            tuple(system.files),
            system.then,
            system.line,
            line_before,
            is_in_initramfs=system.is_in_initramfs,
        )
        armed = _keep(machine, armed, plan)
        for path, text in system.files.items():
            target = machine.path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755 if text.startswith("#!") else 0o644)
    except BaseException:
        if before is None:  # what was armed before stays so
            if (half := status(machine)) is not None:
                _take_away(machine, half)
            shutil.rmtree(machine.path(HOME), ignore_errors=True)
        raise
    return armed


def renew(machine: Machine) -> KdumpArmed | None:
    """The plan and the tree of the running kernel, where they are of another one; None where they fit.

    Raises NothingToExplain where nothing is armed; else as arm().
    """
    require_root(machine)
    armed = status(machine)
    if armed is None:
        raise NothingToExplain("the crash kernel is not armed", advice="oomscope arm --kdump")
    if fits(machine, armed):
        return None
    return _keep(machine, armed, _write_tree(machine))


def disarm(machine: Machine) -> KdumpArmed:
    """Take it all away. Raises NothingToExplain where nothing is armed, NoAccess."""
    require_root(machine)
    armed = status(machine)
    if armed is None:
        raise NothingToExplain("the crash kernel is not armed", advice="")
    _take_away(machine, armed)
    shutil.rmtree(machine.path(HOME))
    return armed


def _take_away(machine: Machine, armed: KdumpArmed, following: systems.KdumpSystem | None = None) -> None:
    """Files and settings of what was armed, but for those that the following one has, too."""
    keep = () if following is None else tuple(following.files)
    for path in armed.files:
        target = machine.path(path)
        if path not in keep:
            target.unlink(missing_ok=True)
        if target.parent.name.startswith(("kdump-tools", "98oomscope")) and not any(target.parent.iterdir()):
            target.parent.rmdir()
    if armed.line is not None and (following is None or following.line != armed.line):
        _restore_line(machine, armed.line, armed.line_before)


def status(machine: Machine) -> KdumpArmed | None:
    """What is armed; None where nothing is."""
    told = machine.text(_STATE)
    if told is None:
        return None
    try:
        kept = json.loads(told)
        line = kept.pop("line")
        return KdumpArmed(**{**kept, "files": tuple(kept["files"]), "line": None if line is None else tuple(line)})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotOffered(f"{_STATE} is damaged: {error}", advice=f"rm -r {HOME}") from error


def fits(machine: Machine, armed: KdumpArmed) -> bool:
    """Whether the plan is of the kernel that runs."""
    build_id = machine.vmcoreinfo.get("BUILD-ID")
    is_same_build = build_id is None or armed.build_id is None or build_id == armed.build_id
    return armed.release == machine.release and is_same_build


def wanted_bytes(machine: Machine, armed: KdumpArmed) -> int | None:
    """What the crash kernel should be given where it has too little for the reader, too; None where it has enough.

    The tree lies there packed and unpacked. None, too, where nobody tells how large the crash kernel is.
    """
    reserved, needed = reserved_bytes(machine), needed_bytes(machine)
    if not reserved or needed is None:
        return None
    needed += _AT_WORK_BYTES + (2 * armed.tree_bytes if armed.is_in_initramfs else 0)
    return needed if needed > reserved else None


def _write_tree(machine: Machine) -> dict[str, object]:
    from oomscope.host.kdump.plan import plan
    from oomscope.sources.vmcore import require_drgn

    require_drgn()
    from oomscope.sources.vmcore.opening import open_live

    made = plan(open_live())
    assert made["format"] == FORMAT
    tree.write(machine.path(ROOT), made, seconds=_SECONDS)
    return made


def _keep(machine: Machine, armed: KdumpArmed, plan: dict[str, object]) -> KdumpArmed:
    """What is armed, with what the plan is of, written down."""
    build_id = plan["build_id"]
    armed = replace(
        armed,
        release=str(plan["release"]),
        build_id=None if build_id is None else str(build_id),
        tree_bytes=tree.size_bytes(machine.path(ROOT)),
    )
    machine.path(_STATE).write_text(json.dumps(asdict(armed)))
    return armed


def _set_line(machine: Machine, line: tuple[str, str, str]) -> str | None:
    """Set a key of a file of shell settings; the line that stood there, None where none did. Raises NotOffered."""
    path, key, value = line
    target = machine.path(path)
    text = target.read_text()
    found = _line_of(key).search(text)
    told = f'{key}="{value}"'
    if found is not None and found["value"].strip("\"' ") not in ("", value):
        raise NotOffered(f"{path} has {found[0].strip()} already: call {tree.RUN} from there")
    if found is None:
        end = "" if not text or text.endswith("\n") else "\n"
        target.write_text(f"{text}{end}{told}\n")
        return None
    target.write_text(text[: found.start()] + told + text[found.end() :])
    return found[0]


def _restore_line(machine: Machine, line: tuple[str, str, str], before: str | None) -> None:
    """Put back the line that stood there, where ours still does."""
    path, key, value = line
    target = machine.path(path)
    text = target.read_text() if target.exists() else ""
    ours = f'{key}="{value}"'
    if before is not None:
        target.write_text(text.replace(ours, before, 1))
    elif f"{ours}\n" in text:
        target.write_text(text.replace(f"{ours}\n", "", 1))


def _line_of(key: str) -> re.Pattern[str]:
    """A setting without what is commented behind it."""
    return re.compile(rf"^{key}=(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s#]*)", re.MULTILINE)
