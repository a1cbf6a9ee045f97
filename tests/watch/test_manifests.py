from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from oomscope.cli.watch import watch

EXAMPLES = Path(__file__).parents[2] / "examples"
MANIFEST = EXAMPLES / "kubernetes/oomscope-watch.yaml"
OBJECTS = list(yaml.safe_load_all(MANIFEST.read_text()))


@pytest.mark.parametrize("version", ["1.28", "1.31"])
@pytest.mark.parametrize("each", OBJECTS, ids=lambda each: each["kind"])
def test_the_daemonset_is_what_kubernetes_takes(each: dict[str, object], version: str) -> None:
    """By its own schemas, without an unknown property."""
    kubernetes_validate.validate(each, version, strict=True)


def test_the_account_may_create_events_and_nothing_else() -> None:
    """One verb on one resource."""
    (role,) = (each for each in OBJECTS if each["kind"] == "ClusterRole")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}]


def test_the_options_of_the_daemonset_are_the_commands() -> None:
    """A misspelt one would keep every node's pod from starting."""
    (daemons,) = (each for each in OBJECTS if each["kind"] == "DaemonSet")
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    command, *options = container["args"]
    assert command == watch.name
    known = {option for each in watch.params for option in each.opts}
    assert {option.partition("=")[0] for option in options} <= known


def test_alert_rules_ask_for_metrics_that_there_are() -> None:
    """Prometheus itself loads them in the lab; here each metric is one that the watch has."""
    from oomscope.watch.outlets import metrics

    source = Path(metrics.__file__).read_text()
    rules = [
        rule
        for group in yaml.safe_load((EXAMPLES / "watch/alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert len(rules) == 4
    for rule in rules:
        for word in rule["expr"].replace("(", " ").replace("{", " ").replace(")", " ").replace("[", " ").split():
            if word.startswith("oomscope_"):
                assert f'"{word.removesuffix("_total")}"' in source, word
