"""`oomscope watch`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oomscope.cli.explain import Duration
from oomscope.errors import BadQuestion, NoAccess, NotOffered, OutputFailed
from oomscope.units import counted

if TYPE_CHECKING:
    from oomscope.watch.bookmarks import Bookmarks
    from oomscope.watch.followers.follower import Follower
    from oomscope.watch.outlets.metrics import Metrics
    from oomscope.watch.outlets.outlet import Queued
    from oomscope.watch.watcher import Watcher

_EVERY = "5min"
_LEAST_EVERY_NS = 5 * 10**9


@click.command()
@click.option("--file", "files", multiple=True, type=click.Path(), help="Follow this log instead of the machine's own.")
@click.option("--this-machine", is_flag=True, help="What --file follows is this machine's: add what the machine has.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--full", is_flag=True, help="Print all that `explain` does, not the answer alone.")
@click.option("--quiet", is_flag=True, help="Print nothing: other outlets are enough.")
@click.option("--from-now", is_flag=True, help="Leave out what the logs hold already.")
@click.option("--once", is_flag=True, help="Explain what the logs hold, and end.")
@click.option("--state", "state_path", type=click.Path(dir_okay=False), help="Keep here how far each log was read.")
@click.option("--journal", is_flag=True, help="Write to the journal, with fields OOMSCOPE_CLASS, _HOLDER, _UNIT, ...")
@click.option("--metrics", "port", type=click.IntRange(0, 65535), help="OpenMetrics on this port of 127.0.0.1.")
@click.option("--textfile", type=click.Path(dir_okay=False), help="Metrics as a file for node_exporter (NAME.prom).")
@click.option("--spool", type=click.Path(file_okay=False), help="Keep each OOM as a case for `explain` and `triage`.")
@click.option("--spool-mib", type=click.IntRange(1), default=256, show_default=True, help="The spool holds so much.")
@click.option("--redact", is_flag=True, help="In the spool, replace what names the machine, its tasks and units.")
@click.option("--webhook", help="Post each incident to this address, as JSON or by --template.")
@click.option("--template", type=click.Path(dir_okay=False), help="What is posted: JSON with $message, $class, ...")
@click.option("--kubernetes-events", is_flag=True, help="Write an Event on the pod.")
@click.option("--near", multiple=True, help="Tell when this cgroup reaches memory.high or memory.max; wildcards match.")
@click.option("--leaks", is_flag=True, help="Take readings of memory, and tell what grows steadily.")
@click.option("--every", type=Duration(), default=_EVERY, show_default=True, help="How often a reading is taken.")
@click.option("--history", type=click.Path(dir_okay=False), help="Where they are.  [/var/lib/oomscope/history.sqlite]")
def watch(files: tuple[str, ...], state_path: str | None, **options: Any) -> None:
    """Explain every OOM of this machine a second after it happened, from now until it is stopped.

    The kernel's log is read from the boot's beginning, the journal beside it for the killers of user space.

    \b
    sudo oomscope watch
    sudo oomscope watch --quiet --journal --metrics 9733 --spool /var/lib/oomscope/spool
    oomscope watch --file /var/log/remote/db-3.log --format json
    """  # noqa: D301 - a help text; click knows the backspace
    from oomscope.watch.bookmarks import Bookmarks
    from oomscope.watch.near_limit import NearLimit
    from oomscope.watch.sampling import Sampling
    from oomscope.watch.staying_alive import stay_alive
    from oomscope.watch.watcher import Watcher

    _require(options)
    state = Bookmarks(None if state_path is None else Path(state_path))
    followers = _files(files, state) if files else _own_logs(state)
    if options["from_now"]:
        for follower in followers:
            for _ in follower.lines():
                pass
    near = NearLimit(options["near"]) if options["near"] else None
    outlets, metrics = _outlets(options)
    sampling = None
    if options["leaks"] or metrics:
        sampling = Sampling(options["every"] / 1e9, history=_history(options), metrics=metrics)
    watcher = Watcher(
        followers,
        outlets,
        state,
        near=near,
        sampling=None if options["once"] else sampling,
        is_of_this_machine=not files or options["this_machine"],
        whole=options["full"],
    )
    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:  # as nohup has it
            signal.signal(each, lambda *_: watcher.stop())
    if not options["once"]:
        stay_alive()
        click.echo(f"oomscope: following {' and '.join(each.name for each in followers)}; Ctrl-C ends it", err=True)
    watcher.run(until_read=options["once"])
    _conclude(watcher, once=options["once"])


def _require(options: dict[str, Any]) -> None:
    """That the options go together. Raises BadQuestion."""
    if options["template"] is not None and options["webhook"] is None:
        raise BadQuestion("--template goes with --webhook")
    if options["every"] < _LEAST_EVERY_NS:
        raise BadQuestion("--every: readings take seconds; 5s is the least")
    if options["textfile"] is not None and not options["textfile"].endswith(".prom"):
        raise BadQuestion(
            f"--textfile {options['textfile']}: node_exporter reads files that end in .prom, and no others"
        )
    if options["redact"] and options["spool"] is None:
        raise BadQuestion("--redact goes with --spool")


def _conclude(watcher: Watcher, *, once: bool) -> None:
    """What was lost to the last. Raises OutputFailed, and what ended the last log."""
    lost = watcher.losses()
    for what, count, reason, _ in lost:
        click.echo(f"oomscope: lost {count:,} of the {what}: {reason}", err=True)
    if once and not watcher.incidents_told:
        click.echo(f"oomscope: no OOM in {counted(watcher.lines_read, 'line')}: `oomscope explain` says more", err=True)
    if lost:
        raise OutputFailed("not everything could be passed on", advice="")
    if watcher.failure is not None:
        raise watcher.failure


def _files(paths: tuple[str, ...], state: Bookmarks) -> list[Follower]:
    from oomscope.watch.followers.log_file import LogFile

    found: list[Follower] = [LogFile(path, state.position(str(path))) for path in map(Path, dict.fromkeys(paths))]
    return found


def _own_logs(state: Bookmarks) -> list[Follower]:
    """The kernel's ring, and the journal for the rest; the journal for all where the ring may not be read."""
    from oomscope.watch.followers import journal, kmsg

    found: list[Follower] = []
    try:
        found.append(kmsg.Kmsg(state.position(kmsg.PATH)))
    except NoAccess as error:
        try:
            return [journal.Journal(state.position(journal.NAME), kernel=True)]
        except NotOffered:
            raise error from None
    try:
        found.append(journal.Journal(state.position(journal.NAME)))
    except NotOffered as error:
        click.echo(f"oomscope: {error}: kills by earlyoom, nohang and systemd-oomd are not seen", err=True)
    return found


def _history(options: dict[str, Any]) -> Path | None:
    from oomscope.watch.history import PATH

    if not options["leaks"]:
        return None
    return PATH if options["history"] is None else Path(options["history"])


def _outlets(options: dict[str, Any]) -> tuple[list[Queued], list[Metrics]]:
    import socket

    from oomscope.watch.outlets.journal import JournalOutlet
    from oomscope.watch.outlets.outlet import Outlet, Queued

    found: list[Outlet] = []
    metrics: list[Metrics] = []
    if not options["quiet"]:
        from oomscope.watch.outlets.stream import StreamOutlet

        if sys.stdout is None:
            raise OutputFailed("standard output is closed", advice="--quiet")
        stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        found.append(StreamOutlet(stream, as_json=options["form"] == "json", whole=options["full"]))
    if options["journal"]:
        found.append(JournalOutlet())
    if options["port"] is not None or options["textfile"] is not None:
        from oomscope.watch.outlets.metrics import Metrics

        textfile = None if options["textfile"] is None else Path(options["textfile"])
        metrics = [Metrics(port=options["port"], textfile=textfile)]
        found += metrics
        if options["port"] == 0:
            click.echo(f"oomscope: metrics on port {metrics[0].port}", err=True)
    if options["spool"] is not None:
        from oomscope.watch.outlets.spool import Spool

        host = (socket.gethostname(), socket.getfqdn())
        found.append(
            Spool(Path(options["spool"]), most_bytes=options["spool_mib"] << 20, redact=options["redact"], host=host)
        )
    if options["webhook"] is not None:
        from oomscope.watch.outlets.webhook import Webhook

        found.append(Webhook(options["webhook"], None if options["template"] is None else Path(options["template"])))
    if options["kubernetes_events"]:
        from oomscope.watch.outlets.kubernetes_events import KubernetesEvents

        found.append(KubernetesEvents())
    if not found:
        raise BadQuestion("--quiet with no other outlet tells nobody")
    return [Queued(outlet) for outlet in found], metrics
