from __future__ import annotations

from pathlib import Path

import pytest

from oomscope.watch.cgroup_places import place_of

UID, HEX = "12345678-1234-1234-1234-123456789abc", "0123456789abcdef" * 4
_SLICE = f"kubepods-burstable-pod{UID.replace('-', '_')}.slice"
# As the kubelet names them with each driver, and containerd, CRI-O and docker their containers.
PATHS = [
    f"/kubepods.slice/kubepods-burstable.slice/{_SLICE}/cri-containerd-{HEX}.scope",
    f"/kubepods.slice/kubepods-burstable.slice/{_SLICE}/crio-{HEX}.scope",
    f"/kubepods/burstable/pod{UID}/{HEX}",
    f"/system.slice/kubelet.service/kubepods/pod{UID}/{HEX}",
]


@pytest.mark.parametrize("path", PATHS)
def test_pod_and_container_are_named_as_the_kubelet_names_them(path: str, tmp_path: Path) -> None:
    """By the folders that it keeps for their logs; by their ids where it keeps none."""
    place = place_of(path, tmp_path)
    assert (place.pod_uid, place.container_id, place.pod, place.container) == (UID, HEX, None, None)
    assert str(place) == f"pod {UID}, container {HEX[:12]}"
    (tmp_path / f"var/log/pods/shop_cart-6f7d_{UID}").mkdir(parents=True)
    (tmp_path / "var/log/pods/shop_other_12345678-0000-0000-0000-123456789abc").mkdir()
    (tmp_path / "var/log/containers").mkdir()
    (tmp_path / f"var/log/containers/cart-6f7d_shop_java-{HEX}.log").symlink_to("/var/log/none")
    place = place_of(path, tmp_path)
    assert (place.namespace, place.pod, place.container) == ("shop", "cart-6f7d", "java")
    assert str(place) == "pod shop/cart-6f7d, container java"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-firefox-7.scope", "app-firefox-7.scope"),
        ("/machine.slice", "machine.slice"),
        ("/docker/" + HEX, None),
        ("/", None),
    ],
)
def test_a_unit_of_systemd_is_the_innermost(path: str, unit: str | None, tmp_path: Path) -> None:
    """Without one it is the cgroup itself, or its container."""
    place = place_of(path, tmp_path)
    assert place.unit == unit
    assert place.pod is None
    expected = f"unit {unit}" if unit else f"container {HEX[:12]}" if HEX in path else f"cgroup {path}"
    assert str(place) == expected


def test_a_static_pods_uid_is_a_hash(tmp_path: Path) -> None:
    """32 hex digits without hyphens, as the kubelet has them for its manifests."""
    uid = "0123456789abcdef" * 2
    (tmp_path / f"var/log/pods/kube-system_etcd-node1_{uid}").mkdir(parents=True)
    assert place_of(f"/kubepods/burstable/pod{uid}/{HEX}", tmp_path).pod == "etcd-node1"
