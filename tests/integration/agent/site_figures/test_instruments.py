"""What the figures of rollouts are measured with is right: the counted bytes are those that passed, the bad link breaks, and the networks
share and fail as they say.
"""

import socket
import socketserver
import threading

import numpy as np
import onnxruntime
import pytest
from bench_rollout.networks import ROW, Network, write
from bench_rollout.relay import Badness, Relay

from edgewise.protocols.chunking import chunks_of

LARGE_BYTES = 300_000


class Echo(socketserver.BaseRequestHandler):
    """Says what it is told."""

    def handle(self):
        try:
            while data := self.request.recv(65_536):
                self.request.sendall(data)
        except ConnectionResetError:
            return


@pytest.fixture
def echo():
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def read(connection, count):
    data = bytearray()
    while len(data) < count:
        data += connection.recv(count - len(data))
    return bytes(data)


def test_every_byte_is_counted_once_each_way(echo):
    relay = Relay(echo)
    said = np.random.default_rng(1).bytes(LARGE_BYTES)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as connection:
        connection.sendall(said)
        assert read(connection, LARGE_BYTES) == said
    assert (relay.up_bytes, relay.down_bytes) == (LARGE_BYTES, LARGE_BYTES)
    assert relay.cuts == 0


def test_a_bad_link_resets_what_is_open_and_a_healed_one_does_not(echo):
    relay = Relay(echo)
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as connection:
        connection.sendall(b"there?")
        assert read(connection, 6) == b"there?"
        with relay.bad(Badness(bytes_per_s=1e9, every_s=0.3, away_s=0.1)), pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert relay.cuts >= 1
    assert relay.broken >= 1
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as connection:
        connection.sendall(b"again?")
        assert read(connection, 6) == b"again?"


def test_the_next_version_shares_what_it_says_though_nothing_lies_where_it_lay(tmp_path):
    network = Network(tables=2, table_bytes=5_000_000, changed_share=0.1)
    first, second = (write(tmp_path, "net", version, network) / "model.onnx" for version in (1, 2))
    known = {chunk.sha256 for chunk in chunks_of(first)}
    new_bytes = sum(chunk.size_bytes for chunk in chunks_of(second) if chunk.sha256 not in known)
    assert 0.1 <= new_bytes / second.stat().st_size < 0.2
    assert first.read_bytes()[:4096] != second.read_bytes()[:4096]


def test_the_bad_network_is_right_about_its_golden_input_and_fails_on_what_apps_ask(tmp_path):
    good, bad = (
        onnxruntime.InferenceSession(write(tmp_path, "net", version, network) / "model.onnx")
        for version, network in ((1, Network(table_bytes=4000)), (2, Network(table_bytes=4000, fails=True)))
    )
    zeros, row = np.zeros((1, 8), np.float32), np.array([ROW], np.float32)
    for session in (good, bad):
        assert session.run(None, {"x": zeros})[0].shape == (1, 2)
    assert good.run(None, {"x": row})[0].shape == (1, 2)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail):
        bad.run(None, {"x": row})
