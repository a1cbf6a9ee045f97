"""Incidents posted to a web address: as JSON, or by a template of the receiver's own form."""

from __future__ import annotations

import http.client
import json
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from oomscope.errors import BadQuestion, Unreadable, cause_of
from oomscope.model.notice import Incident
from oomscope.report import incident_json
from oomscope.watch.outlets.journal import FIELDS, fields_of

_TRIES, _TIMEOUT_S, _PAUSE_S = 3, 10.0, 2.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A POST that is sent elsewhere becomes a GET, and nobody has read it."""


_OPENER = urllib.request.build_opener(_NoRedirect)
_TOO_MANY = 429


def _host(url: str) -> str:
    """Raises BadQuestion where an address has none."""
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise BadQuestion(f"--webhook: {error}") from error
    if not parts.hostname or parts.username is not None:
        raise BadQuestion("--webhook: an address of the form http(s)://HOST/PATH, without a name and a password")
    return parts.hostname


NAMES = frozenset(name.removeprefix("OOMSCOPE_").lower() for name in FIELDS)


class Webhook:
    """A URL that takes POST; see Outlet.

    A template is a file of JSON with `$message`, `$class`, `$holder`, `$cgroup`, `$pod`, ... in it: the names of the
    journal's fields without OOMSCOPE_, in small letters. What stands for them is escaped as within a text of JSON.
    """

    def __init__(self, url: str, template: Path | None = None) -> None:
        """Raises BadQuestion, Unreadable."""
        if not url.startswith(("http://", "https://")):
            raise BadQuestion("--webhook: no http:// or https:// address")
        self._url, self._template = url, None
        host = _host(url)  # what follows it may be a secret
        self.name = f"the webhook at {host}"
        if template is None:
            return
        try:
            self._template = string.Template(template.read_text())
        except (OSError, UnicodeDecodeError) as error:
            why = cause_of(error) if isinstance(error, OSError) else "no UTF-8 text"
            raise Unreadable(f"{template}: {why}") from error
        if not self._template.is_valid():
            raise BadQuestion(f"{template}: a `$` that begins no name; write `$$` for the sign itself")
        if unknown := sorted(set(self._template.get_identifiers()) - NAMES):
            known = ", ".join(sorted(NAMES))
            raise BadQuestion(f"{template}: no field is called {', '.join(unknown)}", advice=f"there are {known}")
        try:
            json.loads(self._template.safe_substitute(_Known()))
        except ValueError as error:
            raise BadQuestion(f"{template}: no JSON once its names are filled in: {error}") from error

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
                with _OPENER.open(request, timeout=_TIMEOUT_S):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                if (
                    error.code < 500 and error.code != _TOO_MANY
                ) or not left:  # what is wrong with the request stays wrong
                    raise
            except (OSError, http.client.HTTPException):
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
