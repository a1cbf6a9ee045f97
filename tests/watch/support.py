"""A watch in a thread: logs it follows, and what it told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oomscope.model.notice import Incident
from oomscope.watch.bookmarks import Bookmarks
from oomscope.watch.followers.log_file import LogFile
from oomscope.watch.outlets.outlet import Outlet, Queued
from oomscope.watch.watcher import Watcher

EXAMPLES = Path(__file__).parents[2] / "examples"
KILL = EXAMPLES / "kill-4.18.log"


class Kept:
    """An outlet that keeps what it is told."""

    name = "the test"

    def __init__(self) -> None:
        self.incidents: list[Incident] = []

    def tell(self, incident: Incident) -> None:
        """See Outlet."""
        self.incidents.append(incident)

    def close(self) -> None:
        """Nothing to let go of."""

    def kinds(self) -> list[str]:
        """The kinds of what was told, in its order."""
        return [each.kind for each in self.incidents]


class Running:
    """A watch of some files, until the block is left."""

    def __init__(
        self, files: Sequence[Path], *outlets: Outlet, bookmarks: Path | None = None, **options: object
    ) -> None:
        self.kept = Kept()
        kept = Bookmarks(bookmarks)
        followers = [LogFile(path, kept.position(str(path))) for path in files]
        queued = [Queued(outlet) for outlet in (self.kept, *outlets)]
        options.setdefault("is_of_this_machine", False)
        self.watcher = Watcher(followers, queued, kept, **options)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.watcher.run)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        """Until a condition holds; it is a failure where it does not."""
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, [each.text for each in self.kept.incidents]
            time.sleep(0.02)


def add(path: Path, text: bytes) -> None:
    """Append to a log, as a daemon does."""
    with path.open("ab") as file:
        file.write(text)
