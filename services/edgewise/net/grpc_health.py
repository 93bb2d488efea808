"""The standard gRPC health service: https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""

from collections.abc import Iterable
from functools import partial

from edgewise.core.errors import InvalidArgumentError, NotFoundError
from edgewise.net.grpc_exchange import INVALID_ARGUMENT, UNAVAILABLE, GrpcStream, Message
from edgewise.net.service_messages import parse_message
from edgewise.wire import health_pb2 as pb

_Status = pb.HealthCheckResponse


class HealthService:
    """Tells whether services answer; not before it is told so itself.

    Args:
        services: the names that may be asked for; "" is the whole server.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._serving = dict.fromkeys(services, False)
        self._watchers: dict[str, set[GrpcStream]] = {}

    @property
    def watched(self) -> bool:
        """Whether anybody wants to be told of changes."""
        return any(self._watchers.values())

    def say(self, *, serving: bool) -> None:
        """What is told of every service from now on; those who watch are told at once."""
        for name, before in self._serving.items():
            if before is serving:
                continue
            self._serving[name] = serving
            for stream in tuple(self._watchers.get(name, ())):
                stream.send(self._status(name))

    def check(self, message: bytes) -> bytes:
        """Answer one question.

        Raises:
            NotFoundError: no such service.
        """
        name = parse_message(pb.HealthCheckRequest, message).service
        if name not in self._serving:
            raise NotFoundError(f"unknown service {name[:64]!r}; expected one of {', '.join(map(repr, self._serving))}")
        return self._status(name)

    def watch(self, stream: GrpcStream) -> None:
        """Tell the state of a service now and at every change, until the client goes."""
        stream.on_message = partial(self._begin_to_watch, stream)

    def end(self) -> None:
        """End every watch: the server is about to go."""
        for watchers in self._watchers.values():
            for stream in tuple(watchers):
                stream.finish(UNAVAILABLE, "the server is shutting down")
        self._watchers.clear()

    def _begin_to_watch(self, stream: GrpcStream, message: Message) -> None:
        if stream.on_cancel is not None:
            stream.finish(INVALID_ARGUMENT, "Watch takes one request; it was sent two")
            return
        try:
            name = parse_message(pb.HealthCheckRequest, bytes(message)).service
        except InvalidArgumentError as error:
            stream.finish(INVALID_ARGUMENT, error.message)
            return
        watchers = self._watchers.setdefault(name, set()) if name in self._serving else set()
        watchers.add(stream)
        stream.on_cancel = partial(watchers.discard, stream)
        stream.send(self._status(name))

    def _status(self, name: str) -> bytes:
        serving = self._serving.get(name)
        state = _Status.SERVICE_UNKNOWN if serving is None else _Status.SERVING if serving else _Status.NOT_SERVING
        serialized: bytes = _Status(status=state).SerializeToString()
        return serialized
