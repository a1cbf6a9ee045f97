"""`oomscope watch` in guests: what journald, Prometheus, node_exporter and a webhook heard of real kills."""

from __future__ import annotations

import json
from typing import Any

import pytest

import oomscope
from tests.support.lab_cases import CASES, Case, each

WATCHED = [case for case in CASES if case.scenario == "watch"]
LEAKING = [case for case in CASES if case.scenario == "watch-leaks"]
STORM = "/system.slice/storm.service"


def incidents(case: Case, name: str = "watch.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in case.text(name).splitlines()]


def ooms(case: Case) -> list[dict[str, Any]]:
    return [told for told in incidents(case) if told["kind"] == "oom"]


@pytest.mark.parametrize("case", each(WATCHED))
def test_every_kill_is_told_once_with_its_place(case: Case) -> None:
    """A pod's with its names, a unit's that happened while nobody watched, earlyoom's, and a storm's by its count."""
    told = ooms(case)
    groups = [each["group"] for each in told]
    assert len(groups) == len(set(groups)) == 4
    pod, earlyoom, unit, storm = told
    place = pod["place"]
    assert (place["namespace"], place["pod"], place["container"]) == ("shop", "cart-6f7d", "java")
    assert (pod["oom_class"], pod["certainty"], pod["holder"]) == ("memcg-limit", "certain", "python3")
    assert pod["surroundings"]["pressure"]["memory"].startswith("some avg10=")
    assert pod["surroundings"]["slab_bytes"]
    assert (earlyoom["killer"], earlyoom["victims"]) == ("earlyoom", [{"pid": 3213, "comm": "firefox"}])
    assert unit["group"] == "/system.slice/db.service"
    assert unit["place"]["unit"] == "db.service"
    assert storm["group"] == STORM
    assert sum(each["count"] for each in incidents(case) if each.get("group") == STORM) == 12
    assert case.text("exit") == "0"


@pytest.mark.parametrize("case", each(WATCHED))
def test_what_the_ring_lost_is_told(case: Case) -> None:
    """Stopped while thirty thousand lines came: how many of them were overwritten."""
    (lost,) = (each for each in incidents(case) if each["kind"] == "lost")
    assert lost["source"] == "records of /dev/kmsg"
    assert 10_000 < lost["count"] < 30_000


@pytest.mark.parametrize("case", each(WATCHED))
def test_the_watch_is_small(case: Case) -> None:
    """Under 60 MiB, whatever it judged; the kernel would take others first."""
    *status, adjusted = case.text("status").splitlines()
    resident = next(line for line in status if line.startswith("VmHWM"))
    assert int(resident.split()[1]) < 60 << 10
    assert int(adjusted) == -900


@pytest.mark.parametrize("case", each(WATCHED))
def test_journald_has_the_fields(case: Case) -> None:
    """Read back by journalctl: one entry for each incident."""
    entries = [json.loads(line) for line in case.text("journal.jsonl").splitlines()]
    assert [entry["OOMSCOPE_KIND"] for entry in entries] == [told["kind"] for told in incidents(case)]
    pod = next(entry for entry in entries if "OOMSCOPE_POD" in entry)
    assert (pod["OOMSCOPE_POD"], pod["OOMSCOPE_CLASS"]) == ("cart-6f7d", "memcg-limit")
    assert pod["MESSAGE"] == ooms(case)[0]["text"]


@pytest.mark.parametrize("case", each(WATCHED))
def test_prometheus_counts_and_alerts(case: Case) -> None:
    """Debian's Prometheus scraped the port and loaded our rules; node_exporter read the textfile."""
    rows = json.loads(case.text("prometheus.json"))["data"]["result"]
    counted = {row["metric"]["cgroup"]: int(float(row["value"][1])) for row in rows}
    assert counted["/system.slice/db.service"] == 1
    assert counted[STORM] >= 1
    alerts = json.loads(case.text("alerts.json"))["data"]["alerts"]
    assert {alert["labels"]["alertname"] for alert in alerts} == {"OutOfMemory", "WatchLoses"}
    assert STORM in {alert["labels"].get("cgroup") for alert in alerts}
    exported = case.text("node_exporter.metrics")
    assert 'oomscope_ooms_total{cgroup="/system.slice/db.service",class="memcg-limit",holder="python3"} 1' in exported
    assert "node_textfile_scrape_error 0" in exported


@pytest.mark.parametrize("case", each(WATCHED))
def test_the_webhook_and_the_spool_have_them_all(case: Case) -> None:
    """Each incident was posted; each kill is a case that gives the same answer."""
    assert [each["text"] for each in incidents(case, "webhook.jsonl")] == [each["text"] for each in incidents(case)]
    spooled = sorted((case.folder / "spool").glob("*.tar.zst"))
    told = {each["headline"] for each in ooms(case)}
    assert {oomscope.explain(path).answer.headline for path in spooled} == told


@pytest.mark.parametrize("case", each(LEAKING))
def test_a_leak_among_churn_is_found_and_nothing_else(case: Case) -> None:
    """Fifty pages a second by the module, at that pace, told once; two thousand that come and go are not."""
    (growth,) = incidents(case)
    figures = growth["figures"]
    assert (growth["kind"], figures["holder"]) == ("growth", "take_page [oomlab]")
    assert 0.7 < figures["bytes_per_day"] / (50 * 4096 * 86400) < 1.05  # a second is longer in an emulated machine
    assert figures["readings"] == 10
    assert case.text("history.txt").startswith("take_page [oomlab] +")
    (grown,) = json.loads(case.text("history.json"))["grew"]
    assert grown["holder"] == "take_page [oomlab]"
