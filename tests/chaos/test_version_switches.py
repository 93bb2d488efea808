"""200 requests/s for a minute while versions 1 → 2 → 3 → 1 are switched by files, by config reload and by labels.

Not one request fails, and the version that answered was AVAILABLE at some moment between sending and answer.
"""

import asyncio
import re
import shutil
from collections import Counter
from pathlib import Path

import grpc.aio
import pytest

from edgewise.model_server.building import tiny
from edgewise.wire import serving_pb2
from support.open_loop import OpenLoop, percentile_ms

PHASE_S = 12.0
ORDER = (2, 3, 1)
STATE_LINE = re.compile(r"model (\S+) version (\d+) is (\w+) at monotonic ([\d.]+)")


def available_windows(log: str) -> dict[int, list[tuple[float, float]]]:
    """When each version was AVAILABLE, in `time.monotonic()` seconds, by the server's own log."""
    windows: dict[int, list[tuple[float, float]]] = {}
    for _, version_text, state, at_text in STATE_LINE.findall(log):
        version, at_s = int(version_text), float(at_text)
        mine = windows.setdefault(version, [])
        if state == "AVAILABLE":
            mine.append((at_s, float("inf")))
        elif mine and mine[-1][1] == float("inf"):
            mine[-1] = (mine[-1][0], at_s)
    return windows


async def reload(target: str, base: Path, *, versions: tuple[int, ...], labels: dict[str, int] | None = None) -> None:
    request = serving_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add(name="tiny", base_path=str(base), model_platform="tensorflow")
    model.model_version_policy.specific.versions.extend(versions)
    for label, version in (labels or {}).items():
        model.version_labels[label] = version
    async with grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        answer = serving_pb2.ReloadConfigResponse.FromString(await call(request.SerializeToString(), timeout=20))
    assert answer.status.error_code == 0, answer.status.error_message


@pytest.mark.timeout(180)
def test_no_request_fails_while_versions_are_switched(start_server, tmp_path):
    store = tmp_path / "store"
    for version in (1, 2, 3):
        tiny.build(store, version=version)
    served = tmp_path / "served"
    (served / "tiny").mkdir(parents=True)
    shutil.copytree(store / "tiny" / "1", served / "tiny" / "1")
    server = start_server("--repository", str(served), "--poll-interval-s", "0.2")

    def put(version: int) -> None:
        staging = served / f".staging-{version}"
        shutil.copytree(store / "tiny" / str(version), staging)
        staging.rename(served / "tiny" / str(version))

    def take(version: int) -> None:
        gone = served / f".gone-{version}"
        (served / "tiny" / str(version)).rename(gone)
        shutil.rmtree(gone)

    async def by_files(load) -> None:
        put(2)
        await load.answered_by(2)
        put(3)
        await load.answered_by(3)
        take(3)
        take(2)
        await load.answered_by(1)

    async def by_config(load) -> None:
        for version in ORDER:
            await reload(server.grpc_target, store / "tiny", versions=(version,))
            await load.answered_by(version)

    async def by_labels(load) -> None:
        for version in ORDER:
            await reload(server.grpc_target, store / "tiny", versions=(1, 2, 3), labels={"stable": version})
            await load.answered_by(version)

    async def phase(switch, label: str | None = None):
        load = OpenLoop(server.rest_port, server.grpc_port, label=label)
        running = asyncio.create_task(load.run(PHASE_S))
        cycles = 0
        await load.answered_by(1)
        while not running.done() and len(load.records) < load.rate * (PHASE_S - 4):
            await switch(load)
            cycles += 1
        await running
        return load, cycles

    async def scenario():
        phases = {"files": await phase(by_files)}
        await reload(server.grpc_target, store / "tiny", versions=(1,))
        phases["config reload"] = await phase(by_config)
        await reload(server.grpc_target, store / "tiny", versions=(1, 2, 3))
        await reload(server.grpc_target, store / "tiny", versions=(1, 2, 3), labels={"stable": 1})
        phases["labels"] = await phase(by_labels, label="stable")
        return phases

    phases = asyncio.run(scenario())
    windows = available_windows(server.log)
    for name, (load, cycles) in phases.items():
        answered = Counter(record.version for record in load.records)
        print(
            f"{name}: {len(load.records)} requests, {len(load.failures)} failures, {cycles} times 1→2→3→1, answered by"
            f" {dict(sorted(answered.items()))}, p50 {percentile_ms(load.records, 0.5):.2f} ms,"
            f" p99 {percentile_ms(load.records, 0.99):.2f} ms"
        )
        assert not load.failures, load.failures[:5]
        assert len(load.records) == PHASE_S * load.rate
        assert cycles >= 1
        assert set(answered) == {1, 2, 3}
        for record in load.records:
            assert any(
                begun <= record.ended_s and record.sent_s <= ended for begun, ended in windows[record.version]
            ), record
    assert server.stop() == 0
