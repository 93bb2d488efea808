"""The control API: what a link is told and asked over HTTP.

    GET  /state      everything about the link
    POST /state      change it (PUT is the same): {"profile": "3g"}, {"delay_ms": 30}, {"fault": "blackhole", "direction": "up"}
    POST /heal       end the fault
    GET  /profiles   the profiles with their sources

Whoever reaches it may do everything: it belongs on an address that only the tester reaches.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import orjson

from edgewise.core.errors import EdgewiseError, InvalidArgumentError
from edgewise.link.changes import change_from
from edgewise.link.emulator import LinkEmulator
from edgewise.link.faults import MEANINGS
from edgewise.link.profiles import PROFILES
from edgewise.net.exchange import Exchange
from edgewise.net.http_limits import HttpLimits

LIMITS: Final = HttpLimits(max_connections=256, max_body_bytes=64 * 1024)
HEADERS: Final = ((b"content-type", b"application/json"),)
_PATHS: Final = "GET /state, POST /state, POST /heal, GET /profiles"


class ControlDoor:
    """Answers the control API's requests.

    Args:
        link: the link to control.
    """

    def __init__(self, link: LinkEmulator) -> None:
        self._link = link
        self._answers: dict[bytes, dict[bytes, Callable[[Exchange], dict[str, Any]]]] = {
            b"/state": {b"GET": self._state, b"POST": self._change, b"PUT": self._change},
            b"/heal": {b"POST": self._heal},
            b"/profiles": {b"GET": lambda _exchange: profiles_described()},
        }

    def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        methods = self._answers.get(exchange.path)
        if methods is None:
            exchange.respond(404, HEADERS, error_body(404, f"there is only {_PATHS}"))
            return
        answer = methods.get(exchange.method)
        if answer is None:
            allowed = b", ".join(methods)
            body = error_body(405, f"{exchange.path.decode()} takes {allowed.decode()}")
            exchange.respond(405, [*HEADERS, (b"allow", allowed)], body)
            return
        try:
            body = orjson.dumps(answer(exchange), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        except EdgewiseError as error:
            exchange.respond(400, HEADERS, error_body(400, error.message))
            return
        exchange.respond(200, HEADERS, body)

    def _state(self, _exchange: Exchange) -> dict[str, Any]:
        return self._link.state()

    def _change(self, exchange: Exchange) -> dict[str, Any]:
        try:
            said = orjson.loads(exchange.body)
        except orjson.JSONDecodeError:
            raise InvalidArgumentError(
                'the body is not JSON; expected an object such as {"fault": "blackhole", "direction": "up"}'
            ) from None
        self._link.apply(change_from(said))
        return self._link.state()

    def _heal(self, _exchange: Exchange) -> dict[str, Any]:
        self._link.heal()
        return self._link.state()


def profiles_described() -> dict[str, Any]:
    """Every profile and every kind of fault, as the control API shows them."""
    return {
        "profiles": {
            profile.name: {
                "rtt_ms": profile.conditions.rtt_ms,
                **asdict(profile.conditions),
                "source": profile.source,
                "chosen": profile.chosen,
            }
            for profile in PROFILES.values()
        },
        "faults": {kind.value: meaning for kind, meaning in MEANINGS.items()},
    }


def error_body(_status: int, reason: str) -> bytes:
    """The body of an answer that says what was wrong."""
    return orjson.dumps({"error": reason}, option=orjson.OPT_APPEND_NEWLINE)
