"""The gateway's gRPC front door: both protocols' services, passed on as bytes; health and reflection of its own.

A message is not decoded: the model's name is looked up in its first bytes, and everything else goes to the site as it
came. What a call's head comes to is kept with the head, so a client that repeats it costs one look. No task is made for
a call.
"""

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from edgewise.core.errors import EdgewiseError, UnimplementedError
from edgewise.gateway.grpc_call import GrpcCall, refuse
from edgewise.gateway.grpc_methods import FORWARDED, RELOAD, SERVER_LIVE, SERVER_READY, SERVICES, ForwardedMethod
from edgewise.gateway.grpc_request import MAX_REQUEST_ID_BYTES, GrpcHeads
from edgewise.net.grpc_answer import can_be_sent
from edgewise.net.grpc_call import UnaryCall
from edgewise.net.grpc_exchange import GrpcExchange, GrpcStream, Message, Method, StreamingMethod, UnaryMethod
from edgewise.net.grpc_health import HealthService
from edgewise.net.grpc_over_http import HttpCall
from edgewise.protocols.grpc_status import STATUS

if TYPE_CHECKING:
    from edgewise.gateway.service import GatewayService

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
_REFLECTION: Final = "/grpc.reflection."
_LOOK_AT_HEALTH_S: Final = 0.25
_LIVE: Final = b"\x08\x01"  # the first field of both answers is the boolean
_NOT_READY: Final = b""


class GrpcDoor:
    """Finds the method of a call by its full name; hand it to `GrpcServer` as its lookup.

    Args:
        service: what both doors share.

    Attributes:
        service, carrier: as given.
        logs: each call is written to the request log.
        id_prefix, sequence: what ids of calls without one are made of.
        health: what the health service tells.
    """

    def __init__(self, service: "GatewayService") -> None:
        self.service = service
        self.carrier = service.carrier
        self.logs = service.request_log.enabled
        self.id_prefix = secrets.token_hex(6).encode("ascii") + b"-"
        self.sequence = 0
        self.health = HealthService(("", *SERVICES))
        self._heads = GrpcHeads()
        self._looking: asyncio.TimerHandle | None = None
        self._reflection: dict[str, Method] = {}
        self._methods: dict[str, Method] = {
            **{name: UnaryMethod(partial(self._forward, method)) for name, method in FORWARDED.items()},
            RELOAD: UnaryMethod(self._refuse_reload),
            SERVER_LIVE: UnaryMethod(lambda exchange: exchange.respond(_LIVE)),
            SERVER_READY: UnaryMethod(lambda exchange: exchange.respond(_LIVE if service.ready() else _NOT_READY)),
            f"/{HEALTH_SERVICE}/Check": UnaryMethod(self._check_health),
            f"/{HEALTH_SERVICE}/Watch": StreamingMethod(self._watch_health),
        }

    def __call__(self, name: str) -> Method | None:
        """The method of that name; None for one that is not served here."""
        found = self._methods.get(name)
        if found is None and name.startswith(_REFLECTION):
            if not self._reflection:
                # It pulls in every descriptor, which few gateways are ever asked for.
                from edgewise.net import grpc_reflection  # noqa: PLC0415
                from edgewise.protocols.reflection import public_pool  # noqa: PLC0415

                methods = grpc_reflection.methods((*SERVICES, HEALTH_SERVICE), public_pool())
                self._reflection = {
                    full_name: StreamingMethod(partial(self._with_key, opened)) for full_name, opened in methods.items()
                }
            return self._reflection.get(name)
        return found

    # --- what goes to a site

    def _forward(self, method: ForwardedMethod, exchange: GrpcExchange) -> None:
        call = cast("UnaryCall | HttpCall", exchange)
        head = call.head
        understood = head.note
        service = self.service
        try:
            if understood is None or understood.asked.config is not service.config:
                understood = head.note = self._heads.read(head, method, service.config)
            if service.api_keys is not None:
                metadata = head.metadata
                service.check_key(metadata.get(b"authorization"), metadata.get(b"x-api-key"))
            GrpcCall(self, call, method, understood)
        except EdgewiseError as error:
            self._turn_away(call, error)

    def _turn_away(self, call: UnaryCall | HttpCall, error: EdgewiseError) -> None:
        self.service.metrics.refused(error)
        request_id = call.metadata.get(b"x-request-id", b"")[:MAX_REQUEST_ID_BYTES]
        if not can_be_sent((b"x-request-id", request_id)):
            request_id = b""
        refuse(call, error, request_id, 0, "")

    # --- what the gateway answers itself

    def _refuse_reload(self, exchange: GrpcExchange) -> None:
        message = "the gateway does not know which site is meant; send HandleReloadConfigRequest to the site itself"
        self._turn_away(cast("UnaryCall | HttpCall", exchange), UnimplementedError(message))

    def _check_health(self, exchange: GrpcExchange) -> None:
        self.health.say(serving=self.service.ready())
        try:
            exchange.respond(self.health.check(bytes(exchange.message)))
        except EdgewiseError as error:
            exchange.fail(STATUS[error.code], error.message)

    def _watch_health(self, stream: GrpcStream) -> None:
        self.health.watch(stream)
        begin = stream.on_message

        def asked(message: Message) -> None:
            self.health.say(serving=self.service.ready())
            if begin is not None:
                begin(message)
            if self._looking is None:
                self._look_later()

        stream.on_message = asked

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(_LOOK_AT_HEALTH_S, self._look_at_health)

    def _look_at_health(self) -> None:
        """Tell those who watch; nobody tells us when a link that is down makes the difference."""
        self.health.say(serving=self.service.ready())
        self._looking = None
        if self.health.watched:
            self._look_later()

    def _with_key(self, opened: Callable[[GrpcStream], None], stream: GrpcStream) -> None:
        metadata = stream.metadata
        try:
            self.service.check_key(metadata.get(b"authorization"), metadata.get(b"x-api-key"))
        except EdgewiseError as error:
            stream.finish(STATUS[error.code], error.message)
            return
        opened(stream)
