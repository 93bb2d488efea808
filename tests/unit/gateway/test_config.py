"""How limits divide over workers."""

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway.config import Address, GatewayConfig, SiteConfig


@pytest.mark.parametrize(
    ("limit", "workers", "shares"),
    [(256, 1, [256]), (256, 4, [64] * 4), (10, 4, [3, 3, 2, 2]), (4, 4, [1] * 4), (2, 3, [1, 1, 1]), (1, 2, [1, 1])],
)
def test_shares_add_up_to_the_limit_unless_there_are_more_workers(limit, workers, shares):
    route = Route(RouteKind.FASTEST)
    near = SiteConfig("near", "edge", rest=Address("h", 1), max_in_flight=limit, max_queue=limit)
    far = SiteConfig("far", "cloud", rest=Address("h", 2), max_in_flight=workers, max_queue=0)
    config = GatewayConfig((near, far), route, {"pets": route})
    given = [config.share_of(worker, workers) for worker in range(workers)]
    assert [one.sites[0].max_in_flight for one in given] == shares
    assert [one.sites[0].max_queue for one in given] == shares
    # No queue is no queue.
    assert [(one.sites[1].max_in_flight, one.sites[1].max_queue) for one in given] == [(1, 0)] * workers
    for one in given:
        assert (one.route, one.routes) == (config.route, config.routes)
        assert [site.name for site in one.sites] == ["near", "far"]
        assert one.sites[0].rest == near.rest
