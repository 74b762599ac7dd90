"""A Redis, or a Sentinel, that answers whatever a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Command = list[bytes]
Answer = bytes | Callable[[Command], bytes]


def bulk(text: bytes) -> bytes:
    """Return a string as a reply, or as a part of one."""
    return b"$%d\r\n%s\r\n" % (len(text), text)


def array(*parts: bytes) -> bytes:
    """Return a reply of several parts."""
    return b"*%d\r\n%s" % (len(parts), b"".join(parts))


def message(channel: bytes, text: bytes) -> bytes:
    """Return a message as subscribers get it."""
    return array(bulk(b"message"), bulk(channel), bulk(text))


MASTER = array(bulk(b"master"), b":0\r\n", b"*0\r\n")


class FakeRedis:
    """Listens on a port of 127.0.0.1, and behaves until it is told otherwise.

    :ivar answers: by the name of the command, instead of the right ones.
    :ivar asked: the commands that have come.
    :ivar accepted: how many connections there have been.
    """

    def __init__(self) -> None:
        self.answers: dict[bytes, Answer] = {}
        self.asked: list[Command] = []
        self.accepted = 0
        self._subscribers: dict[bytes, socket.socket] = {}
        self._connections: list[socket.socket] = []
        self._right: dict[bytes, Answer] = {
            b"ROLE": MASTER,
            b"SETEX": b"+OK\r\n",
            b"SELECT": b"+OK\r\n",
            b"GET": lambda command: bulk(b"value of " + command[1]),
            b"EVAL": array(b":1\r\n", b":1000\r\n"),
            b"PING": array(bulk(b"pong"), bulk(b"")),
            b"SUBSCRIBE": lambda command: self._confirm(command),
            b"UNSUBSCRIBE": lambda command: self._confirm(command),
            b"PUBLISH": self.publish,
        }

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def send(self, data: bytes) -> None:
        """Send what was not asked for, on the newest connection."""
        self._connections[-1].sendall(data)

    def send_subscriber(self, data: bytes) -> None:
        """Send what was not asked for to whoever subscribed last."""
        with suppress(OSError):  # It may be cut while this is being sent.
            [*self._subscribers.values()][-1].sendall(data)

    def publish(self, command: Command) -> bytes:
        """Bring a message to the subscriber of its channel; the right answer."""
        _, channel, text = command
        if channel in self._subscribers:
            self._subscribers[channel].sendall(message(channel, text))
        return b":1\r\n"

    def count(self, name: bytes) -> int:
        """Return how often a command has come."""
        return sum(command[0] == name for command in self.asked)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                self._connections.append(connection)
                threading.Thread(
                    target=self._serve, args=(connection,), daemon=True
                ).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection.makefile("rb") as file:
            while line := file.readline():
                command = []
                for _ in range(int(line[1:])):
                    length = int(file.readline()[1:])
                    command.append(file.read(length + 2)[:-2])
                if command[0] == b"SUBSCRIBE":
                    self._subscribers[command[1]] = connection
                self.asked.append(command)
                answer = self.answers.get(command[0], self._right.get(command[0], b""))
                connection.sendall(answer(command) if callable(answer) else answer)

    def _confirm(self, command: Command) -> bytes:
        return array(bulk(command[0].lower()), bulk(command[1]), b":1\r\n")
