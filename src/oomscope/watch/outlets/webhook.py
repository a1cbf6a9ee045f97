"""Incidents posted to a web address: as JSON, or by a template of the receiver's own form."""

from __future__ import annotations

import json
import string
import time
import urllib.error
import urllib.request
from pathlib import Path

from oomscope.errors import BadQuestion, Unreadable, cause_of
from oomscope.model.notice import Incident
from oomscope.report import incident_json
from oomscope.watch.outlets.journal import fields_of

_TRIES, _TIMEOUT_S, _PAUSE_S = 3, 10.0, 2.0


class Webhook:
    """A URL that takes POST; see Outlet.

    A template is a file of JSON with `$message`, `$class`, `$holder`, `$cgroup`, `$pod`, ... in it: the names of the
    journal's fields without OOMSCOPE_, in small letters. What stands for them is escaped as within a text of JSON.
    """

    def __init__(self, url: str, template: Path | None = None) -> None:
        """Raises BadQuestion, Unreadable."""
        if not url.startswith(("http://", "https://")):
            raise BadQuestion(f"--webhook {url}: no http:// or https:// address")
        self.name, self._url, self._template = f"the webhook {url}", url, None
        if template is None:
            return
        try:
            self._template = string.Template(template.read_text())
        except (OSError, UnicodeDecodeError) as error:
            why = cause_of(error) if isinstance(error, OSError) else "no UTF-8 text"
            raise Unreadable(f"{template}: {why}") from error
        if not self._template.is_valid():
            raise BadQuestion(f"{template}: a `$` that begins no name; write `$$` for the sign itself")

    def tell(self, incident: Incident) -> None:
        """See Outlet. Raises OSError where it was not taken."""
        request = urllib.request.Request(
            self._url,
            self.body(incident),
            {"Content-Type": "application/json", "User-Agent": "oomscope"},
            method="POST",
        )
        for left in reversed(range(_TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500 or not left:  # what is wrong with the request stays wrong
                    raise
            except OSError:
                if not left:
                    raise
            time.sleep(_PAUSE_S)

    def body(self, incident: Incident) -> bytes:
        """What is posted."""
        if self._template is None:
            return incident_json.line(incident).encode("utf-8", "backslashreplace")
        values = {
            name.removeprefix("OOMSCOPE_").lower(): json.dumps(value, ensure_ascii=False)[1:-1]
            for name, value in fields_of(incident)
        }
        return self._template.safe_substitute(_Known(values)).encode("utf-8", "backslashreplace")

    def close(self) -> None:
        """See Outlet."""


class _Known(dict[str, str]):
    """What is not known of an incident stands as nothing."""

    def __missing__(self, _: str) -> str:
        return ""
