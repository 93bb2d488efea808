"""Debian's Prometheus scrapes a running system: cloud, link, edge and gateway. One story, told in order."""

import contextlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from edgewise.model_server.building import tiny
from support import promql
from support.prometheus import Prometheus
from support.waiting import WAIT_S, wait_for

REQUESTS = 150
QUESTION = {"instances": [[0.5] * 8]}
# Series of Prometheus itself.
ITS_OWN = {"ALERTS", "up"}


class System:
    """What runs, and how it is asked and harmed."""

    def __init__(self, directory, start_server, start_gateway):
        self.began_s = time.time()
        self.models = {}
        for site in ("cloud", "edge"):
            self.models[site] = directory / site
            tiny.build(self.models[site])
        serve = [
            start_server("--repository", str(self.models[site]), "--site", site, "--tier", site) for site in self.models
        ]
        self.servers = dict(zip(self.models, serve, strict=True))
        words = (
            "--listen",
            "127.0.0.1:0",
            "--to",
            f"127.0.0.1:{self.servers['cloud'].rest_port}",
            "--control",
            "127.0.0.1:0",
        )
        self.link = start_server(*words, command="link")
        said = dict(word.split("=", 1) for word in self.link.ready_line.split()[2:])
        self.control = said["control"].removeprefix("http://")
        config = directory / "gateway.toml"
        config.write_text(
            f"""
            site = [
                {{name = "cloud", tier = "cloud", rest = "http://{said["link"]}"}},
                {{name = "edge", tier = "edge", rest = "{self.servers["edge"].rest_url}"}},
                {{name = "pool", tier = "edge", rest = "http://localhost:{self.servers["edge"].rest_port}", discover = "dns"}},
            ]
            """
        )
        self.gateway = start_gateway("--config", str(config))

    def predict(self, model="tiny", **headers):
        """Status and site of an answer."""
        body = json.dumps(QUESTION).encode()
        url = f"{self.gateway.rest_url}/v1/models/{model}:predict"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=WAIT_S) as answer:
                return answer.status, answer.headers["x-edgewise-site"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["x-edgewise-site"]

    def set_link(self, **state):
        connection = http.client.HTTPConnection(self.control, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request("PUT", "/state", json.dumps(state))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()

    def exposed(self):
        """Label names by the names of all samples, of both programs."""
        found = {}
        for server in (self.gateway, *self.servers.values()):
            with urllib.request.urlopen(f"{server.rest_url}/metrics", timeout=WAIT_S) as answer:
                text = answer.read().decode()
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    found.setdefault(sample.name, set()).update(sample.labels)
        return found


@pytest.fixture(scope="module")
def system(tmp_path_factory, start_server, start_gateway):
    made = System(tmp_path_factory.mktemp("system"), start_server, start_gateway)
    wait_for(lambda: made.predict() == (200, "cloud"))
    return made


@pytest.fixture(scope="module")
def prometheus(system, tmp_path_factory):
    """Prometheus with the real config and the real rules, but for places and for patience."""
    directory = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((promql.DEPLOY / "observability" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = ["alerts.yaml"]
    ports = {
        "edgewise-gateway": [],
        "edgewise-model-server": [server.rest_port for server in system.servers.values()],
        "prometheus": [],
    }
    for scrape in config["scrape_configs"]:
        scrape["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in ports[scrape["job_name"]]]}]
    # The gateway is found in a file, as more of them would be.
    (directory / "targets").mkdir()
    targets = [{"targets": [f"127.0.0.1:{system.gateway.rest_port}"], "labels": {"region": "north"}}]
    (directory / "targets" / "gateways-north.yaml").write_text(yaml.safe_dump(targets))
    rules = yaml.safe_load(promql.ALERTS.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "2s"
    (directory / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    made = Prometheus(directory / "prometheus.yml", directory)
    yield made
    made.stop()


def firing(prometheus, name):
    """The alerts of a name that fire; what people read of them is filled in."""
    found = [alert for alert in prometheus.alerts().get(name, ()) if alert["state"] == "firing"]
    for alert in found:
        for word, text in alert["annotations"].items():
            assert not re.search(r"\{\{|<error|<no value|%!", text), (name, word, text)
    return found


def test_gateway_and_model_servers_are_scraped(system, prometheus):
    urls = {f"{server.rest_url}/metrics" for server in (system.gateway, *system.servers.values())}
    wait_for(lambda: prometheus.scrapes() == dict.fromkeys(urls, "up"))
    found = {(labels["site"], labels["tier"]) for labels, _ in prometheus.query("edgewise_server_info")}
    assert found == {("cloud", "cloud"), ("edge", "edge")}
    ((labels, _),) = prometheus.query("edgewise_gateway_info")
    assert labels["job"] == "edgewise-gateway"
    assert labels["region"] == "north"


def test_as_many_requests_are_seen_as_were_sent(system, prometheus):
    expressions = {
        "received": "edgewise_gateway_received_requests_total",
        "answered": 'edgewise_gateway_outcome_requests_total{outcome="answered"}',
        "by model and site": 'sum(edgewise_gateway_requests_total{model="tiny", outcome="answered"})',
        "timed": "sum(edgewise_gateway_request_seconds_count)",
        "timed to infinity": 'sum(edgewise_gateway_request_seconds_bucket{le="+Inf"})',
        "by the sites": 'sum(edgewise_server_outcomes_total{outcome="answered"})',
    }
    wait_for(lambda: prometheus.value("edgewise_gateway_received_requests_total"))
    before = settled(prometheus, expressions)
    assert [system.predict()[0] for _ in range(REQUESTS)] == [200] * REQUESTS
    wait_for(lambda: prometheus.value(expressions["received"]) == before["received"] + REQUESTS)
    after = settled(prometheus, expressions)
    sites = (before.pop("by the sites"), after.pop("by the sites"))
    # A hedge makes one more, and one that was cancelled is not answered.
    assert sites[1] - sites[0] >= REQUESTS
    assert {name: after[name] - before[name] for name in after} == dict.fromkeys(after, REQUESTS)
    seen = prometheus.value("increase(edgewise_gateway_received_requests_total[5m])")
    assert seen == pytest.approx(REQUESTS, rel=0.2)


def settled(prometheus, expressions):
    """Values that two scrapes in a row agree on."""
    found = {}

    def look():
        nonlocal found
        last, found = found, {name: prometheus.value(one) for name, one in expressions.items()}
        stamp = prometheus.value("min(timestamp(up))")
        return last == found and stamp > look_began_s and found

    look_began_s = time.time() + 1.0
    return wait_for(look)


def test_a_wrong_request_is_no_error_of_ours(system, prometheus):
    assert system.predict("nobody-has-this")[0] == 404
    assert system.predict(**{"x-edgewise-deadline-ms": "soon"})[0] == 400
    wait_for(lambda: prometheus.query('edgewise_gateway_errors_total{code="INVALID_ARGUMENT"} > 0'))
    wait_for(lambda: prometheus.value("job:edgewise_gateway_errors:ratio_rate5m") == 0)


def test_an_alert_fires_when_the_link_is_cut_and_ends_when_it_is_whole(system, prometheus):
    assert not firing(prometheus, "EdgewiseLinkDown")
    system.set_link(fault="blackhole")
    try:
        wait_for(
            lambda: system.predict()[1] in {"edge", "pool"} and firing(prometheus, "EdgewiseLinkDown"), timeout_s=60
        )
        (alert,) = firing(prometheus, "EdgewiseLinkDown")
        assert alert["labels"]["site"] == "cloud"
        assert alert["labels"]["instance"] == f"127.0.0.1:{system.gateway.rest_port}"
        assert not firing(prometheus, "EdgewiseNoSiteUsable")
        # Nobody else may answer these, so they spend the error budget.
        wait_for(lambda: system.predict(**{"x-edgewise-route": "cloud-only"})[0] == 503)
        wait_for(lambda: prometheus.query('edgewise_gateway_errors_total{code="UNAVAILABLE"} > 0'))

        def spent():
            system.predict(**{"x-edgewise-route": "cloud-only"})
            return firing(prometheus, "EdgewiseErrorBudgetBurnsFast")

        wait_for(spent, timeout_s=60)
        wait_for(lambda: system.predict()[0] == 200 and firing(prometheus, "EdgewiseFailovers"), timeout_s=60)
    finally:
        system.set_link(fault=None)
    wait_for(lambda: system.predict() == (200, "cloud") and not firing(prometheus, "EdgewiseLinkDown"), timeout_s=90)


def test_an_alert_fires_for_a_version_that_does_not_load(system, prometheus):
    broken = system.models["edge"] / "tiny" / "2"
    shutil.copytree(system.models["edge"] / "tiny" / "1", broken)
    (broken / "model.onnx").write_bytes(b"not a model")
    wait_for(lambda: firing(prometheus, "EdgewiseVersionFailed"), timeout_s=60)
    (alert,) = firing(prometheus, "EdgewiseVersionFailed")
    assert (alert["labels"]["model"], alert["labels"]["version"]) == ("tiny", "2")
    assert not prometheus.alerts().get("EdgewiseNoVersionServes")
    shutil.rmtree(broken)
    tiny.build(system.models["edge"], version=2)
    wait_for(lambda: not firing(prometheus, "EdgewiseVersionFailed"), timeout_s=60)
    # The version before was unloaded in good order, and is at END as well.
    ended = 'edgewise_server_model_state{model="tiny", version="1", state="END"}'
    wait_for(lambda: prometheus.query(f"{ended} and on (instance) edgewise_server_info{{site='edge'}}"))
    assert not prometheus.alerts().get("EdgewiseVersionFailed")


def test_no_rule_fails(prometheus):
    found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(found) == len(promql.rules())
    assert {rule["name"]: rule.get("lastError") for rule in found if rule["health"] != "ok"} == {}


@pytest.mark.parametrize("title", promql.queries())
def test_every_query_of_the_dashboard_returns_data(system, prometheus, title):
    expression = promql.filled_in(promql.queries()[title], "10s")
    found = wait_for(lambda: prometheus.range(expression, time.time() - system.began_s), timeout_s=10)
    values = [value for _, series in found for value in series]
    assert any(value == value for value in values), "nothing but NaN"  # noqa: PLR0124 - NaN is what differs from itself


def expressions():
    yield from promql.queries().items()
    for rule in promql.rules():
        yield rule.get("alert") or rule["record"], rule["expr"]


@pytest.mark.parametrize("expression", [pytest.param(text, id=title) for title, text in expressions()])
def test_every_name_and_label_is_one_that_the_servers_expose(system, expression):
    exposed = system.exposed() | {name: {"job"} for name in promql.recorded()}
    names = promql.metrics(expression) - ITS_OWN
    assert names <= set(exposed), names - set(exposed)
    of_targets = {"job", "instance"}
    for metric, label, operator, value in promql.matchers(expression):
        if metric in ITS_OWN:
            continue
        if label == "__name__":
            assert operator == "=~"
            assert any(re.fullmatch(value, name) for name in exposed)
            continue
        assert label in exposed[metric] | of_targets, (metric, label)
    known = of_targets.union(*(exposed[name] for name in names))
    assert promql.grouped_labels(expression) <= known
