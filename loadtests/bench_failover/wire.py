"""A wire between two network namespaces: packets with a delay, and on command without them.

    python wire.py NAMESPACE_A NAMESPACE_B RTT_MS

Each end is a TUN device `wire0`; one process carries the packets from one to the other. So the kernels' own TCP runs over
the delay, with its handshake, its slow start and its retransmissions; nothing answers in place of the far side. (The
`netem` queue would do it inside the kernel, where there is one.)

Commands are lines of JSON on standard input, each replaces the whole state and is confirmed by a line with the time at
which it holds: `{}` is a sound wire; `{"drop": "both"|"up"|"down"}`, `{"over_bytes": 1200}` drops larger packets,
`{"reset": true}` answers each TCP packet with a reset, `{"bits_per_s": 64000}` bounds each way. Up is from A to B.

A cut is made at A's end: what has left A before arrives, what comes from B does not.
"""

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

DEVICE: Final = "wire0"
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN_NO_PI: Final = 0x1001
_CLONE_NEWNET: Final = 0x40000000
# Packets of one end taken before the other end has its turn.
_BURST: Final = 64
# What a slow line holds before it drops, as a home router would.
_QUEUE_BYTES: Final = 64 * 1024


def open_device(namespace: str) -> int:
    """Make the end of the wire in a namespace of `ip netns`. Moves this process there."""
    with (Path("/run/netns") / namespace).open() as entry:
        if ctypes.CDLL(None, use_errno=True).setns(entry.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns to {namespace} failed")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", DEVICE.encode(), _IFF_TUN_NO_PI))
    return fd


def checksum(data: bytes) -> int:
    """The Internet checksum. Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def reset_for(packet: bytes) -> bytes | None:
    """The reset that a host sends for a TCP packet of no connection; None for other packets. Source: RFC 9293, 3.10.7.1."""
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    head = (packet[0] & 15) * 4
    source, target, sequence, acknowledged, offset_flags = struct.unpack_from("!HHIIH", packet, head)
    flags = offset_flags & 0x3F
    if flags & 0x04:
        return None
    if flags & 0x10:
        sequence, acknowledged, flags = acknowledged, 0, 0x04
    else:
        length = len(packet) - head - (offset_flags >> 12) * 4 + (flags & 1) + (flags >> 1 & 1)
        sequence, acknowledged, flags = 0, (sequence + length) & 0xFFFFFFFF, 0x14
    addresses = packet[16:20] + packet[12:16]
    segment = struct.pack("!HHIIHHHH", target, source, sequence, acknowledged, 5 << 12 | flags, 0, 0, 0)
    total = checksum(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(segment)) + segment)
    segment = segment[:16] + struct.pack("!H", total) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + addresses
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + segment


class Way:
    """One direction: packets wait here for their time."""

    def __init__(self, name: str, source: int, target: int, delay_s: float) -> None:
        self.name = name
        self.source = source
        self.target = target
        self.delay_s = delay_s
        self.waiting: deque[tuple[float, bytes]] = deque()
        self.free_s = 0.0

    def take(self, state: dict[str, Any]) -> None:
        """Read what has come and keep what passes."""
        over_bytes = state.get("over_bytes", 1 << 20)
        bits_per_s = state.get("bits_per_s", 0)
        # A cut is at A's end: up it is before the delay, down it is after it.
        dropped = self.name == "up" and state.get("drop") in {"both", "up"}
        reset = state.get("reset", False)
        for _ in range(_BURST):
            try:
                packet = os.read(self.source, 65_536)
            except OSError:  # nothing more, or the device is down
                return
            if dropped or len(packet) > over_bytes:
                continue
            if reset:
                if (answer := reset_for(packet)) is not None:
                    self._write(self.source, answer)
                continue
            due_s = time.monotonic()
            if bits_per_s:
                if (self.free_s - due_s) * bits_per_s / 8 > _QUEUE_BYTES:
                    continue
                self.free_s = due_s = max(due_s, self.free_s) + len(packet) * 8 / bits_per_s
            self.waiting.append((due_s + self.delay_s, packet))

    def release(self, now_s: float, state: dict[str, Any]) -> None:
        """Hand over what is due."""
        waiting = self.waiting
        dropped = self.name == "down" and state.get("drop") in {"both", "down"}
        while waiting and waiting[0][0] <= now_s:
            packet = waiting.popleft()[1]
            if not dropped:
                self._write(self.target, packet)

    @staticmethod
    def _write(fd: int, packet: bytes) -> None:
        try:
            os.write(fd, packet)
        except OSError:  # the device is down
            return


def main() -> None:
    """Carry packets until standard input ends."""
    name_a, name_b, rtt_ms = sys.argv[1:]
    delay_s = float(rtt_ms) / 2e3
    a, b = open_device(name_a), open_device(name_b)
    ways = (Way("up", a, b, delay_s), Way("down", b, a, delay_s))
    state: dict[str, Any] = {}
    print(json.dumps({"ready": True}), flush=True)
    while True:
        due_s = min((way.waiting[0][0] for way in ways if way.waiting), default=None)
        timeout_s = None if due_s is None else max(0.0, due_s - time.monotonic())
        readable, _, _ = select.select([a, b, 0], [], [], timeout_s)
        if 0 in readable:
            line = sys.stdin.buffer.readline()
            if not line:
                return
            state = json.loads(line)
            for way in ways:
                way.free_s = 0.0
            print(json.dumps({"at_s": time.monotonic()}), flush=True)
        now_s = time.monotonic()
        for way in ways:
            if way.source in readable:
                way.take(state)
            way.release(now_s, state)


if __name__ == "__main__":
    main()
