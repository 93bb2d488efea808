"""What health's Watch answers to what is no request."""

from edgewise.net.grpc_health import HealthService


class Stream:
    """The server's side of a call, on paper."""

    def __init__(self):
        self.on_message = self.on_cancel = None
        self.finished = []

    def finish(self, status=0, message=""):
        self.finished.append((status, message))


def test_what_is_no_request_ends_the_watch():
    stream = Stream()
    HealthService(("",)).watch(stream)
    stream.on_message(b"\xff")
    assert stream.finished == [(3, "The request is not a serialized HealthCheckRequest")]
    assert stream.on_cancel is None
