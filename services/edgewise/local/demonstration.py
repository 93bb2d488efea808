"""Predictions through the gateway while the link to the cloud is whole, cut, and healed, told as tables."""

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewise.client import Client
from edgewise.client.table import Row, render
from edgewise.core.errors import EdgewiseError, UnavailableError
from edgewise.local.parts import CONTROL_PORT, HOST, REST_PORT

MODEL = "pets"
BACK_TIMEOUT_S = 20.0


@dataclass(slots=True)
class Phase:
    """What was asked while the link was in one condition.

    Attributes:
        name: for people.
        rows: the answers.
        failures: one line for each request without an answer.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def demonstrate(photographs: Sequence[Path]) -> int:
    """Ask what is on the photographs with the link whole, cut in the middle of a request, and healed.

    Returns: how many requests had no answer.
    Raises: UnavailableError: the gateway did not come back to the cloud, or the link does not obey.
    """
    url = f"http://{HOST}:{REST_PORT}"
    with Client(url, timeout_s=10.0) as client:
        whole = _ask(client, photographs, "link whole")
        print("\ncutting the link to the cloud, in the middle of a request", flush=True)
        # The first request of the round is on its way to the cloud when the link goes silent.
        cut = threading.Timer(0.01, _set_link, [{"fault": "blackhole"}])
        cut.start()
        silent = _ask(client, photographs, "link cut")
        cut.join()
        print("\nhealing the link", flush=True)
        healed_s = time.monotonic()
        _set_link({"fault": "none"})
        _wait_until_up()
        print(f"the gateway took the cloud back after {time.monotonic() - healed_s:.1f} s", flush=True)
        healed = _ask(client, photographs, "link healed")
    phases = (whole, silent, healed)
    print(f"\n{_summary(phases)}", flush=True)
    return sum(len(phase.failures) for phase in phases)


def _ask(client: Client, photographs: Sequence[Path], name: str) -> Phase:
    phase = Phase(name)
    for path in photographs:
        try:
            phase.rows.append(Row(path.name, client.predict(MODEL, path)))
        except EdgewiseError as error:
            phase.failures.append(f"{path.name}: {error.message}")
    print(f"\n{name}\n{render(phase.rows) if phase.rows else ''}", flush=True)
    for failure in phase.failures:
        print(failure, flush=True)
    return phase


def _summary(phases: Sequence[Phase]) -> str:
    lines = [("", "asked", "answered", "by", "median ms", "worst ms")]
    for phase in phases:
        millis = sorted(row.prediction.latency_s * 1e3 for row in phase.rows)
        sites = Counter(row.prediction.site for row in phase.rows)
        lines.append(
            (
                phase.name,
                str(len(phase.rows) + len(phase.failures)),
                str(len(phase.rows)),
                ", ".join(f"{site} {count}" for site, count in sites.most_common()) or "-",
                f"{millis[len(millis) // 2]:.1f}" if millis else "-",
                f"{millis[-1]:.1f}" if millis else "-",
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _set_link(change: dict[str, str]) -> None:
    status, body = _request(CONTROL_PORT, "PUT", "/state", json.dumps(change))
    if status != http.HTTPStatus.OK:
        raise UnavailableError(f"the link refused {change}: {body.decode(errors='replace')}")


def _wait_until_up() -> None:
    deadline_s = time.monotonic() + BACK_TIMEOUT_S
    states: dict[str, Any] = {}
    while time.monotonic() < deadline_s:
        status, body = _request(REST_PORT, "GET", "/edgewise/v1/links", None)
        if status == http.HTTPStatus.OK:
            states = {link["name"]: link["state"] for link in json.loads(body)["sites"]}
            if set(states.values()) == {"UP"}:
                return
        time.sleep(0.05)
    raise UnavailableError(f"the gateway did not take every site back within {BACK_TIMEOUT_S:.0f} s: {states}")


def _request(port: int, method: str, path: str, body: str | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body, {"content-type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"nothing answers on port {port}: {error}") from error
