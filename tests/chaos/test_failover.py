"""No request is lost when the link dies: a short part of `make bench-failover`, over real packets where root allows."""

import pytest
from bench_failover import namespaces
from bench_failover.link_world import LinkWorld
from bench_failover.opponents import GRPC, OURS, REST
from bench_failover.run import Case, run
from bench_failover.world import NamespaceWorld, why_no_namespaces

RTT_MS = 60.0


@pytest.fixture(scope="module")
def make_world():
    if why_no_namespaces():
        return LinkWorld
    namespaces.sweep()
    return NamespaceWorld


@pytest.mark.parametrize(
    ("protocol", "fault"), [(REST, "cut"), (GRPC, "cut"), (REST, "rst"), (REST, "stop"), (REST, "size")]
)
def test_no_request_is_lost(make_world, tmp_path, protocol, fault):
    case = Case(OURS, protocol, fault, RTT_MS, before_s=3.0, warmup_s=1.0, lasts_s=4.0, after_s=6.0)
    result = run(case, make_world, tmp_path)
    by_name = {phase.name: phase for phase in result.phases}
    gateway_log = (tmp_path / "gateway.log").read_text()

    assert result.asked == pytest.approx(case.rate * (case.duration_s - case.warmup_s), abs=2)
    assert (result.residual, result.unaccounted) == (0, 0)
    assert result.lost == 0, (result.error_details, gateway_log)
    assert result.errors == 0, (result.error_details, gateway_log)
    if fault != "stop":
        # A process that goes on reads what lay in its buffers before it reads the reset behind it.
        assert result.ghosts == 0
    before, rest = by_name["before"], by_name["rest of it"]
    assert before.cloud >= 0.9 * before.asked, gateway_log
    assert rest.edge == rest.asked, gateway_log
    assert result.passage.back_ms is not None, gateway_log
