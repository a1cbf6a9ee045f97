"""Whose a memory cgroup is: systemd's unit, Kubernetes' pod and container, by the path and the kubelet's logs."""

from __future__ import annotations

import re
from pathlib import Path

from oomscope.model.notice import CgroupPlace

POD_LOGS, CONTAINER_LOGS = "/var/log/pods", "/var/log/containers"
# kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice, or kubepods/burstable/pod<uid>.
_POD = re.compile(
    r"(?:^|[/-])pod(?P<uid>[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})"
)
_CONTAINER = re.compile(r"/(?:[a-z-]+-)?(?P<id>[0-9a-f]{64})(?:\.scope)?(?:/|$)")
_UNIT = re.compile(r"/(?P<unit>[^/]+\.(?:service|scope|socket|mount|swap))(?=/|$)")
_SLICE = re.compile(r"/(?P<unit>[^/]+\.slice)(?=/|$)")
_LONGEST_NAME = 253  # of a Kubernetes object


def place_of(path: str, root: Path | None = Path("/")) -> CgroupPlace:
    """What the path of a memory cgroup tells, and the folders of `root` that the kubelet keeps for its pods.

    Without a root, as of another machine, names are not known.
    """
    units = _UNIT.findall(path) or _SLICE.findall(path)
    container = _CONTAINER.search(path)
    container_id = None if container is None else container["id"]
    pod = _POD.search(path)
    uid = None if pod is None else pod["uid"].replace("_", "-")
    namespace, name = _pod(uid, root)
    return CgroupPlace(
        path=path,
        unit=units[-1] if units else None,
        pod_uid=uid,
        container_id=container_id,
        namespace=namespace,
        pod=name,
        container=_container(container_id, root),
    )


def _pod(uid: str | None, root: Path | None) -> tuple[str | None, str | None]:
    """NAMESPACE_POD_UID is the name of a pod's folder; a static pod's uid is a hash, without hyphens."""
    if uid is None or root is None:
        return None, None
    for folder in _names(root / POD_LOGS.lstrip("/")):
        namespace, _, rest = folder.partition("_")
        name, _, its_uid = rest.rpartition("_")
        if its_uid == uid and name:
            return namespace[:_LONGEST_NAME], name[:_LONGEST_NAME]
    return None, None


def _container(container_id: str | None, root: Path | None) -> str | None:
    """POD_NAMESPACE_CONTAINER-ID.log is the name of a container's link."""
    if container_id is None or root is None:
        return None
    ending = f"-{container_id}.log"
    for name in _names(root / CONTAINER_LOGS.lstrip("/")):
        if name.endswith(ending):
            return name.removesuffix(ending).rpartition("_")[2][:_LONGEST_NAME] or None
    return None


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except OSError:
        return []
