"""What pods of two versions counted under a key."""

import pytest

from edgewise.agent.kubernetes.pod_counts import EVERY_S, PodCounts
from edgewise.agent.kubernetes.pods import PodState
from edgewise.agent.kubernetes.port import PodAnswer
from edgewise.agent.kubernetes.release_pods import VersionPod
from edgewise.agent.site.port import Division
from edgewise.model_server.metrics import ServerMetrics

READY = PodState(ready=True, leaving=False)


class Pods:
    """Pods by name, with what they count."""

    def __init__(self):
        self.now_s = 0.0
        self.metrics = {}
        self.versions = {}
        self.asked = 0
        self.silent = set()

    def add(self, name, version):
        self.metrics[name] = ServerMetrics("cloud", "cloud")
        self.versions[name] = version

    def count(self, name, number, *, code="OK", seconds=0.002):
        for _ in range(number):
            self.metrics[name].received += 1
            self.metrics[name].finished(model="pets", protocol="tfs-rest", method="Predict", code=code, seconds=seconds)

    def get(self, pod, path):
        self.asked += 1
        name = pod["metadata"]["name"]
        return None if name in self.silent else PodAnswer(200, self.metrics[name].exposition())

    def there(self):
        self.now_s += EVERY_S
        return [
            VersionPod({"metadata": {"name": name, "uid": name}}, version, newest=True, state=READY)
            for name, version in self.versions.items()
        ]


@pytest.fixture
def pods():
    return Pods()


@pytest.fixture
def counts(pods):
    return PodCounts(pods, lambda: pods.now_s)


def division(key="r/1.0", slow_ms=None, share=1.0):
    return Division(1, 2, share, 0.0, key, slow_ms)


def test_what_was_counted_before_the_key_does_not_count(pods, counts):
    pods.add("a", 1)
    pods.add("b", 2)
    pods.count("a", 100)
    pods.count("b", 50, code="INTERNAL")
    first = counts.reading("pets", pods.there(), division())
    assert (first.counts.old_count, first.counts.new_count) == (0, 0)
    assert first.old_timed == 100
    pods.count("a", 30)
    pods.count("b", 10)
    pods.count("b", 2, code="INTERNAL")
    found = counts.reading("pets", pods.there(), division()).counts
    assert (found.old_count, found.old_errors, found.new_count, found.new_errors) == (30, 0, 12, 2)


def test_another_key_begins_at_zero(pods, counts):
    pods.add("a", 1)
    counts.reading("pets", pods.there(), division())
    pods.count("a", 5)
    assert counts.reading("pets", pods.there(), division()).counts.old_count == 5
    assert counts.reading("pets", pods.there(), division("r/2.0")).counts.old_count == 0


def test_pods_that_are_gone_or_were_started_anew_keep_what_they_counted(pods, counts):
    pods.add("a", 1)
    pods.add("b", 1)
    counts.reading("pets", pods.there(), division())
    pods.count("a", 5)
    pods.count("b", 7)
    counts.reading("pets", pods.there(), division())
    del pods.versions["a"]
    pods.add("b2", 1)
    pods.silent.add("b")
    pods.count("b2", 100)
    counts.reading("pets", pods.there(), division())
    pods.count("b2", 4)
    assert counts.reading("pets", pods.there(), division()).counts.old_count == 5 + 7 + 4


def test_of_the_version_that_got_more_than_its_share_only_its_share_counts(pods, counts):
    pods.add("a", 1)
    pods.add("b", 2)
    counts.reading("pets", pods.there(), division(share=0.1))
    for _ in range(10):
        pods.count("a", 90)
        pods.count("b", 20, seconds=0.2)
        pods.count("b", 20, code="INTERNAL", seconds=0.2)
        found = counts.reading("pets", pods.there(), division(share=0.1, slow_ms=10.0)).counts
    assert (found.old_count, found.old_errors, found.new_count, found.new_errors) == (900, 0, 100, 50)
    assert (found.old_timed, found.old_slow, found.new_timed, found.new_slow) == (900, 0, 100, 100)


def test_slow_answers_are_counted_once_it_is_said_what_is_slow(pods, counts):
    pods.add("a", 1)
    pods.add("b", 2)
    pods.count("a", 100, seconds=0.004)
    counts.reading("pets", pods.there(), division())
    pods.count("a", 20, seconds=0.004)
    pods.count("b", 10, seconds=0.2)
    found = counts.reading("pets", pods.there(), division()).counts
    assert (found.new_timed, found.old_timed) == (0, 0)
    found = counts.reading("pets", pods.there(), division(slow_ms=10.0)).counts
    assert (found.new_timed, found.new_slow, found.old_timed, found.old_slow) == (10, 10, 20, 0)


def test_the_old_versions_quantiles_are_of_all_that_it_answered(pods, counts):
    pods.add("a", 1)
    pods.count("a", 100, seconds=0.004)
    found = counts.reading("pets", pods.there(), division())
    assert 2.5 < found.old_quantiles_ms[0.95] <= 5.0


def test_pods_are_not_asked_all_the_time(pods, counts):
    pods.add("a", 1)
    there = pods.there()
    for _ in range(10):
        counts.reading("pets", there, division())
    assert pods.asked == 1


def test_how_a_model_was_answered_in_the_last_minute(pods, counts):
    pods.add("a", 1)
    pods.count("a", 1000)
    assert counts.served("pets", pods.there()) is None
    for second in range(90):
        pods.count("a", 2, seconds=0.004)
        pods.count("a", second % 2, code="INTERNAL")
        served = counts.served("pets", pods.there())
    assert 120 <= served.requests <= 155
    assert 28 <= served.errors <= 31
    assert 2.5 < served.p50_ms <= 5.0
