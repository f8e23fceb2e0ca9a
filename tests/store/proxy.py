"""A TCP proxy in front of an HTTP server, by whose faults a client is tried."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Self

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST: as a cut connection looks to both ends."""
_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Fault(Enum):
    """What becomes of a connection."""

    NONE = auto()
    CUT = auto()
    """It is reset once `bytes_before` have gone to the server."""
    BUSY = auto()
    """Each request is answered with 503."""
    SILENT = auto()
    """Nothing is answered."""


@dataclass(slots=True)
class FaultyWay:
    """Listens on loopback, and hands what comes on to `port`. The next connections have `faults`, one each; those after
    them `last`. `faulted` counts those that had one."""

    port: int
    listener: socket.socket
    faults: list[Fault] = field(default_factory=list)
    last: Fault = Fault.NONE
    bytes_before: int = 0
    faulted: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def to(cls, port: int) -> Iterator[Self]:
        way = cls(port, socket.create_server(("127.0.0.1", 0)))
        threading.Thread(target=way._accept, daemon=True).start()
        try:
            yield way
        finally:
            _reset(way.listener)  # a close alone would leave it open for as long as accept() waits
            for one in way._open:
                _reset(one)

    @property
    def endpoint(self) -> str:
        return f"http://localhost:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                fault = self.faults.pop(0) if self.faults else self.last
                self.faulted += fault is not Fault.NONE
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        with contextlib.suppress(OSError):
            if fault is Fault.SILENT:
                while client.recv(65536):
                    pass
                return
            if fault is Fault.BUSY:
                _read_request(client)
                client.sendall(_BUSY)
                _reset(client, gently=True)
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            self._open.append(server)
            threading.Thread(target=_pump, args=(server, client, None), daemon=True).start()
            _pump(client, server, self.bytes_before if fault is Fault.CUT else None)


def _read_request(client: socket.socket) -> None:
    """Head and body: a client that still sends would not read the answer."""
    head = b""
    while b"\r\n\r\n" not in head:
        if not (data := client.recv(65536)):
            return
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    rest = length - len(body)
    while rest > 0 and (data := client.recv(65536)):
        rest -= len(data)


def _pump(source: socket.socket, sink: socket.socket, most: int | None) -> None:
    handed_on = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            handed_on += len(data)
            if most is not None and handed_on > most:
                break
            sink.sendall(data)
    for one in (source, sink):
        _reset(one, gently=most is None)


def _reset(one: socket.socket, *, gently: bool = False) -> None:
    with contextlib.suppress(OSError):
        if not gently:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.shutdown(socket.SHUT_RDWR)
    one.close()
