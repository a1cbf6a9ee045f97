"""`oomscope arm` and `oomscope disarm`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click

from oomscope.cli.output import say
from oomscope.errors import BadQuestion, NothingToExplain, OomscopeError
from oomscope.host.facts import Machine, PageOwnerState
from oomscope.units import bytes_text

if TYPE_CHECKING:
    from oomscope.host.bpf import tracker
    from oomscope.host.bpf.arm import Armed, Tracking
    from oomscope.host.bpf.beginnings import Beginnings


@click.command()
@click.option("--top", type=click.IntRange(1, 16), default=3, show_default=True, help="How many stacks to print.")
@click.option("--on", "events", type=click.Choice(["panic", "kill"]), default="panic", show_default=True,
              help="kill: system-wide OOM kills too, at most one a minute.")  # fmt: skip
@click.option("--status", "ask", is_flag=True, help="Say what is armed, and what it has reported.")
@click.option("--at-boot", is_flag=True, help="At every boot from the next one on: a systemd unit.")
@click.option("--track", is_flag=True, help="Keep the owner of every page from now on: no page_owner is needed.")
@click.option("--kernel-only", is_flag=True, help="With --track: leave user memory and page cache out.")
@click.option("--yes", "confirmed", is_flag=True, help="With --track: take the memory, however much it is.")
@click.option(
    "--kdump",
    type=click.Choice(["also", "only", "plan"]),
    is_flag=False,
    flag_value="also",
    help="Let the crash kernel tell it, too; only: and save no dump; plan: anew, for another kernel.",
)
@click.option("--kprobes", is_flag=True, hidden=True)
@click.option("--stride", type=click.Choice(["8", "16", "32", "64", "128", "256"]), hidden=True)
@click.option("--way", type=click.Choice(["stacks", "pages"]), hidden=True)
@click.option("--limit", "limit_s", type=click.FloatRange(0.001, 60), default=5.0, hidden=True)
def arm(
    top: int,
    events: str,
    ask: bool,
    at_boot: bool,
    track: bool,
    kernel_only: bool,
    confirmed: bool,
    kdump: str | None,
    kprobes: bool,
    stride: str | None,
    way: str | None,
    limit_s: float,
) -> None:
    """At an OOM panic, let the console itself name the greatest memory consumer.

    Loads a small program onto the kernel's OOM path, which runs only when the machine is about to die of an OOM:
    nothing on the allocation path, and no process is left behind. `oomscope disarm` undoes all of it.

    With --track, programs on the allocation path keep the owner of every page from now on, for kernels without
    page_owner; what that takes is told first.

    With --kdump, nothing is loaded into this kernel: the crash kernel that kdump boots after a panic reads the dead
    one's memory and says who held it, before the dump is saved.
    """
    from oomscope.host.bpf import arm as arming
    from oomscope.host.bpf import requirements, trace_output
    from oomscope.host.bpf import systemd_unit as units

    machine = Machine()
    if ask:
        _status(machine)
        return
    if kdump is not None:
        _arm_kdump(machine, kdump)
        return
    if (kernel_only or confirmed) and not track:
        raise BadQuestion(f"{'--kernel-only' if kernel_only else '--yes'} goes with --track")
    if at_boot:
        requirements.require_access(machine)  # a unit that cannot arm would fail at every boot, and nobody would see it
        if track:
            try:
                _planned(machine, kernel_only=kernel_only, confirmed=confirmed)
            except OomscopeError as refused:
                click.echo(f"this kernel, now, would refuse: {refused}", err=True)
        asked = {"--track": track, "--kernel-only": kernel_only, "--yes": confirmed}
        units.enable(machine, top=top, events=events, options=tuple(name for name, is_set in asked.items() if is_set))
        say(f"{units.UNIT} arms at every boot from the next one on; `oomscope arm` does it now")
        return
    plan = _planned(machine, kernel_only=kernel_only, confirmed=confirmed) if track else None
    armed = arming.arm(
        machine,
        top=top,
        on_kill=events == "kill",
        way=way,
        limit_s=limit_s,
        track=plan,
        kprobes=kprobes,
        stride=None if stride is None else int(stride),
    )
    say(f"armed: {_points(armed.functions)}, {_how(armed)}, {armed.top} printed")
    if armed.tracking is not None:
        _tell_cost(armed.tracking)
    if armed.on_kill and not trace_output.prints_at_once(machine):
        say(
            "what it reports of a kill stays in the trace and a map: `oomscope arm --status`, `oomscope explain --live`"
        )
    for setting in armed.settings:
        say(f"set {setting.path}: {setting.wanted} (was {setting.before})")
    if events_of_others := trace_output.events_in_the_way(machine):
        click.echo(
            f"trace events are on and will stand between the lines of a report: {', '.join(events_of_others)}", err=True
        )


@click.command()
@click.option("--at-boot", is_flag=True, help="Take away the systemd unit; what is armed now stays.")
@click.option("--kdump", is_flag=True, help="Take away what --kdump put there; what is armed now stays.")
def disarm(at_boot: bool, kdump: bool) -> None:
    """Take away what `oomscope arm` put into the kernel, and put its settings back."""
    from oomscope.host.bpf import arm as arming
    from oomscope.host.bpf import requirements
    from oomscope.host.bpf import systemd_unit as units

    try:
        if at_boot:
            requirements.require_root(Machine())
            units.disable(Machine())
            say(f"{units.UNIT} is gone")
            return
        if kdump:
            from oomscope.host.kdump import arming as crash_kernel

            gone = crash_kernel.disarm(Machine())
            say(f"the crash kernel says nothing any more: {', '.join(gone.files) or crash_kernel.HOME} is gone")
            say(f"next: {gone.then}")
            return
        told = arming.disarm(Machine())
    except NothingToExplain as nothing:
        say(str(nothing))
        return
    say("disarmed")
    for line in told:
        click.echo(line, err=True)


def _arm_kdump(machine: Machine, asked: str) -> None:
    from oomscope.host.kdump import arming as crash_kernel

    if asked == "plan":
        renewed = crash_kernel.renew(machine)
        say("the plan fits this kernel" if renewed is None else f"the plan is made anew, for {renewed.release}")
        return
    armed = crash_kernel.arm(machine, only=asked == "only")
    say(f"the crash kernel is armed, by {armed.system}: its reader and the plan of {armed.release}")
    say(f"{bytes_text(armed.tree_bytes)} in {crash_kernel.ROOT}, and {', '.join(armed.files) or 'nothing else'}")
    say(f"next: {armed.then}")
    if (wanted := crash_kernel.wanted_bytes(machine, armed)) is not None:
        click.echo(
            f"the crash kernel may have too little memory: boot with crashkernel={-(-wanted >> 26) << 6}M", err=True
        )
    if machine.page_owner is not PageOwnerState.ON:
        click.echo("page_owner is off: only what `oomscope arm --track` keeps will have owners", err=True)


def _status(machine: Machine) -> None:
    from oomscope.host.bpf import arm as arming
    from oomscope.host.bpf.text import lines

    armed = arming.status(machine)
    if armed is None:
        say(f"not armed: {arming.HALF}; oomscope disarm" if arming.is_half(machine) else "not armed")
    else:
        since = datetime.datetime.fromtimestamp(armed.since).astimezone().isoformat(" ", "seconds")
        events = "OOM panics and system-wide kills" if armed.on_kill else "OOM panics"
        say(f"armed since {since}, for {events}: {_points(armed.functions)}, {_how(armed)}, {armed.top} printed")
    _tell_crash_kernel(machine)
    if machine.is_root and (audit := arming.audit(machine)) is not None:
        _tell_tracking(audit, None if armed is None else armed.tracking)
        if (found := arming.tracked_beginnings(machine)) is not None:
            wrong = found.told()
            say(f"check: {wrong}: what is named may be wrong" if wrong else _beginnings_are_right(found))
    if machine.is_root:
        reports = arming.reports(machine)
        say(f"{len(reports) or 'no'} {'report' if len(reports) == 1 else 'reports'} since")
        for report in reports:
            say("\n".join(["", *lines(report, machine.frames, top=3 if armed is None else armed.top)]))
    elif armed is not None:
        say("what it has reported only root may see")


def _tell_crash_kernel(machine: Machine) -> None:
    from oomscope.host.kdump import arming as crash_kernel

    if (reader := crash_kernel.status(machine)) is not None:
        fits = "" if crash_kernel.fits(machine, reader) else ", which does not run: oomscope arm --kdump=plan"
        say(f"the crash kernel is armed, by {reader.system}: its plan is of {reader.release}{fits}")


def _tell_tracking(audit: tracker.Audit, tracking: Tracking | None) -> None:
    counted = audit.counters
    what = "kernel memory only" if tracking is not None and tracking.kernel_only else "all pages"
    left_out = f", {audit.left_out_pages:,} of them left out as user memory" if audit.left_out_pages else ""
    say(f"tracked: {what}; {audit.owned_pages:,} pages are owned{left_out}")
    if audit.agrees:
        during = f", {audit.moving_pages:,} allocated or freed meanwhile" if audit.moving_pages else ""
        say(f"audit: the table and its counters agree ({audit.counted_pages:,} counted{during})")
    else:
        say(
            f"audit: the table has {audit.owned_pages:,} owned pages, its counters {audit.counted_pages:,}:"
            f" {abs(audit.owned_pages - audit.counted_pages):,} pages are unaccounted for; the counts per stack are"
            f" {audit.miscounted_pages:,} pages off"
        )
    say(
        f"since then: {counted.allocated_pages:,} pages allocated, {counted.freed_pages:,} freed,"
        f" {counted.unowned_frees:,} freed that had no owner, {counted.moved_pages:,} moved"
    )
    say(
        f"missed: {audit.misses:,} events inside the programs, {counted.healed_pages:,} pages healed;"
        f" {counted.untracked_pages:,} allocations of pages that were added later and are not in the table"
    )
    say(
        f"stacks: {counted.stacks:,}, room for {audit.room_for_stacks:,}; {audit.no_stack_pages:,} pages whose stack"
        f" could not be taken, {audit.table_full_pages:,} whose stack found no room ({counted.beyond_stacks:,} times);"
        f" {counted.collisions:,} collisions, {counted.slot_races:,} races for a slot"
    )
    if tracking is not None:
        _tell_cost(tracking)


def _beginnings_are_right(found: Beginnings) -> str:
    return f"check: all {found.stacks:,} kept stacks begin in the page allocator or its caller"


def _tell_cost(tracking: Tracking) -> None:
    say(
        f"measured: its maps take {bytes_text(tracking.size_bytes)};"
        f" a page fault takes {tracking.fault_ns / 1000:.2f} us, {tracking.fault_before_ns / 1000:.2f} us before"
    )
    if tracking.uncovered:
        say(f"not covered on this kernel: {', '.join(tracking.uncovered)}")


def _points(functions: tuple[str, ...]) -> str:
    return ", ".join(f"{function}()" for function in functions)


def _how(armed: Armed) -> str:
    if armed.stride > 1:
        return f"one page of {armed.stride}, for all of them would take too long"
    return {
        "stacks": "page_owner's own count per stack",
        "pages": "every page, one by one",
        "owners": "every page tracked",
    }[armed.way]


def _planned(machine: Machine, *, kernel_only: bool, confirmed: bool) -> tracker.Plan:
    """The cost of tracking, told before it is paid."""
    from oomscope.host.bpf import requirements, tracker

    requirements.require_access(machine)
    tracker.require(machine)
    plan = tracker.plan(machine, kernel_only=kernel_only)
    tracker.require_memory(machine, plan, confirmed=confirmed)
    say(f"tracking takes {plan.told()}")
    say(f"and {plan.told_time()}")
    return plan
