"""What `edgewise link set` and `edgewise link show` do: one request to a link's control API."""

import asyncio
from typing import Any, Final

import orjson

from edgewise.core.errors import EdgewiseError, InternalError, InvalidArgumentError, UnavailableError
from edgewise.link.changes import change_from
from edgewise.link.emulator import shown_address
from edgewise.net.errors import HttpClientError
from edgewise.net.http_client import HttpClient

_TIMEOUT_S: Final = 10.0


def set_link(control: tuple[str, int], said: dict[str, object]) -> int:
    """Change a link and print one line that says what it is like now.

    Args:
        control: host and port of its control API.
        said: as `changes.change_from`.
    Returns: the exit code, 0.
    Raises: EdgewiseError: it could not be changed; the message says why.
    """
    change_from(said)
    state = _ask(control, b"POST", b"/state", orjson.dumps(said))
    print(_line(state))  # noqa: T201
    return 0


def show_link(control: tuple[str, int], path: bytes = b"/state") -> int:
    """Print what a link says of itself, as JSON.

    Returns: the exit code, 0.
    Raises: EdgewiseError: it did not answer.
    """
    print(orjson.dumps(_ask(control, b"GET", path, b""), option=orjson.OPT_INDENT_2).decode())  # noqa: T201
    return 0


def _ask(control: tuple[str, int], method: bytes, path: bytes, body: bytes) -> dict[str, Any]:
    try:
        status, answer = asyncio.run(_request(control, method, path, body))
    except (HttpClientError, OSError):
        raise UnavailableError(
            f"no link answers at {shown_address(control)}; name the --control HOST:PORT of a running `edgewise link`"
        ) from None
    try:
        told = orjson.loads(answer)
    except orjson.JSONDecodeError:
        told = None
    if not isinstance(told, dict) or (status != 200 and "error" not in told):
        raise InternalError(f"what answers at {shown_address(control)} is no link; name another --control HOST:PORT")
    if status != 200:
        raise _refusal(status, str(told["error"]))
    return told


def _refusal(status: int, message: str) -> EdgewiseError:
    return InvalidArgumentError(message) if status == 400 else InternalError(message)


async def _request(control: tuple[str, int], method: bytes, path: bytes, body: bytes) -> tuple[int, bytes]:
    async with HttpClient(*control) as client:
        response = await client.request(
            method, path, [(b"content-type", b"application/json")], body, timeout_s=_TIMEOUT_S
        )
        return response.status, bytes(response.body)


def _line(state: dict[str, Any]) -> str:
    conditions = state["conditions"]
    fault = state["fault"]
    said = "no fault" if fault is None else " ".join(f"{key}={value}" for key, value in fault.items() if key != "age_s")
    rates = [
        "unlimited" if conditions[f"{way}_kbit_s"] is None else f"{conditions[f'{way}_kbit_s']:g} kbit/s"
        for way in ("up", "down")
    ]
    return (
        f"{state['name']}: profile {state['profile']}, delay {conditions['delay_up_ms']:g} ms up "
        f"{conditions['delay_down_ms']:g} ms down, jitter {conditions['jitter_ms']:g} ms, "
        f"loss {conditions['loss_ratio'] * 100:g} %, {rates[0]} up {rates[1]} down; {said}"
    )
