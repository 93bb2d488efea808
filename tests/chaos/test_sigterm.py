"""SIGTERM under 200 requests/s: every request that was accepted is answered, and the exit code is 0."""

import asyncio
import signal
import urllib.request

import pytest

from support.open_loop import OpenLoop


@pytest.mark.parametrize("attempt", range(3))
def test_every_accepted_request_is_answered(start_server, tiny_repository, attempt):
    server = start_server("--repository", str(tiny_repository))

    async def scenario():
        load = OpenLoop(server.rest_port, server.grpc_port)
        stop = asyncio.Event()
        running = asyncio.create_task(load.run(20, stop=stop))
        await load.answered_by(2)
        # Let the load be steady before the signal: some hundred answers.
        while sum(1 for record in load.records if record.ended_s) < 400:
            await load.answered_by(2)
        server.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(server.process.wait, 30)
        stop.set()
        await running
        return load, code

    load, code = asyncio.run(scenario())
    # Only who found nobody listening was not accepted: an error from the server itself would be a request lost.
    lost = [record for record in load.failures if not record.refused]
    answered = sum(1 for record in load.records if not record.error)
    refused = sum(1 for record in load.records if record.refused)
    print(
        f"{len(load.records)} sent: {answered} answered, {refused} refused at connect, {len(lost)} lost;"
        f" exit code {code}"
    )
    assert lost == []
    assert code == 0


def test_ready_turns_false_before_connections_are_refused(start_server, tiny_repository):
    server = start_server("--repository", str(tiny_repository))
    with urllib.request.urlopen(f"{server.rest_url}/v2/health/ready", timeout=5) as answer:
        assert answer.status == 200
    assert server.stop() == 0
