"""Endpoints by DNS, with lookups that the test answers."""

import asyncio
import contextlib
import queue
import socket
import threading

import pytest
import uvloop

from edgewise.gateway.addresses import look_up
from edgewise.gateway.endpoint_sources import _MAX_HUNG, DnsSource
from edgewise.gateway.endpoints import Endpoint
from support.endpoint_listener import EndpointListener

WAIT_S = 10.0
NO_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
NO_DNS = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def v4(*numbers):
    return [(socket.AF_INET, (f"10.0.0.{number}", 8501)) for number in numbers]


def endpoints(*numbers):
    return tuple(Endpoint(f"10.0.0.{number}", 8501) for number in numbers)


class Dns:
    """Answers lookups with what the test puts in; without it they hang."""

    def __init__(self):
        self.answers = queue.Queue()
        self.asked = []
        self.let_go = threading.Event()

    def __call__(self, host, port):
        self.asked.append((host, port))
        while not self.let_go.is_set():
            with contextlib.suppress(queue.Empty):
                answer = self.answers.get(timeout=0.02)
                if isinstance(answer, Exception):
                    raise answer
                return answer
        raise NO_DNS


@contextlib.asynccontextmanager
async def looking(**options):
    dns, listener = Dns(), EndpointListener()
    source = DnsSource("models", 8501, lookup=dns, **{"interval_s": 0.01, **options})
    source.start(listener)
    try:
        yield dns, listener, source
    finally:
        source.close()
        dns.let_go.set()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a scenario, on the loop that a gateway has as well."""

    def run(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(scenario())

    return run


def test_every_address_of_either_family_is_an_endpoint(run):
    async def scenario():
        async with looking() as (dns, listener, _):
            v6 = (socket.AF_INET6, ("fd00::1", 8501, 0, 0))
            dns.answers.put([*v4(2, 1, 2), v6])
            assert await listener.next() == (*endpoints(1, 2), Endpoint("fd00::1", 8501))
            assert dns.asked[0] == ("models", 8501)

    run(scenario)


def test_it_looks_again_by_itself(run):
    async def scenario():
        async with looking() as (dns, listener, _):
            for numbers in ((1,), (1, 2), (2,)):
                dns.answers.put(v4(*numbers))
                assert await listener.next() == endpoints(*numbers)

    run(scenario)


def test_a_failure_is_told_and_says_nothing_of_endpoints(run):
    async def scenario():
        async with looking() as (dns, listener, _):
            dns.answers.put(NO_DNS)
            assert "looking up models failed" in await listener.next()
            dns.answers.put(v4(1))
            assert await listener.next() == endpoints(1)

    run(scenario)


@pytest.mark.parametrize("nothing", [NO_NAME, socket.gaierror(socket.EAI_NODATA, "No address"), []])
def test_a_name_without_address_is_believed_after_a_while(run, nothing):
    async def scenario():
        async with looking(empty_kept_s=0.05) as (dns, listener, _):
            dns.answers.put(v4(1))
            assert await listener.next() == endpoints(1)
            heard = []
            while heard[-1:] != [()]:
                dns.answers.put(nothing)
                heard.append(await listener.next())
            assert heard[0] == "the name models has no address"
            # It is told once that there is none, and goes on being a failure.
            for _ in range(3):
                dns.answers.put(nothing)
                assert await listener.next() == "the name models has no address"
            dns.answers.put(v4(2))
            while not isinstance(heard[-1], tuple) or heard[-1] == ():
                heard.append(await listener.next())
            assert heard[-1] == endpoints(2)

    run(scenario)


def test_only_an_unbroken_row_of_empty_answers_is_believed(run):
    async def scenario():
        async with looking(empty_kept_s=3600) as (dns, listener, source):
            for answer in (NO_NAME, NO_DNS, NO_NAME):
                dns.answers.put(answer)
                assert isinstance(await listener.next(), str)
            since_s = source._empty_since_s
            dns.answers.put(NO_DNS)
            await listener.next()
            assert source._empty_since_s is None
            dns.answers.put(NO_NAME)
            await listener.next()
            assert source._empty_since_s > since_s

    run(scenario)


def test_when_connections_fail_it_looks_sooner_but_not_at_once_again(run):
    async def scenario():
        async with looking(interval_s=3600, soonest_s=0.02) as (dns, listener, source):
            dns.answers.put(v4(1))
            await listener.next()
            for _ in range(50):
                source.hint()
            dns.answers.put(v4(2))
            assert await listener.next() == endpoints(2)
            assert len(dns.asked) == 2

    run(scenario)


def test_when_it_has_long_been_time_it_looks_at_once(run):
    async def scenario():
        async with looking(interval_s=3600, soonest_s=0.0) as (dns, listener, source):
            dns.answers.put(v4(1))
            await listener.next()
            source.hint()
            source.hint()
            dns.answers.put(v4(2))
            assert await listener.next() == endpoints(2)
            assert len(dns.asked) == 2

    run(scenario)


def test_lookups_that_hang_are_left_behind_and_are_few(run):
    async def scenario():
        async with looking(hung_s=0.02) as (dns, listener, source):
            for _ in range(_MAX_HUNG):
                assert "took longer than 0.02 s" in await listener.next()
            source.hint()
            await asyncio.sleep(0)
            assert (len(source._hung), source._asking, len(dns.asked)) == (_MAX_HUNG, None, _MAX_HUNG)
            # What comes after all is of no use any more; once the threads are free it goes on.
            hung = list(source._hung)
            for _ in hung:
                dns.answers.put(v4(9))
            for thread in hung:
                thread.join(WAIT_S)
            dns.answers.put(v4(1))
            heard = await listener.next()
            while isinstance(heard, str):
                heard = await listener.next()
            assert heard == endpoints(1)

    run(scenario)


def test_nothing_is_told_after_the_end(run):
    async def scenario():
        async with looking() as (dns, listener, source):
            thread = source._asking
            source.close()
            dns.answers.put(v4(1))
            thread.join(WAIT_S)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert listener.told.empty()
            source.hint()
            assert len(dns.asked) <= 1

    run(scenario)


def test_the_systems_own_lookup(run):
    async def scenario():
        listener = EndpointListener()
        source = DnsSource("localhost", 8501, lookup=look_up)
        source.start(listener)
        try:
            assert Endpoint("127.0.0.1", 8501) in await listener.next()
        finally:
            source.close()

    run(scenario)
