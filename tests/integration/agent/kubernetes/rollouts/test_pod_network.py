"""Pods are asked over real sockets, with and without TLS, and none of them can make the agent wait."""

import http.server
import ssl
import threading

import pytest

from edgewise.agent.kubernetes import pod_door
from edgewise.agent.kubernetes.pod_door import PodNetwork
from edgewise.core.errors import InvalidArgumentError
from support.certificates import Authority
from support.sockets import free_port


class Pod:
    """A server on an address as a pod has one, and what the API says of it."""

    def __init__(self, answer, certificate=None):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):  # noqa: N805
                self.asked.append((handler.path, handler.headers.get("Authorization")))
                answer(handler)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that refuses the certificate, or had enough."""

        self.asked = []
        self.server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.item = pod_item(self.server.server_address[1], tls=certificate is not None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def pod_item(port, *, tls=False, address="127.0.0.1"):
    args = ["serve", *(["--tls-cert=/x"] if tls else [])]
    container = {"name": "model-server", "args": args, "ports": [{"name": "rest", "containerPort": port}]}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container]}, "status": {"podIP": address}}


def say(handler, status=200, body=b"hello"):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_what_a_pod_says_is_handed_on():
    with Pod(say) as pod:
        answer = PodNetwork(key="k").get(pod.item, "/metrics")
    assert (answer.status, answer.body) == (200, b"hello")
    assert pod.asked == [("/metrics", "Bearer k")]


def test_an_error_is_an_answer():
    with Pod(lambda handler: say(handler, 404, b"{}")) as pod:
        assert PodNetwork().get(pod.item, "/v1/models/pets").status == 404


def test_who_does_not_answer_is_nobody():
    assert PodNetwork().get(pod_item(free_port()), "/metrics") is None
    assert PodNetwork().get(pod_item(1, address=""), "/metrics") is None


def test_a_pod_that_keeps_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(pod_door, "TIMEOUT_S", 0.1)
    over = threading.Event()
    with Pod(lambda _: over.wait()) as pod:
        assert PodNetwork().get(pod.item, "/metrics") is None
        over.set()


def test_a_pod_that_talks_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(pod_door, "MAX_ANSWER_BYTES", 1 << 16)

    def talk(handler):
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(1 << 14))

    with Pod(talk) as pod:
        assert PodNetwork().get(pod.item, "/metrics") is None


def test_the_certificate_is_checked_by_the_authority_and_for_the_service(tmp_path):
    authority = Authority(tmp_path, "ours")
    right = authority.leaf("model-server", valid_for="DNS:model-server")
    other = authority.leaf("other", valid_for="DNS:gateway")
    with Pod(say, right) as pod, Pod(say, other) as foreign:
        assert PodNetwork(str(authority.certificate)).get(pod.item, "/metrics").body == b"hello"
        assert PodNetwork(str(authority.certificate)).get(foreign.item, "/metrics") is None
        assert PodNetwork().get(pod.item, "/metrics") is None


def test_a_file_without_certificates_is_refused_in_words(tmp_path):
    (tmp_path / "ca.crt").write_text("nothing")
    with pytest.raises(InvalidArgumentError, match="holds no certificates"):
        PodNetwork(str(tmp_path / "ca.crt"))
