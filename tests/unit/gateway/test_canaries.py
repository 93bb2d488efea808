"""How requests are divided, what is counted of them, and how processes add up."""

import json
import random
from itertools import pairwise
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgewise.core.routing.calls import Attempt, Reason, Request, SiteSpec
from edgewise.core.routing.link import Link
from edgewise.core.routing.routes import DEFAULT_ROUTE
from edgewise.core.routing.settings import RouterSettings
from edgewise.gateway import canary_trial
from edgewise.gateway.canaries import Canaries
from edgewise.gateway.canary_exposition import canary_families
from edgewise.gateway.canary_trial import enter
from edgewise.gateway.canary_view import merged_canaries, own_canaries, shown_canaries
from edgewise.net.exposition import Exposition
from edgewise.protocols.canaries import NO_CANARIES, CanarySetting, CanarySettings

SENT_S = 100.0


def setting(**changes):
    values = {
        "site": "edge",
        "model": "pets",
        "old": 1,
        "new": 2,
        "share": 0.1,
        "shadow": 0.0,
        "slow_ms": None,
        "key": "k",
    }
    return CanarySetting(**{**values, **changes})


def settings(*found, generation=1):
    return CanarySettings(generation, found)


class Process:
    """One gateway's canaries, and requests that are sent and answered as a test says."""

    def __init__(self, monkeypatch, seed=5):
        self.carrier = SimpleNamespace(canaries=None)
        self.canaries = Canaries(self.carrier, random.Random(seed).random)
        self.now_s = SENT_S
        self.links = {
            name: Link(SiteSpec(name, name.partition("/")[0], site=name.partition("/")[0]), RouterSettings(), 0.0)
            for name in ("edge", "edge/a", "edge/b", "cloud")
        }
        monkeypatch.setattr(canary_trial, "monotonic", lambda: self.now_s)

    def request(self, model="pets"):
        return Request(model, DEFAULT_ROUTE, arrived_s=0.0)

    def attempt(self, request, link="edge", reason=Reason.FIRST):
        found = self.links[link]
        return Attempt(request, found, found.path(request.model, 0), 1, reason, SENT_S)

    def send(self, trial, attempt):
        return enter(trial, attempt, self.carrier.canaries) if self.carrier.canaries is not None else trial

    def ask(self, *, took_s=0.01, failed=None, version=None, link="edge", reason=Reason.FIRST):
        """One request: the version that was asked; 0 for no canary."""
        attempt = self.attempt(self.request(), link, reason)
        trial = self.send(None, attempt)
        if trial is None:
            return 0
        asked = int(trial.line(attempt).removeprefix(b"x-edgewise-prefer-version: "))
        self.now_s = SENT_S + took_s
        wrong = failed is not None and asked == failed
        trial.answered(attempt, version=asked if version is None else version, failed=wrong, usable=not wrong)
        return asked

    def shown(self):
        (found,) = shown_canaries([own_canaries(self.canaries)], 0)["canaries"]
        return found


@pytest.fixture
def process(monkeypatch):
    return Process(monkeypatch)


def test_each_request_is_drawn_by_itself(process):
    process.canaries.take_over(settings(setting(share=0.1)))
    count = 20_000
    asked = [process.ask() for _ in range(count)]
    new = asked.count(2)
    # Five standard deviations of a binomial distribution.
    assert abs(new - 0.1 * count) < 5 * (count * 0.1 * 0.9) ** 0.5
    assert asked.count(1) == count - new
    shown = process.shown()
    assert (shown["new_count"], shown["old_count"]) == (new, count - new)
    # One after another, not in turn: a run of requests is as likely to meet the new version as any other.
    after_new = [second for first, second in pairwise(asked) if first == 2]
    assert abs(after_new.count(2) - 0.1 * len(after_new)) < 5 * (len(after_new) * 0.09) ** 0.5


@pytest.mark.parametrize(("share", "version"), [(0.0, 1), (1.0, 2)])
def test_none_and_all(process, share, version):
    process.canaries.take_over(settings(setting(share=share)))
    assert {process.ask() for _ in range(1000)} == {version}


def test_only_what_is_meant_is_divided(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    for model, link in (("pets", "cloud"), ("zoo", "edge"), ("", "edge")):
        attempt = process.attempt(process.request(model), link)
        assert process.send(None, attempt) is None
    process.canaries.take_over(NO_CANARIES)
    assert process.carrier.canaries is None


def test_attempts_at_one_site_go_to_one_version_and_are_counted_once(process):
    process.canaries.take_over(settings(setting(share=0.5)))
    for _ in range(200):
        request = process.request()
        first, second, third = (process.attempt(request, link) for link in ("edge/a", "edge/b", "cloud"))
        trial = process.send(None, first)
        trial = process.send(trial, third)
        again = process.send(trial, second)
        assert again is trial
        assert trial.line(first) == trial.line(second)
        assert trial.line(third) is None
        asked = int(trial.line(first)[-3:])
        for attempt in (third, second, first):
            trial.answered(attempt, version=asked, failed=False, usable=True)
    shown = process.shown()
    assert shown["old_count"] + shown["new_count"] == 200
    assert min(shown["old_count"], shown["new_count"]) > 50


def test_each_site_draws_for_itself(process):
    process.canaries.take_over(settings(setting(share=1.0), setting(site="cloud", share=0.0, old=7, new=8, key="c")))
    request = process.request()
    edge, cloud = process.attempt(request), process.attempt(request, "cloud", Reason.HEDGE)
    trial = process.send(process.send(None, edge), cloud)
    assert trial.line(edge) == b"x-edgewise-prefer-version: 2\r\n"
    assert trial.line(cloud) == b"x-edgewise-prefer-version: 7\r\n"


def test_what_is_counted(process):
    process.canaries.take_over(settings(setting(share=0.5, slow_ms=12.5)))
    for _ in range(100):
        process.ask(took_s=0.020, failed=2)
    shown = process.shown()
    new, old = shown["new_count"], shown["old_count"]
    assert new + old == 100
    # An error has no time; the old version was slow each time.
    assert (shown["new_errors"], shown["new_timed"], shown["new_slow"]) == (new, 0, 0)
    assert (shown["old_errors"], shown["old_timed"], shown["old_slow"]) == (0, old, old)
    assert shown["old_ms"]["count"] == old
    assert shown["new_ms"] == {"count": 0, "quantiles": dict.fromkeys(("0.5", "0.9", "0.95", "0.99"))}
    for value in shown["old_ms"]["quantiles"].values():
        assert value == pytest.approx(20.0, rel=0.03)


def test_slow_is_longer_than_the_bound_and_not_asked_without_one(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    process.ask(took_s=5.0)
    process.canaries.take_over(settings(setting(share=1.0, slow_ms=10.0), generation=2))
    process.ask(took_s=0.0099)
    process.ask(took_s=0.0101)
    shown = process.shown()
    assert (shown["new_count"], shown["new_timed"], shown["new_slow"]) == (3, 2, 1)
    assert shown["slow_ms"] == 10.0


def test_another_version_than_the_one_drawn_is_not_counted(process):
    process.canaries.take_over(settings(setting(share=1.0, slow_ms=1.0)))
    process.ask(version=1, took_s=1.0)
    shown = process.shown()
    assert (shown["new_count"], shown["old_count"], shown["new_timed"], shown["new_ms"]["count"]) == (0, 0, 0, 0)
    # A site that does not say which version answers is believed.
    process.ask(version=0)
    assert process.shown()["new_count"] == 1


def test_what_is_saved_here_from_another_site_is_not_counted(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    assert process.ask(reason=Reason.RESCUE) == 2
    assert process.shown()["new_count"] == 0
    for reason in (Reason.HEDGE, Reason.RETRY, Reason.RAMP, Reason.CASCADE):
        process.ask(reason=reason)
    assert process.shown()["new_count"] == 4


@pytest.mark.parametrize(("waited_s", "lost", "counted"), [(0.005, False, 0), (0.5, False, 1), (0.5, True, 0)])
def test_what_is_given_up_was_slow_once_it_waited_for_longer(process, waited_s, lost, counted):
    process.canaries.take_over(settings(setting(share=1.0, slow_ms=10.0)))
    attempt = process.attempt(process.request())
    trial = process.send(None, attempt)
    if lost:
        trial.lost(attempt)
    process.now_s = SENT_S + waited_s
    trial.given_up()
    shown = process.shown()
    assert (shown["new_timed"], shown["new_slow"]) == (counted, counted)
    assert (shown["new_count"], shown["new_errors"]) == (0, 0)
    if counted:
        # Once, also when it is answered after all.
        trial.answered(attempt, version=2, failed=False, usable=True)
        assert (process.shown()["new_timed"], process.shown()["new_count"]) == (1, 0)


def test_lost_attempts_are_nobodys_fault_and_the_next_one_counts(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    request = process.request()
    first, second = process.attempt(request, "edge/a"), process.attempt(request, "edge/b", Reason.RESCUE)
    trial = process.send(None, first)
    trial.lost(first)
    process.send(trial, second)
    trial.answered(second, version=2, failed=False, usable=True)
    assert process.shown()["new_count"] == 1


def test_counts_go_on_while_the_key_stays(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    process.ask()
    process.canaries.take_over(settings(setting(share=0.0, shadow=0.5), generation=2))
    assert process.ask() == 1
    shown = process.shown()
    assert (shown["new_count"], shown["old_count"], shown["share"], shown["shadow"]) == (1, 1, 0.0, 0.5)
    for other in (setting(key="another"), setting(new=3), setting(old=3, key="k3"), setting(site="cloud", key="c")):
        process.canaries.take_over(settings(other, generation=3))
        shown = process.shown()
        assert shown["new_count"] == shown["old_count"] == shown["old_ms"]["count"] == 0
    process.canaries.take_over(NO_CANARIES)
    assert shown_canaries([own_canaries(process.canaries)], 0) == {
        "workers": 1, "silent": 0, "generation": 0, "canaries": [],
    }  # fmt: skip


def test_a_request_that_outlives_its_canary_harms_nobody(process):
    process.canaries.take_over(settings(setting(share=1.0)))
    attempt = process.attempt(process.request())
    trial = process.send(None, attempt)
    process.canaries.take_over(NO_CANARIES)
    assert process.send(trial, attempt) is trial
    trial.answered(attempt, version=2, failed=True, usable=False)
    trial.given_up()
    assert list(process.canaries) == []


def test_shadows_are_drawn_of_what_the_old_version_answered(process):
    process.canaries.take_over(settings(setting(share=0.5, shadow=0.25)))
    drawn = {1: 0, 2: 0}
    sent = {1: 0, 2: 0}
    for _ in range(4000):
        attempt = process.attempt(process.request())
        trial = process.send(None, attempt)
        version = int(trial.line(attempt)[-3:])
        sent[version] += 1
        drawn[version] += trial.to_shadow(attempt, version, process.canaries) is not None
    assert drawn[2] == 0
    assert abs(drawn[1] - 0.25 * sent[1]) < 5 * (sent[1] * 0.25 * 0.75) ** 0.5
    # Another version answered: there is nothing to compare with. Nor when the canary has ended meanwhile.
    process.canaries.take_over(settings(setting(share=0.0, shadow=1.0), generation=2))
    attempt = process.attempt(process.request())
    trial = process.send(None, attempt)
    assert trial.to_shadow(attempt, 2, process.canaries) is None
    assert trial.to_shadow(attempt, 1, process.canaries) is not None
    process.canaries.take_over(NO_CANARIES)
    assert trial.to_shadow(attempt, 1, process.canaries) is None


def test_processes_add_up(monkeypatch):
    one, other = Process(monkeypatch, 1), Process(monkeypatch, 2)
    one.canaries.take_over(settings(setting(share=1.0, slow_ms=5.0), generation=8))
    other.canaries.take_over(settings(setting(share=0.0, slow_ms=5.0), setting(model="zoo", key="z"), generation=7))
    for _ in range(30):
        one.ask(took_s=0.004)
    for _ in range(70):
        other.ask(took_s=0.040)
    views = [json.loads(json.dumps(own_canaries(process.canaries))) for process in (other, one)]
    shown = shown_canaries(views, 1)
    assert (shown["workers"], shown["silent"], shown["generation"]) == (2, 1, 7)
    pets, zoo = shown["canaries"]
    # What the process that is ahead says of the share.
    assert (pets["share"], pets["new_count"], pets["old_count"]) == (1.0, 30, 70)
    assert (pets["new_slow"], pets["old_slow"], pets["old_timed"]) == (0, 70, 70)
    assert pets["old_ms"]["count"] == 70
    assert pets["old_ms"]["quantiles"]["0.99"] == pytest.approx(40.0, rel=0.03)
    assert zoo["model"] == "zoo"
    assert set(pets) == {
        *("site", "model", "old", "new", "share", "shadow", "slow_ms", "key"),
        *("new_count", "new_errors", "old_count", "old_errors", "new_timed", "new_slow", "old_timed", "old_slow"),
        *("shadowed", "disagreed", "shadow_errors", "old_ms", "new_ms"),
    }


def test_quantiles_are_near(process):
    process.canaries.take_over(settings(setting(share=0.0)))
    times_s = [0.0001 * 1.2**step for step in range(60)]
    for took_s in times_s:
        process.ask(took_s=took_s)
    found = process.shown()["old_ms"]["quantiles"]
    for quantile, rank in (("0.5", 29), ("0.9", 53), ("0.95", 56), ("0.99", 59)):
        assert found[quantile] == pytest.approx(times_s[rank] * 1e3, rel=0.03)


def test_as_prometheus_has_it(process):
    process.canaries.take_over(settings(setting(share=0.25, slow_ms=5.0)))
    for _ in range(40):
        process.ask(took_s=0.01, failed=2)
    (canary,) = process.canaries
    canary.shadowed, canary.disagreed, canary.shadow_errors = 5, 2, 1
    shown = process.shown()
    merged = merged_canaries([own_canaries(process.canaries)])
    text = Exposition(lambda: canary_families(merged)).text().decode()
    found = {
        (sample.name, *(sample.labels.get(name, "") for name in ("arm", "version", "quantile"))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    name = "edgewise_gateway_canary"
    assert found[f"{name}_share", "", "", ""] == 0.25
    for arm, version in (("old", "1"), ("new", "2")):
        assert found[f"{name}_answers_total", arm, version, ""] == shown[f"{arm}_count"]
        assert found[f"{name}_errors_total", arm, version, ""] == shown[f"{arm}_errors"]
        assert found[f"{name}_slow_answers_total", arm, version, ""] == shown[f"{arm}_slow"]
    assert found[f"{name}_latency_seconds", "old", "1", "0.5"] == pytest.approx(0.01, rel=0.03)
    assert (f"{name}_latency_seconds", "new", "2", "0.5") not in found
    assert found[f"{name}_shadowed_requests_total", "", "2", ""] == 5
    assert found[f"{name}_disagreed_requests_total", "", "2", ""] == 2
    assert found[f"{name}_shadow_errors_total", "", "2", ""] == 1
