"""How fast, how much, how patiently; and numbers out of Prometheus' text."""

import pytest

from edgewise.agent.site.allowance import DailyQuota, TokenBucket
from edgewise.agent.site.lately_served import WINDOW_S, LatelyServed
from edgewise.agent.site.metric_text import quantile_of
from edgewise.agent.site.server_counts import ServerCounts
from edgewise.agent.site.state import StateDirectory
from edgewise.agent.site.transfer import Patience

INF = float("inf")


def test_a_bucket_lets_its_rate_through_and_a_little_at_once():
    now = [0.0]
    bucket = TokenBucket(1000.0, lambda: now[0])
    assert bucket.take(250) == 0.0
    assert bucket.take(500) == pytest.approx(0.5)
    now[0] = 0.5
    assert bucket.take(100) == pytest.approx(0.1)
    now[0] = 100.0
    assert bucket.take(250) == 0.0
    assert bucket.take(1) > 0.0


def test_without_a_rate_nothing_waits():
    bucket = TokenBucket(None)
    assert bucket.take(10**9) == 0.0
    assert bucket.at_once_bytes is None


def test_the_quota_of_a_day_begins_anew_and_its_file_may_be_damaged(tmp_path):
    state = StateDirectory(tmp_path)
    now = [0.0]
    quota = DailyQuota(state, 1000, lambda: now[0])
    quota.take(900)
    quota.keep()
    assert DailyQuota(state, 1000, lambda: now[0]).left_bytes() == 100
    quota.take(900)
    assert quota.left_bytes() == 0
    now[0] = 86400.0
    assert quota.left_bytes() == 1000
    state.quota.write_bytes(b"no")
    assert DailyQuota(state, 1000, lambda: now[0]).left_bytes() == 1000
    assert DailyQuota(state, None).left_bytes() is None


def test_delays_double_up_to_a_bound_and_are_drawn():
    patience = Patience(base_s=0.5, cap_s=30.0)
    assert [patience.delay_s(failures, 1.0) for failures in (1, 2, 3, 7, 8, 99)] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]
    assert patience.delay_s(9, 0.0) == 0.0


@pytest.mark.parametrize(
    ("buckets", "quantile", "expected"),
    [
        ({0.1: 0.0, 0.2: 10.0, INF: 10.0}, 0.5, 0.15),
        ({0.1: 10.0, INF: 10.0}, 0.99, 0.099),
        ({0.1: 1.0, INF: 10.0}, 0.99, 0.1),
        ({0.1: 0.0, INF: 0.0}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_a_quantile_lies_between_the_bounds_of_its_bucket(buckets, quantile, expected):
    assert quantile_of(buckets, quantile) == (None if expected is None else pytest.approx(expected))


def served(count, errors, slow):
    key = 'model="pets",protocol="tfs-rest",method="predict"'
    return "\n".join(
        [
            f'edgewise_server_requests_total{{{key},code="OK"}} {count - errors}',
            f'edgewise_server_requests_total{{{key},code="INTERNAL"}} {errors}',
            f'edgewise_server_requests_total{{{key},code="UNAVAILABLE"}} 7',
            'edgewise_server_requests_total{model="other",protocol="x",method="y",code="INTERNAL"} 99',
            f'edgewise_server_request_seconds_bucket{{{key},le="0.01"}} {count - slow}',
            f'edgewise_server_request_seconds_bucket{{{key},le="+Inf"}} {count}',
            "",
        ]
    )


def test_a_model_server_counts_for_the_old_version_first_and_then_for_the_new():
    counts = ServerCounts("pets")
    counts.read(served(1000, 500, 0))
    counts.read(served(1100, 501, 2))
    counts.turn("r/1.0")
    counts.read(served(1150, 511, 22))
    found = counts.reading(10.0)
    assert found.key == "r/1.0"
    assert (found.counts.old_count, found.counts.old_errors) == (100, 1)
    assert (found.counts.new_count, found.counts.new_errors) == (50, 10)
    assert (found.counts.new_timed, found.counts.new_slow) == (50, 20)
    assert found.old_timed == 100
    # Started anew it begins at zero.
    counts.read(served(5, 1, 0))
    assert (counts.reading(None).counts.new_count, counts.reading(None).counts.new_errors) == (55, 11)
    assert counts.reading(None).counts.new_timed == 0


def gateway(edge, slow, failed):
    return "\n".join(
        [
            'edgewise_gateway_link_state{site="near",tier="edge",state="UP"} 1',
            'edgewise_gateway_link_state{site="far",tier="cloud",state="UP"} 1',
            f'edgewise_gateway_requests_total{{model="pets",site="near",outcome="failed"}} {failed}',
            f'edgewise_gateway_requests_total{{model="pets",site="near",outcome="answered"}} {edge}',
            f'edgewise_gateway_request_seconds_bucket{{model="pets",site="near",le="0.01"}} {edge - slow}',
            f'edgewise_gateway_request_seconds_bucket{{model="pets",site="near",le="0.1"}} {edge}',
            f'edgewise_gateway_request_seconds_bucket{{model="pets",site="near",le="+Inf"}} {edge}',
            "",
        ]
    )


def test_what_was_served_in_the_last_minute():
    now = [0.0]
    lately = LatelyServed(lambda: now[0])
    assert lately.read(gateway(1000, 900, 50)) == ({}, {})
    now[0] = 30.0
    cloud, edge = lately.read(gateway(1100, 900, 53))
    assert cloud == {}
    assert (edge["pets"].requests, edge["pets"].errors) == (103, 3)
    assert edge["pets"].p99_ms < 10.0
    now[0] = 30.0 + WINDOW_S
    _, edge = lately.read(gateway(1200, 1000, 53))
    assert (edge["pets"].requests, edge["pets"].errors) == (100, 0)
    assert edge["pets"].p50_ms > 10.0
    # A gateway that was started anew says nothing of the minute before.
    now[0] += 1.0
    assert lately.read(gateway(10, 0, 0)) == ({}, {})
