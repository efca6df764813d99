"""The sockets of a job -> bytes that its TCP connections sent and received, loopback told apart.

Linux counts network bytes by interface, not by process. The kernel's socket diagnostics tell each TCP connection's
bytes, and `/proc` which sockets are the job's. Connections that open and close between two readings are missed, and so
is all that is not TCP: the sums are lower bounds.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator

from suffice.measure.meters.tree import ProcessTree

SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
INET_DIAG_INFO = 2
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBBI48s")
MESSAGE_BYTES = 72
BYTES_ACKED = struct.Struct("=QQ")
BYTES_ACKED_AT = 120
LOOPBACK = (b"\x7f", b"\0" * 15 + b"\x01", b"\0" * 10 + b"\xff\xff\x7f")
COST_LIMIT = 0.005


class NetworkMeter:
    """Bytes so far, never falling: connections that have closed keep the count that was last seen."""

    key = "network"

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int, bool]] = {}
        self.closed = {"sent_bytes": 0.0, "received_bytes": 0.0, "loopback_bytes": 0.0}
        self.next_look_s = 0.0
        self.unavailable = self._probe()

    def _probe(self) -> str | None:
        try:
            list(_connections(socket.AF_INET))
        except OSError as error:
            return f"the kernel's socket diagnostics can't be asked here ({error}); it needs CONFIG_INET_DIAG"
        return None

    def read(self, tree: ProcessTree) -> dict[str, float]:
        """`sent_bytes` and `received_bytes` to other machines, and `loopback_bytes` within this one."""
        begun_s = time.monotonic()
        if self.unavailable is None and begun_s >= self.next_look_s:
            self._look(_socket_inodes(tree))
            self.next_look_s = begun_s + (time.monotonic() - begun_s) / COST_LIMIT
        totals = dict(self.closed)
        for counts in self.seen.values():
            _add(totals, counts)
        return totals

    def _look(self, inodes: set[int]) -> None:
        now = {
            inode: counts
            for family in (socket.AF_INET, socket.AF_INET6)
            for inode, counts in _connections(family)
            if inode in inodes
        }
        for inode in self.seen.keys() - now.keys():
            _add(self.closed, self.seen[inode])
        self.seen = now


def _add(totals: dict[str, float], counts: tuple[int, int, bool]) -> None:
    sent, received, loopback = counts
    if loopback:
        # Both ends of a connection within the job would count it twice; the sender's end alone counts it once.
        totals["loopback_bytes"] += sent
    else:
        totals["sent_bytes"] += sent
        totals["received_bytes"] += received


def _socket_inodes(tree: ProcessTree) -> set[int]:
    inodes = set()
    for process in tree.refresh():
        folder = f"/proc/{process.pid}/fd"
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            try:
                link = os.readlink(f"{folder}/{name}")
            except OSError:
                continue
            if link.startswith("socket:["):
                inodes.add(int(link[8:-1]))
    return inodes


def _connections(family: int) -> Iterator[tuple[int, tuple[int, int, bool]]]:
    """Each TCP connection of this network namespace: inode, (bytes sent, bytes received, whether to loopback)."""
    states = 0xFFF & ~(1 << 10)  # all but listening ones
    body = REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0, states, bytes(48))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 4) as diagnostics:
        diagnostics.settimeout(0.2)
        diagnostics.sendto(
            HEADER.pack(HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0) + body, (0, 0)
        )
        while True:
            for kind, message in _messages(diagnostics.recv(1 << 18)):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", message)[0], "socket diagnostics")
                counts = _counts(message)
                if counts is not None:
                    yield struct.unpack_from("=I", message, MESSAGE_BYTES - 4)[0], counts


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _, _, _ = HEADER.unpack_from(data, at)
        if length < HEADER.size:
            return
        yield kind, data[at + HEADER.size : at + length]
        at += (length + 3) & ~3


def _counts(message: bytes) -> tuple[int, int, bool] | None:
    destination = message[4 + 4 + 16 : 4 + 4 + 32]
    loopback = any(destination.startswith(prefix) for prefix in LOOPBACK)
    at = MESSAGE_BYTES
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            return None
        if kind == INET_DIAG_INFO and length - 4 >= BYTES_ACKED_AT + BYTES_ACKED.size:
            sent, received = BYTES_ACKED.unpack_from(message, at + 4 + BYTES_ACKED_AT)
            return sent, received, loopback
        at += (length + 3) & ~3
    return None
