"""Users who ask in a closed loop: ask, wait for the answer, ask again. Where the open-loop engine sends, they stand for its rate."""

import time
from typing import Any

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import FastHttpUser, User

from swarm import answers
from swarm.figures import CLOSED
from swarm.lane import RequestError
from swarm.session import the_session

# Channels that are made before would block the whole process while they wait.
grpc_gevent.init_gevent()

_IDLE_S = 0.5
_NOBODY = "http://nobody.invalid"
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Channels to one target share a connection otherwise; every user has its own.
    ("grpc.use_local_subchannel_pool", 1),
)


def ask_once(user: "AskingUser") -> None:
    """The one task of each user."""
    lane = the_session().lane_of(user)
    if lane is not None and lane.users_ask() and user.turn_has_come(lane):
        with lane.being_asked():
            user.ask(lane)


class AskingUser(User):
    """A user of one protocol.

    Attributes:
        protocol: one of `edgewise.study.cells.PROTOCOLS`.
    """

    abstract = True
    protocol = ""
    tasks = (ask_once,)
    _turn_s = 0.0

    def wait_time(self) -> float:
        """Seconds until the next question: those that are left of this user's share of the rate."""
        lane = the_session().lane_of(self)
        if lane is None or not lane.users_ask():
            return _IDLE_S
        per_user = lane.rate_per_user()
        if not per_user:
            return 0.0
        # As locust's constant_throughput: what a slow answer held up is never made up for.
        now_s = time.perf_counter()
        wait_s = max(0.0, self._turn_s - now_s)
        self._turn_s = max(self._turn_s, now_s) + 1.0 / per_user
        return wait_s

    def turn_has_come(self, lane: Any) -> bool:
        """Users who were started together do not ask together: the first turn comes after a part of the pace."""
        per_user = lane.rate_per_user()
        if per_user and not self._turn_s:
            self._turn_s = time.perf_counter() + lane.part() / per_user
            return False
        return True

    def ask(self, lane: Any) -> None:
        """Ask one question and fire the `request` event."""
        raise NotImplementedError


class RestUser(AskingUser, FastHttpUser):
    """Over HTTP/1.1."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        self.network_timeout = self.connection_timeout = environment.parsed_options.timeout_s
        lane = the_session().lane_of(self)
        # A test that cannot be is being ended; what is raised here would be logged as a fault of ours.
        self.host = lane.target.url if lane is not None else _NOBODY
        super().__init__(environment)

    def ask(self, lane: Any) -> None:
        with self.client.request(
            "POST",
            lane.asking.path,
            name=lane.name(CLOSED),
            data=lane.question().body,
            headers=lane.headers,
            catch_response=True,
            allow_redirects=False,
            context=lane.context(CLOSED),
        ) as answer:
            # locust's own type of request is the method; a row for a protocol and model has the same name in both engines.
            answer.request_meta["request_type"] = lane.kind
            if answer.status_code == 200:
                complaint = answers.complaint(self.protocol, answer.content or b"")
            elif answer.status_code:
                complaint = answers.refusal(answer.status_code, answer.content or b"")
            else:
                complaint = f"no answer: {type(answer.error).__name__}: {answer.error}"
            if complaint:
                answer.failure(RequestError(complaint))
            else:
                answer.success()


class GrpcUser(AskingUser):
    """Over gRPC, on a connection of its own."""

    abstract = True

    def on_start(self) -> None:
        lane = the_session().lane_of(self)
        if lane is None:
            return
        self._channel = grpc.insecure_channel(lane.target.authority, options=_CHANNEL_OPTIONS)
        self._call = self._channel.unary_unary(lane.asking.path)

    def on_stop(self) -> None:
        channel = getattr(self, "_channel", None)
        if channel is not None:
            channel.close()

    def ask(self, lane: Any) -> None:
        begun_wall_s, begun_s = time.time(), time.perf_counter()
        message, complaint = b"", ""
        try:
            message = self._call(lane.question().body, timeout=lane.patience_s, metadata=lane.metadata)
            complaint = answers.complaint(self.protocol, message)
        except grpc.RpcError as error:
            complaint = f"{error.code().name}: {error.details()}"
        self.environment.events.request.fire(
            request_type=lane.kind,
            name=lane.name(CLOSED),
            response_time=(time.perf_counter() - begun_s) * 1000.0,
            response_length=len(message),
            exception=RequestError(complaint) if complaint else None,
            context=lane.context(CLOSED),
            start_time=begun_wall_s,
            url=lane.asking.path,
            response=None,
        )
