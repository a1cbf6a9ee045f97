"""An Event on the pod (Kubernetes, v1 Event): what `kubectl describe pod` and `kubectl get events` show."""

from __future__ import annotations

import json
import os
import ssl
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oomscope.errors import NotOffered
from oomscope.model.notice import OOM, STORM, CgroupPlace, Incident

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_HOST, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_TIMEOUT_S = 10.0
_LONGEST = 1024  # of an Event's message, by the API server's own check


class KubernetesEvents:
    """The API server of the cluster that this runs in; see Outlet. The account may create Events, and no more."""

    name = "Kubernetes Events"

    def __init__(self, account: Path = ACCOUNT, url: str | None = None) -> None:
        """Raises NotOffered outside of a cluster."""
        host = os.environ.get(_HOST)
        if url is None and (host is None or not (account / "token").is_file()):
            raise NotOffered("no service account: this does not run in a cluster", advice="see examples/kubernetes")
        bracketed = f"[{host}]" if host is not None and ":" in host else host
        self._url = url or f"https://{bracketed}:{os.environ.get(_PORT, '443')}"
        self._account = account

    def tell(self, incident: Incident) -> None:
        """See Outlet: an OOM of a pod whose name is known. Raises OSError where it was not taken."""
        place = incident.place
        if incident.kind not in (OOM, STORM) or place is None or place.pod is None or place.namespace is None:
            return
        token = (self._account / "token").read_text().strip()  # it is changed now and then
        request = urllib.request.Request(
            f"{self._url}/api/v1/namespaces/{place.namespace}/events",
            json.dumps(event_of(incident, place)).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
            method="POST",
        )
        ca = self._account / "ca.crt"
        context = ssl.create_default_context(cafile=str(ca)) if self._url.startswith("https") else None
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context):
            return

    def close(self) -> None:
        """See Outlet."""


def event_of(incident: Incident, place: CgroupPlace) -> dict[str, Any]:
    """The Event as the API takes it."""
    at = datetime.fromtimestamp(incident.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    field = "" if place.container is None else f"spec.containers{{{place.container}}}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{place.pod}.oomscope-"[:200], "namespace": place.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": place.pod,
            "namespace": place.namespace,
            "uid": place.pod_uid,
            "fieldPath": field,
        },
        "reason": "OOMExplained",
        "message": incident.text[:_LONGEST],
        "type": "Warning",
        "count": incident.count,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": "oomscope", "host": os.uname().nodename},
    }
