"""Prometheus's own checks of its config and of the rules, and Grafana's types for the dashboard."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from support import environments, promql
from support.prometheus import Prometheus, promtool
from support.waiting import wait_for

HERE = Path(__file__).parent
OBSERVABILITY = promql.DEPLOY / "observability"
RULE_TESTS = (HERE / "alerts_test.yaml", HERE / "objective_test.yaml")
# Fields of Grafana that the types of its release 10.1 lack.
NEWER = r"/annotations/list/\d+/titleFormat|/templating/list/\d+/definition"


def test_the_rules_are_free_of_mistakes():
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(promql.ALERTS))
    assert code == 0, said
    assert f"SUCCESS: {len(promql.rules())} rules found" in said


def test_the_config_is_free_of_mistakes_and_finds_the_rules():
    code, said = promtool("check", "config", str(OBSERVABILITY / "prometheus.yml"))
    assert code == 0, said
    assert "SUCCESS: 1 rule files found" in said
    assert f"SUCCESS: {len(promql.rules())} rules found" in said


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_at_no_other_time(file):
    code, said = promtool("test", "rules", str(file))
    assert code == 0, said


def test_every_alert_has_a_case_where_it_fires():
    names = set()
    for file in RULE_TESTS:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for expected in case["promql_expr_test"]:
                if expected["exp_samples"]:
                    names.update(re.findall(r'alertname="(\w+)"', expected["expr"] + str(expected["exp_samples"])))
    assert names == {alert["alert"] for alert in promql.alerts()}


def test_grafana_knows_every_field_of_the_dashboard():
    python = environments.environment("grafana")
    done = subprocess.run(
        [python, HERE / "grafana_types.py", promql.DASHBOARD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [place for place in json.loads(done.stdout) if not re.fullmatch(NEWER, place)] == []


# Debian builds Prometheus without its discovery in Kubernetes. What it would find is therefore handed to it in a file, with the
# labels that it gives a pod's port, so that the part that is ours, the relabelling, is the real one.
def pod(name, component, *, port="rest", phase="Running"):
    prefix = "__meta_kubernetes_"
    labels = {
        f"{prefix}namespace": "edgewise",
        f"{prefix}pod_name": name,
        f"{prefix}pod_node_name": "node1",
        f"{prefix}pod_phase": phase,
        f"{prefix}pod_container_port_name": port,
        f"{prefix}pod_label_app_kubernetes_io_component": component,
        f"{prefix}pod_label_app_kubernetes_io_part_of": "edgewise",
    }
    return {"targets": [f"127.0.0.1:{1 + len(name) % 7}"], "labels": labels}


def test_pods_are_scraped_at_their_rest_port_under_their_names(tmp_path):
    config = yaml.safe_load((OBSERVABILITY / "prometheus-kubernetes.yml").read_text())
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape.pop("kubernetes_sd_configs")
    assert discovery["role"] == "pod"
    assert discovery["namespaces"] == {"names": ["edgewise"]}
    assert discovery["selectors"] == [{"role": "pod", "label": "app.kubernetes.io/part-of=edgewise"}]
    pods = [
        pod("model-server-1", "model-server"),
        pod("model-server-1", "model-server", port="grpc"),
        pod("model-server-22", "model-server", phase="Succeeded"),
        pod("gateway-1", "gateway"),
        pod("gateway-1", "gateway", port="grpc"),
    ]
    (tmp_path / "pods.json").write_text(json.dumps(pods))
    scrape["file_sd_configs"] = [{"files": ["pods.json"]}]
    (tmp_path / "alerts.yaml").write_text(promql.ALERTS.read_text())
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    prometheus = Prometheus(tmp_path / "prometheus.yml", tmp_path)
    try:
        wait_for(prometheus.scrapes)
        found = [target["labels"] for target in prometheus.ask("targets")["activeTargets"]]
        assert sorted(found, key=lambda labels: labels["job"]) == [
            {"job": f"edgewise-{component}", "instance": name, "pod": name, "namespace": "edgewise", "node": "node1"}
            for component, name in (("gateway", "gateway-1"), ("model-server", "model-server-1"))
        ]
        assert len(prometheus.ask("rules")["groups"]) == len(yaml.safe_load(promql.ALERTS.read_text())["groups"])
    finally:
        prometheus.stop()
