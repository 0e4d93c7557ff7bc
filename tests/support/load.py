"""Many HTTP clients in one thread, and what each response was."""

import asyncio
import json
import time
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Answer:
    """A response as a client saw it; status 0 means that the connection broke."""

    status: int = 0
    text: str = ""
    seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)

    def keeps_contract(self) -> bool:
        """Tell whether the response has the documented form of an answer or error."""
        if self.status == 0:
            return True
        kind = self.headers.get("content-type")
        if self.status == 200:
            right = kind == "text/plain; charset=utf-8" and self.text.endswith("\n")
        else:
            right = kind == "application/problem+json"
            right = right and json.loads(self.text)["status"] == self.status
        return right and {"x-request-id", "server-timing"} <= self.headers.keys()


class Client:
    """A connection to a server that is kept open, and reopened after it broke."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes = b"", path: str = "/") -> Answer:
        """POST a body, or GET without one."""
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        started = time.monotonic()
        answer = Answer()
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write(head.encode() + body)
            answer = await _read(reader)
        except (OSError, EOFError, ValueError):
            await self.close()
        answer.seconds = time.monotonic() - started
        if answer.headers.get("connection") == "close":
            await self.close()
        return answer

    async def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            with suppress(OSError):
                await self._streams[1].wait_closed()
        self._streams = None


async def _read(reader: asyncio.StreamReader) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(": ") for line in lines[1:] if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(lines[0].split()[1]), body.decode(), headers=headers)


async def closed_loop(port: int, clients: int, bodies: Iterable[bytes]) -> list[Answer]:
    """Send the bodies with some clients, each of which waits for its last answer."""
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
    """Send bodies at a rate (per second) that does not depend on the answers."""
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
    """Return the result of some work, and what a path answered meanwhile.

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
    """Return the seconds within which a share of the answers arrived."""
    times = sorted(answer.seconds for answer in answers)
    return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0
