"""What has to hold of links and requests between events, as checks for tests."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from edgewise.core.routing.calls import NO_DEADLINE_S

if TYPE_CHECKING:
    from edgewise.core.routing.calls import Request
    from edgewise.core.routing.link import Link

# ruff: noqa: S101 - these are assertions


def check_links(links: "Iterable[Link]") -> None:
    """Check that what is in flight adds up and is wanted.

    Raises: AssertionError: it does not hold.
    """
    for link in links:
        counts = [0] * len(link.in_flight_of_class)
        for attempt in link.in_flight:
            assert attempt.open, f"a closed attempt is in flight at {link.name}"
            assert attempt.link is link, f"an attempt is in flight at the wrong link {link.name}"
            assert not attempt.wanted or not attempt.request.done, "an attempt runs for a request that is over"
            counts[attempt.request.size_class] += 1
        assert counts == link.in_flight_of_class, f"the classes in flight at {link.name} do not add up"
        assert not link.left or not link.queue, f"something waits at {link.name}, which has left"
        assert len(link.in_flight) <= link.spec.max_in_flight, f"{link.name} has too much in flight"
        unwanted = sum(not attempt.wanted for attempt in link.in_flight)
        assert unwanted == link.witnesses, f"the witnesses at {link.name} do not add up"


def check_requests(links: "Iterable[Link]", looked_after: "Iterable[Request]") -> None:
    """Check that each request that is not over is in flight or waits for room, and is looked at again in time to expire.

    Args:
        links: all of them.
        looked_after: requests that will be looked at.
    Raises: AssertionError: it does not hold.
    """
    followed = {request for request in looked_after if not request.done}
    in_flight: set[Request] = set()
    for link in links:
        in_flight.update(attempt.request for attempt in link.in_flight if attempt.wanted)
        waiting = {request for _, _, request, _ in link.queue if not request.done and request.queued_at is link}
        for request in waiting | {attempt.request for attempt in link.in_flight if attempt.wanted}:
            assert request in followed or request.deadline_s == NO_DEADLINE_S, f"nobody ends a request at {link.name}"
    for request in followed:
        assert request in in_flight or request.queued_at is not None, "a request is neither in flight nor waiting"
        assert not any(link.left for link in request.order[1:]), "a request may go where nobody goes any more"
        for attempt in request.running:
            assert attempt.open, "a request waits for an attempt that has ended"
            assert attempt in attempt.link.in_flight, "a request waits for an attempt that its link does not know"
        if request.queued_at is not None:
            queued = any(entry[2] is request for entry in request.queued_at.queue)
            assert queued, f"a request waits at {request.queued_at.name}, which does not know"
