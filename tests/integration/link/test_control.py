"""The control API of a running link, over HTTP and by the command line."""

import contextlib
import http.client
import io
import json
import socket
import threading

import pytest

from edgewise.cli import main


@pytest.fixture(scope="module")
def echo_port():
    """A server that echoes, in a thread."""

    def serve(sock):
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=serve, args=(sock,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


class Link:
    """A running `edgewise link`."""

    def __init__(self, server):
        words = dict(word.split("=", 1) for word in server.ready_line.split()[2:])
        self.ready = words
        self.port = int(words["link"].rpartition(":")[2])
        self.control = words.get("control", "").removeprefix("http://")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.control, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def set(self, *words):
        """`edgewise link set WORDS...`: exit code, standard output, standard error."""
        return edgewise("link", "set", "--control", self.control, *words)

    def echo(self, data, timeout_s=20):
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as sock:
            sock.sendall(data)
            return sock.recv(len(data), socket.MSG_WAITALL)


def edgewise(*words):
    """The command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def link(start_server, echo_port):
    words = ("--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{echo_port}", "--control", "127.0.0.1:0")
    server = start_server(*words, "--profile", "cable", "--seed", "7", "--name", "north", command="link")
    yield Link(server)
    assert server.stop() == 0


@pytest.fixture(autouse=True)
def _whole(request):
    yield
    if "link" in request.fixturenames:
        running = request.getfixturevalue("link")
        running.ask("PUT", "/state", {"profile": "cable", "fault": None})


def test_the_ready_line_says_where_and_what(link, echo_port):
    assert link.ready == {
        "link": f"127.0.0.1:{link.port}",
        "to": f"127.0.0.1:{echo_port}",
        "control": f"http://{link.control}",
        "profile": "cable",
        "seed": "7",
        "name": "north",
    }


def test_the_state_tells_everything(link, echo_port):
    link.echo(b"hello")
    status, headers, state = link.ask("GET", "/state")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (state["name"], state["seed"], state["to"]) == ("north", 7, f"127.0.0.1:{echo_port}")
    assert state["profile"] == "cable"
    assert state["conditions"]["rtt_ms"] == 4
    assert state["conditions"]["up_kbit_s"] == 1000
    assert state["fault"] is None
    assert state["connections"]["accepted_total"] >= 1
    assert state["bytes"]["up"]["passed_total"] >= 5


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_state_is_changed_by_json(link, method):
    status, _, state = link.ask(method, "/state", {"delay_ms": 1, "fault": "blackhole", "direction": "up"})
    assert status == 200
    assert state["conditions"]["rtt_ms"] == 2
    assert state["fault"].pop("age_s") >= 0
    assert state["fault"] == {"fault": "blackhole", "direction": "up", "newcomers": "silent", "held": "deliver"}
    status, _, state = link.ask("POST", "/heal")
    assert (status, state["fault"]) == (200, None)
    assert state["conditions"]["rtt_ms"] == 2
    assert link.echo(b"hello") == b"hello"


def test_the_profiles_have_their_sources(link):
    _, _, told = link.ask("GET", "/profiles")
    assert told["profiles"]["4g"]["rtt_ms"] == 40
    assert "Lighthouse" in told["profiles"]["4g"]["source"]
    assert told["profiles"]["edge-lossy"]["loss_ratio"] == 0.01
    assert set(told["faults"]) >= {"blackhole", "reset", "drip"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "/state", {"fault": "fire"}, 400, "fault is 'fire'; expected one of blackhole"),
        ("POST", "/state", {"profile": "5g"}, 400, "there is no profile '5g'; expected one of none, lan"),
        ("POST", "/state", None, 400, "the body is not JSON; expected an object such as"),
        ("GET", "/stat", None, 404, "there is only GET /state"),
        ("DELETE", "/state", None, 405, "/state takes GET, POST, PUT"),
        ("GET", "/heal", None, 405, "/heal takes POST"),
        ("POST", "/state", {"profile": "x" * 70_000}, 413, ""),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(link, method, path, body, status, said):
    before = link.ask("GET", "/state")[2]["conditions"]
    answered, headers, told = link.ask(method, path, body)
    assert answered == status
    assert said in told["error"]
    if status == 405:
        assert headers["allow"] == said.rpartition("takes ")[2]
    assert link.ask("GET", "/state")[2]["conditions"] == before


def test_the_command_line_changes_and_shows(link):
    code, out, err = link.set("blackhole", "--direction", "down", "--newcomers", "accept")
    assert (code, err) == (0, "")
    assert out == (
        "north: profile cable, delay 2 ms up 2 ms down, jitter 0 ms, loss 0 %, 1000 kbit/s up 6000 kbit/s down; "
        "fault=blackhole direction=down newcomers=accept held=deliver\n"
    )
    with pytest.raises(TimeoutError):
        link.echo(b"hello", timeout_s=0.2)
    assert link.set("heal")[0] == 0
    assert link.echo(b"hello") == b"hello"
    assert "delay 30 ms up 30 ms down" in link.set("rtt", "60ms")[1]
    assert "profile 3g, delay 100 ms" in link.set("profile", "3g")[1]
    code, out, _ = edgewise("link", "show", "--control", link.control)
    assert (code, json.loads(out)["profile"]) == (0, "3g")
    code, out, _ = edgewise("link", "--control", link.control, "show", "--profiles")
    assert (code, json.loads(out)["profiles"]["geo"]["rtt_ms"]) == (0, 600)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("link",), 1, "name where clients connect and the server: --listen HOST:PORT --to HOST:PORT"),
        (("link", "--listen", "9000"), 2, "found '9000', expected HOST:PORT"),
        (("link", "--listen", "::1:9000"), 2, "found '::1:9000', expected HOST:PORT, such as 127.0.0.1:9000 or [::1]"),
        (("link", "--listen", "h:0", "--to", "h:0"), 1, "--to has port 0"),
        (("link", "--listen", "127.0.0.1:0", "--to", "h:1", "--profile", "5g"), 1, "there is no profile '5g'"),
        (("link", "--listen", "127.0.0.1:0", "--to", "h:1", "--schedule", "nofile"), 1, "neither a file"),
        (("link", "--listen", "127.0.0.1:0", "--to", "h:1", "--schedule", "1s:mend"), 1, "unknown 'mend'"),
        (("link", "set", "melt"), 1, "unknown 'melt'; expected one of blackhole"),
        (("link", "set", "heal", "--control", "none"), 1, "--control none names no link"),
        (("link", "set", "heal", "--control", "127.0.0.1:1"), 1, "no link answers at 127.0.0.1:1; name the --control"),
        (("link", "show", "--control", "127.0.0.1:1"), 1, "no link answers at 127.0.0.1:1"),
    ],
)
def test_wrong_words_are_refused_with_what_would_be_right(words, code, said):
    found, out, err = edgewise(*words)
    assert found == code
    assert said in err
    assert out == ""
    assert "Traceback" not in err


def test_a_taken_port_is_named(link, echo_port):
    for words in (("--listen", f"127.0.0.1:{echo_port}"), ("--listen", "127.0.0.1:0", "--control", link.control)):
        code, _, err = edgewise("link", *words, "--to", "127.0.0.1:1", *(("--control", "none") * (len(words) == 2)))
        assert code == 1
        assert "cannot listen on 127.0.0.1:" in err
        assert f"choose another --{'control' if len(words) == 4 else 'listen'} HOST:PORT" in err
        assert "Traceback" not in err


def test_a_link_without_a_control_api_follows_its_schedule(start_server, echo_port, tmp_path):
    plan = tmp_path / "plan"
    plan.write_text("0s: refuse  # from the beginning\n")
    words = ("--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{echo_port}", "--control", "none", "--schedule", str(plan))
    server = start_server(*words, command="link")
    running = Link(server)
    assert "control" not in running.ready
    with pytest.raises(ConnectionRefusedError):  # noqa: PT012 - the schedule begins when the link does
        while True:
            running.echo(b"x")
    assert server.stop() == 0
