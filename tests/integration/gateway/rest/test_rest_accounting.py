"""Each request is counted as ended exactly once, and as what its app saw, whatever goes wrong."""

import asyncio
import contextlib

import pytest

from edgewise.core.routing.routes import Route, RouteKind
from edgewise.gateway import rest_pieces
from edgewise.gateway.rest_call import RestCall

MIB = 1 << 20
LONG = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n"
POST = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\n%bContent-Length: 2\r\n\r\n{}"
CUT = "edgewise_gateway_answers_cut_total"


def ledger(gateway):
    """Requests by outcome, without those that are 0; they add up to what was received."""
    metrics = gateway.service.metrics
    found = {outcome: count for outcome, count in metrics.outcomes.items() if count}
    assert sum(metrics.requests.values()) == sum(found.values()) == metrics.received_count
    assert metrics.in_flight == 0
    assert gateway.service.carrier._held == {}
    return found


def by_site(gateway):
    return {(site, outcome): count for (_, site, outcome), count in gateway.service.metrics.requests.items()}


async def settled(gateway):
    await gateway.until(lambda: gateway.service.metrics.in_flight == 0)


def test_an_answer_cut_after_the_app_had_its_head_stays_an_answer(tools):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            app = await gateway.app()
            await app.send(POST % b"")
            await gateway.until(lambda: bool(seen))
            seen.transports[-1].write(LONG % (b"", 2 * MIB) + b"a" * MIB)
            await asyncio.wait_for(app.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            seen.transports[-1].abort()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(app.reader.readexactly(2 * MIB), tools.wait_s)
            assert ledger(gateway) == {"answered": 1}
            assert gateway.service.metrics.readings[CUT][1]() == 1

    tools.run(main)


@pytest.mark.parametrize("how", ["reset", pytest.param("silence", marks=pytest.mark.interpreted)])
def test_an_answer_cut_while_it_was_kept_is_none(tools, how, monkeypatch):
    """Cascade: the edge's long answer is not sure enough, breaks while the cloud is asked, and the cloud has none."""
    if how == "silence":
        monkeypatch.setattr(rest_pieces, "_STALL_S", 0.05)

    async def main():
        cloud = tools.site("cloud")
        unsure = LONG % (b"x-edgewise-confidence: 0.1\r\n", 2 * MIB) + b"e" * (MIB + 1)
        raw = tools.raw_site(lambda _: unsure, "edge", "edge")
        async with raw as (site, seen), tools.gateway(cloud, site, route=Route(RouteKind.CASCADE)) as gateway:
            app = await gateway.app()
            await app.send(POST % b"")
            await gateway.until(lambda: bool(cloud.seen))
            (held,) = gateway.service.carrier._held.values()
            (attempt,) = held
            pieces = attempt.answer[3]
            if how == "reset":
                seen.transports[0].abort()
            await gateway.until(lambda: pieces.broken)
            cloud.seen[0].respond(500, (), b"")
            answer = await app.answer()
            assert answer.status == 503
            assert b"lost in the middle" in answer.body
            assert ledger(gateway) == {"failed": 1}
            assert gateway.service.metrics.errors == {"UNAVAILABLE": 1}
            # The connection to the app is good for more.
            cloud.answers = tools.answer_name(b"cloud")
            wished = await app.ask(headers=b"x-edgewise-route: cloud-only\r\n")
            assert wished.body == b'{"by":"cloud"}'

    tools.run(main)


def test_apps_that_go_are_counted_by_when_they_went(tools):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            before, within = await gateway.app(), await gateway.app()
            await before.send(POST % b"")
            await gateway.until(lambda: len(seen) == 1)
            before.writer.transport.abort()
            await settled(gateway)
            assert ledger(gateway) == {"cancelled": 1}
            await within.send(POST % b"")
            await gateway.until(lambda: len(seen) == 2)
            seen.transports[-1].write(LONG % (b"", 2 * MIB) + b"a" * MIB)
            await asyncio.wait_for(within.reader.readuntil(b"\r\n\r\n"), tools.wait_s)
            within.writer.transport.abort()
            await gateway.until(seen.transports[-1].is_closing)
            assert ledger(gateway) == {"cancelled": 1, "answered": 1}

    tools.run(main)


@pytest.mark.parametrize("how", ["leaves", "breaks the rules"])
def test_an_upload_that_is_not_finished(tools, how):
    async def main():
        limits = {"stream_over_bytes": 64 << 10}
        async with tools.raw_site(lambda _: None) as (site, _), tools.gateway(site, limits=limits) as gateway:
            app = await gateway.app()
            head = b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            size = 100 << 10
            await app.send(head + b"%x\r\n%b\r\n" % (size, bytes(size)))
            await gateway.until(lambda: gateway.service.metrics.in_flight == 1)
            if how == "leaves":
                app.writer.transport.abort()
            else:
                await app.send(b"zz\r\n")
                assert (await app.answer()).status == 400
            await settled(gateway)
            assert ledger(gateway) == {"cancelled": 1}

    tools.run(main)


def test_a_site_that_is_killed_with_requests_on_it(tools):
    async def main():
        async with tools.raw_site(lambda _: None) as (site, seen), tools.gateway(site) as gateway:
            apps = [await gateway.app() for _ in range(5)]
            for app in apps:
                await app.send(POST % b"x-edgewise-idempotent: false\r\n")
            await gateway.until(lambda: len(seen) == len(apps))
            for transport in seen.transports:
                transport.abort()
            assert {(await app.answer()).status for app in apps} == {503}
            assert ledger(gateway) == {"failed": 5}
            assert by_site(gateway) == {("", "failed"): 5}

    tools.run(main)


def test_what_is_shed_and_what_the_site_sheds(tools):
    async def main():
        cloud = tools.site("cloud")
        limits = {"max_in_flight": 1, "max_queue": 1}
        async with tools.gateway(cloud, site_config=limits) as gateway:
            running, waiting, too_many = [await gateway.app() for _ in range(3)]
            await running.send(POST % b"")
            await gateway.until(lambda: bool(cloud.seen))
            await waiting.send(POST % b"")
            await gateway.until(lambda: gateway.service.metrics.in_flight == 2)
            assert (await too_many.ask()).status == 503
            cloud.seen[0].respond(200, (), b"")
            assert (await running.answer()).status == 200
            await gateway.until(lambda: len(cloud.seen) == 2)
            cloud.seen[1].respond(503, ((b"retry-after", b"1"),), b"busy")
            assert (await waiting.answer()).body == b"busy"
            assert ledger(gateway) == {"answered": 1, "rejected": 2}
            assert by_site(gateway) == {("cloud", "answered"): 1, ("cloud", "rejected"): 1, ("", "rejected"): 1}

    tools.run(main)


def test_deadlines_and_what_the_door_turns_away(tools):
    async def main():
        cloud = tools.site("cloud")
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            assert (await app.ask(headers=b"x-edgewise-deadline-ms: 30\r\n")).status == 504
            assert (await app.ask(headers=b"x-edgewise-deadline-ms: soon\r\n")).status == 400
            assert (await app.ask(b"/nothing")).status == 404
            assert ledger(gateway) == {"expired": 1, "rejected": 2}

    tools.run(main)


def test_a_fault_of_the_gateways_own_is_an_error_that_is_counted(tools, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret")

    async def main():
        cloud = tools.site("cloud", answers=tools.answer_name(b"cloud"))
        async with tools.gateway(cloud) as gateway:
            app = await gateway.app()
            with monkeypatch.context() as patched:
                patched.setattr(RestCall, "answer", fail)
                answer = await app.ask()
            assert answer.status == 500
            assert b"secret" not in answer.body
            assert (await app.ask()).body == b'{"by":"cloud"}'
            assert ledger(gateway) == {"answered": 1, "failed": 1}
            assert "carrying out Answer failed" in caplog.text

    tools.run(main)


def test_the_last_site_goes_while_apps_come_and_go(tools):
    """Everything at once; what each app saw adds up to what was counted."""
    apps_of_a_kind = 6

    async def main():
        edge = tools.site("edge", "edge", answers=tools.answer_name(b"edge"))
        # Nobody else may answer them, also when a busy machine makes the link look lost.
        cloud_only = b"x-edgewise-route: cloud-only\r\nx-edgewise-idempotent: false\r\n"
        saw = dict.fromkeys(("answered", "failed", "cancelled", "cut"), 0)

        def cloud_says(request):
            if b"x-kind: long" in request:
                return LONG % (b"", 2 * MIB) + b"a" * MIB
            return None

        async def patient(gateway, headers):
            app = await gateway.app()
            try:
                answer = await app.ask(headers=headers)
            except (asyncio.IncompleteReadError, ConnectionError):
                saw["cut"] += 1
            else:
                saw["answered" if answer.status == 200 else "failed"] += 1

        async def leaving(gateway, seen, number):
            app = await gateway.app()
            own = b"x-kind: leaves %d\r\n" % number
            await app.send(POST % (own + cloud_only))
            await gateway.until(lambda: any(own in one for one in seen))
            app.writer.transport.abort()
            saw["cancelled"] += 1

        async with tools.raw_site(cloud_says) as (site, seen), tools.gateway(site, edge) as gateway:
            tasks = [
                asyncio.ensure_future(one)
                for number in range(apps_of_a_kind)
                for one in (
                    patient(gateway, b"x-kind: long\r\n" + cloud_only),
                    patient(gateway, cloud_only),
                    leaving(gateway, seen, number),
                )
            ]
            answering = gateway.service.metrics
            await gateway.until(
                lambda: (
                    answering.received_count == 3 * apps_of_a_kind
                    and answering.outcomes["answered"] == apps_of_a_kind
                    and answering.outcomes["cancelled"] == saw["cancelled"] == apps_of_a_kind
                    and len(seen) == 3 * apps_of_a_kind
                )
            )
            for transport in seen.transports:
                with contextlib.suppress(OSError):
                    transport.abort()
            await asyncio.gather(*tasks)
            await settled(gateway)
            assert saw == {"answered": 0, "failed": 6, "cancelled": 6, "cut": 6}
            # What was cut had been begun.
            assert ledger(gateway) == {"answered": 6, "failed": 6, "cancelled": 6}
            assert answering.readings[CUT][1]() == 6
            assert (await (await gateway.app()).ask()).body == b'{"by":"edge"}'

    tools.run(main)
