"""Incidents on a stream, for people or a line of JSON each."""

from __future__ import annotations

from typing import IO

from oomscope.model.notice import Incident
from oomscope.report import incident_json, incident_text


class StreamOutlet:
    """Standard output or a file; see Outlet. `whole` tells all that `explain` prints."""

    def __init__(self, stream: IO[bytes], *, as_json: bool, whole: bool = False) -> None:
        self.name = "the output"
        self._stream, self._as_json, self._whole = stream, as_json, whole

    def tell(self, incident: Incident) -> None:
        """See Outlet."""
        text = incident_json.line(incident) if self._as_json else incident_text.render(incident, whole=self._whole)
        self._stream.write(text.encode("utf-8", "backslashreplace"))
        self._stream.flush()

    def close(self) -> None:
        """See Outlet: the stream is somebody else's."""
