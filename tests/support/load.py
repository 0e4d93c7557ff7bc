"""Many HTTP clients in one thread, and each answer with its status, text and time.

The tests send a fixed list of bodies and keep every answer; benchmarks/load.py sends
for some seconds, from several processes, and keeps only counts. Both use Connection.
"""

import asyncio
import json
import socket
import time
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field

READ_SIZE = 1 << 16  # bytes


@dataclass
class Answer:
    """What a client received; status 0 means that the connection broke."""

    status: int = 0
    text: str = ""
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)

    def keeps_contract(self) -> bool:
        """Return whether this is a broken connection, a caption or a proper error."""
        if self.status == 0:
            return True
        media_type = self.headers.get("content-type")
        if self.status == 200:
            is_right = media_type == "text/plain; charset=utf-8"
            is_right &= self.text.endswith("\n")
        else:
            is_right = media_type == "application/problem+json"
            is_right = is_right and json.loads(self.text)["status"] == self.status
        return is_right and {"x-request-id", "server-timing"} <= self.headers.keys()


class Connection:
    """A connection that is kept between requests, and reopened after it was closed."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None
        self._unread = b""  # received after the end of the last response

    async def send(self, message: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a whole request; return the status, the headers and the body.

        Raises OSError if the connection breaks, ValueError or IndexError if the
        response is malformed.
        """
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket, self._unread = socket.socket(), b""
            self._socket.setblocking(False)
            await loop.sock_connect(self._socket, ("127.0.0.1", self.port))
        await loop.sock_sendall(self._socket, message)
        head = (await self._read_until(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self._read_body(headers)
        if headers.get("connection") == "close" or status.startswith("HTTP/1.0"):
            self.close()
        return int(status.split()[1]), headers, body

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if "chunked" not in headers.get("transfer-encoding", ""):
            return await self._read_exactly(int(headers.get("content-length", 0)))
        body = b""
        while size := int(await self._read_until(b"\r\n"), 16):
            body += await self._read_exactly(size)
            await self._read_exactly(2)
        await self._read_until(b"\r\n")
        return body

    async def _read_until(self, end: bytes) -> bytes:
        while end not in self._unread:
            await self._read_more()
        found, _, self._unread = self._unread.partition(end)
        return found

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._read_more()
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    async def _read_more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, READ_SIZE)
        if not data:
            raise ConnectionError("closed")
        self._unread += data

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None


class Client:
    """A client of the endpoint on a kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)

    async def ask(self, body: bytes = b"", path: str = "/") -> Answer:
        """POST a body, or GET if there is none."""
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        started = time.monotonic()
        answer = Answer()
        try:
            response = await self._connection.send(head.encode() + body)
            answer = Answer(response[0], response[2].decode(), headers=response[1])
        except (OSError, ValueError, IndexError):
            await self.close()
        answer.seconds = time.monotonic() - started
        return answer

    async def close(self) -> None:
        self._connection.close()


async def closed_loop(port: int, clients: int, bodies: Iterable[bytes]) -> list[Answer]:
    """Send all bodies; each client sends its next one after its last answer."""
    queue = iter(list(enumerate(bodies)))
    answers: dict[int, Answer] = {}

    async def work() -> None:
        client = Client(port)
        for position, body in queue:
            answers[position] = await client.ask(body)
        await client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return [answers[position] for position in sorted(answers)]


async def open_loop(port: int, rate: float, bodies: Iterable[bytes]) -> list[Answer]:
    """Send the bodies at a rate (per second), however slow the answers are."""
    idle: list[Client] = []
    started = time.monotonic()

    async def send(body: bytes) -> Answer:
        client = idle.pop() if idle else Client(port)
        answer = await client.ask(body)
        idle.append(client)
        return answer

    tasks = []
    for number, body in enumerate(bodies):
        await asyncio.sleep(started + number / rate - time.monotonic())
        tasks.append(asyncio.create_task(send(body)))
    answers = await asyncio.gather(*tasks)
    for client in idle:
        await client.close()
    return list(answers)


async def beside(work: Awaitable, port: int, path: str = "/ping") -> tuple:
    """Return a result and the answers of a path that was requested in the meantime.

    The path is requested 20 times a second.
    """
    probe, probes = Client(port), []
    task = asyncio.ensure_future(work)
    while not task.done():
        probes.append(await probe.ask(path=path))
        await asyncio.sleep(0.05)
    await probe.close()
    return await task, probes


def percentile(answers: Iterable[Answer], share: float) -> float:
    """Return the time (seconds) within which that share of the answers arrived."""
    times = sorted(answer.seconds for answer in answers)
    return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0
