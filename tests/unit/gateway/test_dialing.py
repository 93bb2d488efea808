"""A connection whose handshake had to be sent again is made once more."""

import asyncio
import socket
import struct

import pytest

from edgewise.gateway import dialing

ADDRESS = (socket.AF_INET, ("127.0.0.1", 1))


class Connected:
    def __init__(self, retransmitted):
        self.retransmitted = retransmitted
        self.closed = False

    def getsockopt(self, level, name, size):
        assert (level, name) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        # tcpi_total_retrans is the last field of the first 104 bytes of struct tcp_info.
        return bytes(100) + struct.pack("=I", self.retransmitted)

    def close(self):
        self.closed = True


@pytest.mark.parametrize(("retransmitted", "dialled"), [([0], 1), ([1, 0], 2), ([2, 1], 2)])
def test_at_most_one_more(monkeypatch, retransmitted, dialled):
    made = []

    async def connect(address, user_timeout_ms):
        assert (address, user_timeout_ms) == (ADDRESS, 7)
        made.append(Connected(retransmitted[len(made)]))
        return made[-1]

    monkeypatch.setattr(dialing, "_connect", connect)
    given = asyncio.run(dialing.dial(ADDRESS, user_timeout_ms=7))
    assert len(made) == dialled
    assert given is made[-1]
    assert [one.closed for one in made] == [True] * (dialled - 1) + [False]


def test_nobody_listens():
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            await dialing.dial((socket.AF_INET, address), user_timeout_ms=1000)

    asyncio.run(main())
