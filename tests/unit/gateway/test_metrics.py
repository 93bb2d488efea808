"""What the gateway counts: every request ends once, names are bounded, processes add up."""

import json
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgewise.core.errors import DeadlineExceededError, InvalidArgumentError, UnauthenticatedError, UnavailableError
from edgewise.core.routing.calls import Attempt, Failure, LinkChanged, Outcome, Reason, Request, SiteSpec
from edgewise.core.routing.link import Link
from edgewise.core.routing.routes import DEFAULT_ROUTE
from edgewise.core.routing.settings import RouterSettings
from edgewise.gateway.exposition import families, under_bytes
from edgewise.gateway.metrics import MAX_CHANGES, MAX_MODELS, OTHER_MODELS, GatewayMetrics
from edgewise.gateway.numbers import merged, own_numbers
from edgewise.gateway.site_view import site_snapshot
from edgewise.net.exposition import Exposition

NO_CANARIES = {"generation": 0, "canaries": []}


@pytest.fixture
def links():
    return {name: Link(SiteSpec(name, name), RouterSettings(), 0.0) for name in ("cloud", "edge")}


@pytest.fixture
def metrics(links):
    found = GatewayMetrics()
    for name in links:
        found.name_site(name)
    return found


def ask(metrics, model="pets"):
    metrics.received()
    return Request(model, DEFAULT_ROUTE, arrived_s=0.0)


def attempt(metrics, link, request, reason=Reason.FIRST):
    request.attempts += 1
    made = Attempt(request, link, link.path(request.model, 0), request.attempts, reason, 0.001)
    metrics.attempted(made)
    return made


def answer(metrics, link, model="pets", outcome=Outcome.OK, degraded=""):
    request = ask(metrics, model)
    request.degraded = degraded
    made = attempt(metrics, link, request)
    metrics.attempt_answered(made, outcome)
    metrics.answered(request, made, outcome, 0.021)


def samples(numbers):
    text = Exposition(lambda: families(numbers)).text().decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def numbers_of(metrics, links):
    snapshots = [site_snapshot(link.site, link.tier, [link.snapshot(1.0)]) for link in links.values()]
    return own_numbers(metrics, snapshots, NO_CANARIES)


def test_the_ledger_adds_up_at_every_moment(metrics, links):
    def residual():
        return metrics.received_count - sum(metrics.outcomes.values()) - metrics.in_flight

    answer(metrics, links["cloud"])
    answer(metrics, links["edge"], outcome=Outcome.NOT_SERVED)
    answer(metrics, links["edge"], outcome=Outcome.OVERLOADED)
    answer(metrics, links["edge"], outcome=Outcome.SITE_ERROR)
    answer(metrics, links["edge"], outcome=Outcome.EXPIRED)
    waiting = ask(metrics)
    assert metrics.in_flight == 1
    metrics.cancelled(waiting)
    metrics.rejected(ask(metrics), DeadlineExceededError("late"))
    metrics.rejected(ask(metrics), UnavailableError("no site"))
    tried = ask(metrics)
    attempt(metrics, links["cloud"], tried)
    metrics.rejected(tried, UnavailableError("lost"))
    metrics.refused(UnauthenticatedError("no key"))
    assert metrics.outcomes == {"answered": 2, "rejected": 3, "expired": 2, "failed": 2, "cancelled": 1}
    assert metrics.errors == {"DEADLINE_EXCEEDED": 1, "UNAVAILABLE": 2, "UNAUTHENTICATED": 1}
    assert metrics.received_count == 10
    assert metrics.in_flight == residual() == 0
    assert sum(metrics.requests.values()) == 10


def test_names_made_up_by_clients_share_a_label(metrics, links):
    metrics.name_models(["routed"])
    for number in range(2 * MAX_MODELS):
        answer(metrics, links["edge"], f"made-up-{number}", Outcome.NOT_SERVED)
        metrics.rejected(ask(metrics, f"made-up-{number}"), InvalidArgumentError("no"))
    answer(metrics, links["edge"], "routed", Outcome.NOT_SERVED)
    answer(metrics, links["edge"], "pets")
    metrics.rejected(ask(metrics, "pets"), UnavailableError("no site"))
    assert metrics.requests == {
        (OTHER_MODELS, "edge", "answered"): 2 * MAX_MODELS,
        (OTHER_MODELS, "", "rejected"): 2 * MAX_MODELS,
        ("routed", "edge", "answered"): 1,
        ("pets", "edge", "answered"): 1,
        ("pets", "", "rejected"): 1,
    }


def test_models_beyond_the_bound_share_a_label(metrics, links):
    for number in range(MAX_MODELS + 7):
        answer(metrics, links["edge"], f"m{number}")
    assert len({model for model, _, _ in metrics.requests}) == MAX_MODELS + 1
    assert metrics.requests[OTHER_MODELS, "edge", "answered"] == 7


def test_what_is_shown(metrics, links):
    answer(metrics, links["cloud"])
    answer(metrics, links["edge"], degraded="rescue")
    request = ask(metrics)
    first = attempt(metrics, links["cloud"], request)
    second = attempt(metrics, links["edge"], request, Reason.RESCUE)
    third = attempt(metrics, links["edge"], request, Reason.HEDGE)
    metrics.attempt_failed(first, Failure.LOST)
    metrics.attempt_cancelled(third)
    metrics.link_changed(LinkChanged(links["cloud"], "UP", "SUSPECT", "silence", 5.0))
    for _ in range(30):
        links["edge"].path("pets", 2).record(0.020, 1.0)
    shown = samples(numbers_of(metrics, links))
    assert shown["edgewise_gateway_received_requests_total{}"] == 3
    assert shown["edgewise_gateway_in_flight_requests{}"] == 1
    assert shown["edgewise_gateway_outcome_requests_total{outcome=answered}"] == 2
    assert shown["edgewise_gateway_requests_total{model=pets,outcome=answered,site=cloud}"] == 1
    assert shown["edgewise_gateway_degraded_requests_total{why=rescue}"] == 1
    assert shown["edgewise_gateway_attempts_total{reason=first,site=cloud}"] == 2
    assert shown["edgewise_gateway_rescues_total{site=edge}"] == 1
    assert shown["edgewise_gateway_hedges_total{site=edge}"] == 1
    assert shown["edgewise_gateway_duplicates_total{site=edge}"] == 2
    assert shown["edgewise_gateway_attempt_failures_total{kind=lost,site=cloud}"] == 1
    assert shown["edgewise_gateway_cancelled_attempts_total{site=edge}"] == 1
    assert shown["edgewise_gateway_site_answers_total{meaning=ok,site=edge}"] == 1
    assert shown["edgewise_gateway_link_changes_total{site=cloud,state=SUSPECT}"] == 1
    assert shown["edgewise_gateway_link_state{site=cloud,state=UP,tier=cloud}"] == 1
    assert shown["edgewise_gateway_link_state{site=cloud,state=DOWN,tier=cloud}"] == 0
    learned = shown["edgewise_gateway_learned_latency_seconds{model=pets,quantile=0.5,site=edge,under_bytes=16384}"]
    assert learned == pytest.approx(0.020, rel=0.02)
    assert shown["edgewise_gateway_overhead_seconds_count{}"] == 2
    assert second.request is request


def test_the_time_of_an_attempt_is_not_overhead(metrics, links, monkeypatch):
    monkeypatch.setattr("edgewise.gateway.metrics.monotonic", lambda: 0.0215)
    answer(metrics, links["edge"])
    # 21.5 ms in all, 20 of them at the site.
    assert metrics.overhead.total == pytest.approx(0.0015)
    assert metrics.durations["pets", "edge"].total == pytest.approx(0.0215)
    assert metrics.sites["edge"].slowest_s == pytest.approx(0.020)


def test_processes_add_up(links):
    parts = []
    for count in (1, 2, 3):
        metrics = GatewayMetrics()
        metrics.name_site("cloud")
        metrics.name_site("edge")
        metrics.readings["edgewise_gateway_http_connections"] = ("Open connections.", lambda count=count: count)
        for _ in range(count):
            answer(metrics, links["edge"], f"m{count}")
            answer(metrics, links["edge"], "shared")
        # As it arrives from another process.
        parts.append(json.loads(json.dumps(numbers_of(metrics, links))))
    together = merged(parts)
    assert together["workers"] == 3
    shown = samples(together)
    assert shown["edgewise_gateway_received_requests_total{}"] == 12
    assert shown["edgewise_gateway_requests_total{model=shared,outcome=answered,site=edge}"] == 6
    assert shown["edgewise_gateway_requests_total{model=m3,outcome=answered,site=edge}"] == 3
    assert shown["edgewise_gateway_request_seconds_count{model=shared,site=edge}"] == 6
    assert shown["edgewise_gateway_overhead_seconds_count{}"] == 12
    assert shown["edgewise_gateway_attempts_total{reason=first,site=edge}"] == 12
    assert shown["edgewise_gateway_link_state{site=edge,state=UP,tier=edge}"] == 3
    assert shown["edgewise_gateway_http_connections{}"] == 6


def test_one_process_alone_shows_the_same(metrics, links):
    answer(metrics, links["edge"])
    numbers = numbers_of(metrics, links)
    assert merged([numbers]) == numbers
    doubled = samples(merged([numbers, numbers]))
    for name, value in samples(numbers).items():
        if name.startswith("edgewise_gateway_") and not name.startswith(
            ("edgewise_gateway_learned", "edgewise_gateway_info")
        ):
            assert doubled[name] == 2 * value, name


def test_changes_are_a_ring_and_are_told_on(metrics, links):
    heard = []
    metrics.on_link_changed = heard.append
    for number in range(MAX_CHANGES + 5):
        metrics.link_changed(LinkChanged(links["edge"], "UP", "SUSPECT", "why", float(number)))
    assert [change[0] for change in metrics.changes] == [float(number) for number in range(5, MAX_CHANGES + 5)]
    assert len(heard) == MAX_CHANGES + 5


def test_a_site_that_left_is_still_counted(metrics):
    before = metrics.name_site("gone")
    assert metrics.name_site("gone") is before
    metrics.link_changed(LinkChanged(SimpleNamespace(name="new", site="new"), "UP", "DOWN", "why", 1.0))
    assert metrics.sites["new"].changes == {"DOWN": 1}


def test_sizes_are_told_by_their_bound():
    assert [under_bytes(size_class) for size_class in range(9)] == [
        *("1024", "4096", "16384", "65536", "262144", "1048576", "4194304", "16777216", "+Inf")
    ]
    for size_bytes in (0, 1023, 1024, 4095, 4096, 1 << 24):
        size_class = Request("m", DEFAULT_ROUTE, arrived_s=0.0, size_bytes=size_bytes).size_class
        assert size_bytes < float(under_bytes(size_class))


def test_workers_that_follow_the_same_endpoints_are_not_added_up(metrics):
    other = GatewayMetrics()
    metrics.endpoints = {"cloud": {"ready": 3, "leaving": 0}}
    other.endpoints = {"cloud": {"ready": 2, "leaving": 1}, "edge": {"ready": 1, "leaving": 0}}
    for one, failures in ((metrics, 2), (other, 1)):
        for _ in range(failures):
            one.discovery_failed("cloud")
    found = merged([own_numbers(one, (), NO_CANARIES) for one in (metrics, other)])
    assert found["endpoints"] == {"cloud": {"ready": 3, "leaving": 1}, "edge": {"ready": 1, "leaving": 0}}
    assert found["discovery_failures"] == {"cloud": 3}
