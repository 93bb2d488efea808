"""A link between real sockets: what passes, what does not, and that nothing is left behind."""

import asyncio
import socket
import time

import pytest

from edgewise.core.errors import InvalidArgumentError
from edgewise.link.faults import Fault, Kind
from edgewise.link.lane import LANE_LIMIT_BYTES
from edgewise.link.profiles import Conditions, Profile
from edgewise.link.schedule import parse_schedule


def test_bytes_pass_both_ways_and_so_does_the_end(links):
    async def main():
        async with links.linked(echo=False) as place:
            client = await place.connect()
            await client.send(b"question")
            server = await place.on_server()
            assert await server.receive(8) == b"question"
            client.writer.write_eof()
            assert await server.rest() == b""
            await server.send(b"answer after the client's end")
            await server.close()
            assert await client.rest() == b"answer after the client's end"
            await place.until(lambda: place.link.open_connections == 0)

    links.run(main)


@pytest.mark.parametrize("profile", ["none", "lan", "fibre"])
def test_a_large_body_arrives_whole(links, profile):
    async def main():
        async with links.linked(profile=profile) as place:
            place.link.set_conditions(up_kbit_s=None, down_kbit_s=None)
            client = await place.connect()
            body = bytes(range(256)) * 40_000
            sending = asyncio.ensure_future(client.send(body))
            assert await client.receive(len(body)) == body
            await sending
            state = place.link.state()["bytes"]
            assert state["up"] == {"passed_total": len(body), "dropped_total": 0, "under_way": 0}

    links.run(main)


def test_an_answer_takes_the_round_trip_and_connecting_one_more(links):
    async def main():
        profile = Profile(name="mine", conditions=Conditions(delay_up_ms=40, delay_down_ms=20), source="this test")
        async with links.linked(profile=profile) as place:
            began_s = time.monotonic()
            client = await place.connect()
            await place.on_server()
            assert time.monotonic() - began_s >= 0.039
            await client.ask(b"x")
            assert time.monotonic() - began_s >= 0.119
            began_s = time.monotonic()
            await client.ask(b"x")
            assert time.monotonic() - began_s >= 0.059
            place.link.set_profile("none")
            await client.ask(b"x")
            assert place.link.profile == "none"

    links.run(main)


def test_a_client_s_reset_reaches_the_server(links):
    async def main():
        async with links.linked(echo=False) as place:
            client = await place.connect()
            server = await place.on_server()
            client.reset()
            with pytest.raises(ConnectionResetError):
                await server.rest()
            await place.until(lambda: place.link.open_connections == 0)

    links.run(main)


def test_a_server_s_reset_reaches_the_client_even_behind_its_end(links):
    async def main():
        async with links.linked(echo=False) as place:
            client = await place.connect()
            server = await place.on_server()
            server.writer.write_eof()
            assert await client.rest() == b""
            server.reset()
            with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012 - it is noticed at the first or the second
                async with asyncio.timeout(links.wait_s):
                    while True:
                        await client.send(b"x")
                        await asyncio.sleep(0)
            await place.until(lambda: place.link.open_connections == 0)

    links.run(main)


def test_a_server_that_is_not_there_resets_the_client(links):
    async def main():
        async with links.linked() as place:
            with socket.create_server(("127.0.0.1", 0)) as gone:
                place.link.to = gone.getsockname()
            client = await place.connect()
            with pytest.raises(ConnectionResetError):
                await client.rest()
            assert place.link.unreached == 1
            await place.until(lambda: place.link.open_connections == 0)

    links.run(main)


def test_a_receiver_that_does_not_read_makes_the_sender_wait(links):
    async def main():
        async with links.linked(echo=False) as place:
            place.link.set_conditions(delay_up_ms=1)
            client = await place.connect()
            server = await place.on_server()
            body = b"x" * (24 << 20)
            sending = asyncio.ensure_future(client.send(body))
            [lane] = place.link.up.lanes
            await place.until(lambda: lane._blocked and lane.source._reasons)
            assert place.link.up.queued_bytes <= LANE_LIMIT_BYTES + 65536
            assert not sending.done()
            assert await server.receive(len(body)) == body
            await sending

    links.run(main)


# --- faults ---


def test_a_blackhole_keeps_what_is_sent_until_the_heal(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("blackhole")
            await client.send(b"into the cut")
            await client.nothing_comes(place.until(lambda: place.link.up.queued_bytes == 12))
            place.link.heal()
            assert await client.receive(12) == b"into the cut"

    links.run(main)


def test_a_blackhole_one_way_lets_the_question_pass_and_not_the_answer(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("blackhole", direction="down")
            await client.send(b"question")
            await client.nothing_comes(place.until(lambda: place.link.down.queued_bytes == 8))
            assert place.link.up.queued_bytes == 0
            place.link.heal()
            assert await client.receive(8) == b"question"

    links.run(main)


def test_new_connections_in_a_blackhole_get_no_answer_and_through_after_the_heal(links):
    async def main():
        async with links.linked() as place:
            loop = asyncio.get_running_loop()
            place.link.set_fault("blackhole")
            with socket.socket() as sock:
                sock.setblocking(False)
                connecting = asyncio.ensure_future(loop.sock_connect(sock, ("127.0.0.1", place.link.port)))
                _, waiting = await asyncio.wait({connecting}, timeout=0.2)
                assert waiting
                place.link.heal()
                # The kernel sends its SYN again a second after the first.
                await asyncio.wait_for(connecting, links.wait_s)
                await loop.sock_sendall(sock, b"x")
                assert await asyncio.wait_for(loop.sock_recv(sock, 1), links.wait_s) == b"x"
            await place.until(lambda: place.link.open_connections == 0)
            assert place.link.accepted == 1

    links.run(main)


def test_new_connections_in_a_blackhole_can_be_accepted_and_hear_nothing(links):
    async def main():
        async with links.linked() as place:
            place.link.set_fault("blackhole", newcomers="accept")
            client = await place.connect()
            await client.send(b"hello")
            await client.nothing_comes(place.until(lambda: place.link.up.queued_bytes == 5))
            assert place.served.empty()
            place.link.heal()
            assert await client.receive(5) == b"hello"

    links.run(main)


@pytest.mark.parametrize(("fault", "options"), [("refuse", {}), ("blackhole", {"newcomers": "refuse"})])
def test_new_connections_can_be_refused_and_the_port_stays(links, fault, options):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            port = place.link.port
            place.link.set_fault(fault, **options)
            for _ in range(3):
                with pytest.raises(ConnectionRefusedError):
                    await place.connect()
            place.link.heal()
            assert place.link.port == port
            assert await (await place.connect()).ask(b"again") == b"again"
            assert await client.ask(b"still there") == b"still there"

    links.run(main)


def test_refusing_leaves_open_connections_alone(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("refuse")
            assert await client.ask(b"during") == b"during"

    links.run(main)


def test_stall_accept_answers_no_new_connection_and_leaves_open_ones_alone(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("stall-accept")
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.open_connection("127.0.0.1", place.link.port), 0.1)
            assert await client.ask(b"during") == b"during"
            place.link.set_fault("refuse")
            with pytest.raises(ConnectionRefusedError):
                await place.connect()
            place.link.heal()
            assert await (await place.connect()).ask(b"after") == b"after"

    links.run(main)


def test_reset_resets_both_sides_and_new_connections_while_it_lasts(links):
    async def main():
        async with links.linked(echo=False) as place:
            client = await place.connect()
            server = await place.on_server()
            place.link.set_fault("reset")
            for side in (client, server):
                with pytest.raises(ConnectionResetError):
                    await side.rest()
            with pytest.raises(ConnectionResetError):
                await (await place.connect()).rest()
            assert place.served.empty()
            place.link.heal()
            await (await place.connect()).send(b"x")
            assert await (await place.on_server()).receive(1) == b"x"

    links.run(main)


def test_fin_closes_both_sides_in_order_and_new_connections_while_it_lasts(links):
    async def main():
        async with links.linked(echo=False) as place:
            place.link.set_conditions(delay_down_ms=5)
            client = await place.connect()
            server = await place.on_server()
            await server.send(b"under way")
            await place.until(lambda: place.link.down.queued_bytes == 9)
            place.link.set_fault("fin")
            assert await client.rest() == b"under way"
            assert await server.rest() == b""
            assert await (await place.connect()).rest() == b""
            await place.until(lambda: place.link.open_connections == 0)

    links.run(main)


def test_freeze_reads_nothing_and_goes_on_where_it_was(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("freeze")
            late = await place.connect()
            await client.send(b"a")
            await late.send(b"b")
            await client.nothing_comes(asyncio.sleep(0.05))
            assert place.link.up.queued_bytes == 0
            place.link.heal()
            assert await client.receive(1) == b"a"
            assert await late.receive(1) == b"b"

    links.run(main)


def test_drip_lets_an_answer_through_byte_by_byte(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            await client.ask(b"before")
            place.link.set_fault("drip", direction="down", bytes=2, interval_ms=10)
            await client.send(b"abcdef")
            began_s = time.monotonic()
            assert await client.receive(6) == b"abcdef"
            assert time.monotonic() - began_s >= 0.018

    links.run(main)


def test_stall_above_passes_small_requests_and_no_large_one(links):
    async def main():
        async with links.linked() as place:
            place.link.set_fault("stall-above", bytes=1200)
            small, large = await place.connect(), await place.connect()
            for _ in range(5):
                await small.ask(b"x" * 1000)
            await large.send(b"y" * 5000)
            await large.nothing_comes(small.ask(b"z"))
            place.link.heal()
            assert await large.receive(5000) == b"y" * 5000

    links.run(main)


def test_dropped_bytes_cost_their_connection_and_no_other(links):
    async def main():
        async with links.linked() as place:
            speaks, silent = await place.connect(), await place.connect()
            await speaks.ask(b"1")
            await silent.ask(b"2")
            place.link.set_fault("blackhole", held="drop")
            await speaks.send(b"lost")
            await place.until(lambda: place.link.up.dropped_bytes == 4)
            place.link.heal()
            with pytest.raises(ConnectionResetError):
                await speaks.rest()
            assert await silent.ask(b"3") == b"3"

    links.run(main)


def test_a_fault_heals_by_itself_when_it_was_told_for_how_long(links):
    async def main():
        async with links.linked() as place:
            client = await place.connect()
            place.link.set_fault(Fault(kind=Kind.BLACKHOLE, for_s=0.05))
            assert await client.ask(b"through") == b"through"
            assert place.link.fault is None

    links.run(main)


def test_a_new_fault_is_not_healed_by_the_end_of_the_one_before(links):
    async def main():
        async with links.linked() as place:
            place.link.set_fault("blackhole", for_s=0.01)
            place.link.set_fault("blackhole", direction="up")
            await asyncio.sleep(0.05)
            assert place.link.fault == Fault(kind=Kind.BLACKHOLE, direction="up")

    links.run(main)


def test_a_schedule_flaps_until_the_link_stops(links):
    async def main():
        schedule = parse_schedule("0.01s:blackhole newcomers=accept, 0.02s:heal, 0.03s:repeat")
        async with links.linked(schedule=schedule) as place:
            seen = set()

            def flapped():
                seen.add(place.link.fault is None)
                return len(seen) == 2 and place.link.clock() - began_s > 0.1

            began_s = place.link.clock()
            await place.until(flapped)
            assert await (await place.connect()).ask(b"x" * 100_000) == b"x" * 100_000

    links.run(main)


def test_a_link_stops_in_the_middle_of_everything(links):
    async def main():
        for fault in (None, *Kind):
            async with links.linked(profile="3g") as place:
                if fault is not None and fault not in (Kind.RESET, Kind.REFUSE, Kind.STALL_ACCEPT):
                    place.link.set_fault(Fault(kind=fault, **({"newcomers": "accept"} if fault == "blackhole" else {})))
                client = await place.connect()
                await client.send(b"x")
                await place.until(lambda place=place: place.link.accepted == 1)
                if fault is not None:
                    place.link.set_fault(fault.value)

    links.run(main)


def test_what_a_link_cannot_do_is_refused(links):
    async def main():
        async with links.linked() as place:
            with pytest.raises(InvalidArgumentError, match="fault is 'fire'; expected one of"):
                place.link.set_fault("fire")
            with pytest.raises(InvalidArgumentError, match="no profile '5g'"):
                place.link.set_profile("5g")
            with pytest.raises(InvalidArgumentError, match="loss_ratio is 2"):
                place.link.set_conditions(loss_ratio=2)
            with pytest.raises(InvalidArgumentError, match="a Fault has its own"):
                place.link.set_fault(Fault(kind=Kind.RESET), for_s=1)
            assert place.link.fault is None

    links.run(main)
