"""A closed loop of HTTP clients on kept connections, every answer with its time.

`python -m benchmarks.load` shows its own ceiling: the rate against `benchmarks.noop`,
which reads the same uploads and answers at once.
"""

import asyncio
import json
import socket
import statistics
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context

TIMEOUT = 900  # seconds; a slow server with many clients is slow, not wrong
PAUSE = 0.1  # seconds after an error: clients that are refused do not hammer
READ = 1 << 16  # bytes
BOUNDARY = "benchmark"


@dataclass
class Answers:
    """What a loop got: the seconds and pictures of good answers, and the errors."""

    seconds: list[float] = field(default_factory=list)
    captions: Counter = field(default_factory=Counter)  # of (picture, caption)
    errors: Counter = field(default_factory=Counter)  # of statuses or exceptions
    began: float = 0.0
    ended: float = 0.0

    def add(self, other: "Answers") -> None:
        self.seconds += other.seconds
        self.captions += other.captions
        self.errors += other.errors
        self.began = min(self.began or other.began, other.began)
        self.ended = max(self.ended, other.ended)

    def summary(self) -> dict:
        """Return figures; the rate counts the time until the last answer has come."""
        ordered = sorted(self.seconds) or [0.0]
        return {
            "answers": len(self.seconds),
            "per_second": len(self.seconds) / max(self.ended - self.began, 1e-9),
            "p50_seconds": statistics.median(ordered),
            "p99_seconds": ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)],
            "errors": dict(self.errors),
        }


def request(
    data: bytes, kind: str = "image/jpeg", path: str = "/", field: str | None = None
) -> bytes:
    """Return a POST of a file: in a form's field, or as the body."""
    if field:
        head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        head += f'name="{field}"; filename="a"\r\nContent-Type: {kind}\r\n\r\n'
        data = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    lines = f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"
    lines += f"Content-Length: {len(data)}", "Accept: */*", "", ""
    return "\r\n".join(lines).encode() + data


class Client:
    """One kept connection, opened anew where the server closes it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None
        self.rest = b""  # read beyond the last answer

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body."""
        loop = asyncio.get_running_loop()
        if self.socket is None:
            self.socket, self.rest = socket.socket(), b""
            self.socket.setblocking(False)
            await loop.sock_connect(self.socket, ("127.0.0.1", self.port))
        await loop.sock_sendall(self.socket, message)
        head = (await self._until(b"\r\n\r\n")).decode("latin-1").lower()
        body = await self._body(head)
        if "connection: close" in head or head.startswith("http/1.0"):
            self.close()
        return int(head.split(None, 2)[1]), body

    async def _body(self, head: str) -> bytes:
        headers = dict(line.split(":", 1) for line in head.split("\r\n")[1:] if line)
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(await self._until(b"\r\n"), 16):
                body += await self._exactly(size)
                await self._exactly(2)
            await self._until(b"\r\n")
            return body
        return await self._exactly(int(headers.get("content-length", 0)))

    async def _until(self, end: bytes) -> bytes:
        while end not in self.rest:
            await self._read()
        found, _, self.rest = self.rest.partition(end)
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            await self._read()
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    async def _read(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.socket, READ)
        if not data:
            raise ConnectionError("closed")
        self.rest += data

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None


def caption(body: bytes) -> str:
    """Return the caption in an answer: text, or the first value of its JSON."""
    text = body.decode(errors="replace").strip()
    with suppress(ValueError):
        value = json.loads(text)
        while isinstance(value, dict | list):
            value = next(iter(value.values() if isinstance(value, dict) else value))
        text = str(value)
    return text


async def client(port: int, messages: list[bytes], turns, until: float) -> Answers:
    """Send one request after another until the time is over."""
    answers, connection = Answers(began=time.monotonic()), Client(port)
    while not answers.ended or time.monotonic() < until:
        number = next(turns) % len(messages)
        started = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT):
                status, body = await connection.ask(messages[number])
        except (OSError, ValueError, IndexError) as error:
            status, body = type(error).__name__, b""
        answers.ended = time.monotonic()
        if status == 200 and caption(body):
            answers.seconds.append(answers.ended - started)
            answers.captions[number, caption(body)] += 1
            continue
        answers.errors[str(status)] += 1
        connection.close()
        await asyncio.sleep(PAUSE)
    connection.close()
    return answers


async def clients(port: int, messages: list[bytes], number: int, until: float):
    # One order for all clients: after any number of answers the mix is the same.
    turns = count()
    loops = (client(port, messages, turns, until) for _ in range(number))
    total = Answers()
    for answers in await asyncio.gather(*loops):
        total.add(answers)
    return total


def one_process(port: int, messages: list[bytes], number: int, until: float) -> Answers:
    return asyncio.run(clients(port, messages, number, until))


def measure(
    port: int, messages: list[bytes], number: int, seconds: float, processes: int = 1
) -> Answers:
    """Keep so many clients busy for so long and wait for their last answers."""
    processes = min(processes, number)
    if processes == 1:
        return one_process(port, messages, number, time.monotonic() + seconds)
    shares = [len(range(first, number, processes)) for first in range(processes)]
    total = Answers()
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.5] * processes))  # all of them are up
        until = time.monotonic() + seconds
        parts = [
            pool.submit(one_process, port, messages, share, until) for share in shares
        ]
        for part in parts:
            total.add(part.result())
    return total
