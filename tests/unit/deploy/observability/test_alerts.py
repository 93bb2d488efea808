"""The alerts' file: each has a text for who is woken, and names what the servers' programs name."""

import re

import pytest
import yaml

from edgewise.core.errors import Code
from edgewise.core.routing.link_state import LinkState
from edgewise.gateway.metrics import OUTCOMES
from support import promql

ALERTS = promql.alerts()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_tells_what_it_means_and_what_to_do(alert):
    assert alert["alert"].startswith("Edgewise")
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert "for" in alert
    for text in alert["annotations"].values():
        assert text.strip() == text
        assert "\n" not in text.strip(), "one paragraph, which every receiver can show"
    assert "{{ $labels." in alert["annotations"]["summary"]


def test_an_alert_that_another_one_sends_the_reader_to_exists():
    names = {alert["alert"] for alert in ALERTS}
    named = set(re.findall(r"Edgewise[A-Z]\w+", promql.ALERTS.read_text()))
    assert named <= names


def test_the_ratios_differ_in_their_windows_alone():
    ratios = {rule["record"].rpartition("ratio_rate")[2]: rule["expr"] for rule in promql.rules() if "record" in rule}
    assert set(ratios) == {"5m", "30m", "1h", "2h", "6h", "1d", "3d"}
    assert len({expression.replace(f"[{window}]", "[w]") for window, expression in ratios.items()}) == 1
    assert all(expression.count(f"[{window}]") == 4 for window, expression in ratios.items())


def test_values_of_labels_are_those_that_the_programs_know():
    known = {
        "code": {code.value for code in Code},
        "outcome": set(OUTCOMES),
        "state": {state.value for state in LinkState} | {"AVAILABLE", "ready"},
        "why": {"failover", "overload", "rescue", "retry"},
    }
    for rule in promql.rules():
        for _, label, _, value in promql.matchers(rule["expr"]):
            if label in known:
                assert set(value.split("|")) <= known[label], (label, value)


def test_files_fit_together():
    observability = promql.DEPLOY / "observability"
    config = yaml.safe_load((observability / "prometheus.yml").read_text())
    (rules,) = config["rule_files"]
    assert (observability / rules).resolve() == promql.ALERTS
    provider = yaml.safe_load((observability / "grafana" / "provisioning" / "dashboards" / "edgewise.yaml").read_text())
    (one,) = provider["providers"]
    inside = one["options"]["path"].removeprefix("/etc/edgewise/deploy/")
    assert promql.DEPLOY / inside == promql.FILES
    services = yaml.safe_load((observability / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert "..:/etc/edgewise/deploy:ro" in service["volumes"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert promql.DEPLOY / home.removeprefix("/etc/edgewise/deploy/") == promql.DASHBOARD
    source = yaml.safe_load(
        (observability / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    assert source["datasources"][0]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
