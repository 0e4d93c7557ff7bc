"""Clients in a closed or an open loop to the throughput and latency of a server.

In a closed loop, each client sends its next request after its last answer. In an open
loop, requests arrive at random times at a given rate, however slow the answers are.

tests/support/load.py has loops that send a fixed list and keep every answer; these
send for some seconds, the closed one from several processes, and keep only counts.
"""

import asyncio
import json
import statistics
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from random import Random

from tests.support.load import Connection

TIMEOUT = 900  # seconds; slow answers to many clients are no errors
ERROR_PAUSE = 0.1  # seconds until a client that got an error sends its next request
LAST_WAIT = 60  # seconds after an open loop in which its last answers may arrive
BOUNDARY = "benchmark"


@dataclass
class Tally:
    """The latencies and captions of all good answers, and the number of errors."""

    seconds: list[float] = field(default_factory=list)
    captions: Counter = field(default_factory=Counter)  # of (image number, caption)
    errors: Counter = field(default_factory=Counter)  # of statuses or exceptions
    lags: list[float] = field(default_factory=list)  # seconds that sending was late
    began: float = 0.0
    ended: float = 0.0

    def add(self, other: "Tally") -> None:
        self.seconds += other.seconds
        self.captions += other.captions
        self.errors += other.errors
        self.began = min(self.began or other.began, other.began)
        self.ended = max(self.ended, other.ended)

    def summary(self) -> dict:
        """Return the results; the throughput includes the wait for the last answer."""
        ordered = sorted(self.seconds) or [0.0]
        return {
            "answers": len(self.seconds),
            "per_second": len(self.seconds) / max(self.ended - self.began, 1e-9),
            "p50_seconds": statistics.median(ordered),
            "p99_seconds": percentile(ordered, 0.99),
            "errors": dict(self.errors),
        }


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def make_request(
    data: bytes, kind: str = "image/jpeg", path: str = "/", field: str | None = None
) -> bytes:
    """Return a POST request with a file: in a form's field, or as the body."""
    if field:
        head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
        head += f'name="{field}"; filename="a"\r\nContent-Type: {kind}\r\n\r\n'
        data = head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
    lines = f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"
    lines += f"Content-Length: {len(data)}", "Accept: */*", "", ""
    return "\r\n".join(lines).encode() + data


def parse_caption(body: bytes) -> str:
    """Return the caption in an answer: its text, or the first value in its JSON."""
    text = body.decode(errors="replace").strip()
    with suppress(ValueError):
        value = json.loads(text)
        while isinstance(value, dict | list):
            value = next(iter(value.values() if isinstance(value, dict) else value))
        text = str(value)
    return text


async def send(
    connection: Connection,
    request: bytes,
    number: int,
    started: float,
    tally: Tally,
    timeout: float = TIMEOUT,
) -> bool:
    """Send a request and count its answer, whose time counts from `started`."""
    try:
        async with asyncio.timeout(timeout):
            status, _, body = await connection.send(request)
    except (OSError, ValueError, IndexError) as error:
        status, body = type(error).__name__, b""
    tally.ended = time.monotonic()
    is_good = status == 200 and bool(parse_caption(body))
    if is_good:
        tally.seconds.append(tally.ended - started)
        tally.captions[number, parse_caption(body)] += 1
    else:
        tally.errors[str(status)] += 1
        connection.close()
    return is_good


async def send_until(port: int, requests: list[bytes], turns, deadline: float) -> Tally:
    """Send one request after another until the deadline."""
    tally, connection = Tally(began=time.monotonic()), Connection(port)
    while not tally.ended or time.monotonic() < deadline:
        number = next(turns) % len(requests)
        started = time.monotonic()
        if not await send(connection, requests[number], number, started, tally):
            await asyncio.sleep(ERROR_PAUSE)
    connection.close()
    return tally


async def run_clients(port: int, requests: list[bytes], clients: int, deadline: float):
    # All clients share one order: after any number of answers, the images are the same.
    turns = count()
    loops = (send_until(port, requests, turns, deadline) for _ in range(clients))
    total = Tally()
    for tally in await asyncio.gather(*loops):
        total.add(tally)
    return total


def run_process(port: int, requests: list[bytes], clients: int, deadline: float):
    return asyncio.run(run_clients(port, requests, clients, deadline))


def measure(
    port: int, requests: list[bytes], clients: int, seconds: float, processes: int = 1
) -> Tally:
    """Let clients send requests for some seconds, and wait for their last answers."""
    processes = min(processes, clients)
    if processes == 1:
        return run_process(port, requests, clients, time.monotonic() + seconds)
    shares = [len(range(first, clients, processes)) for first in range(processes)]
    total = Tally()
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        list(pool.map(time.sleep, [0.5] * processes))  # until all have started
        deadline = time.monotonic() + seconds
        parts = [
            pool.submit(run_process, port, requests, share, deadline)
            for share in shares
        ]
        for part in parts:
            total.add(part.result())
    return total


def draw_arrivals(rate: float, seconds: float, seed: int = 0) -> list[float]:
    """Return the times of a Poisson process, in seconds after its start."""
    random, times, now = Random(seed), [], 0.0
    while (now := now + random.expovariate(rate)) < seconds:
        times.append(now)
    return times


async def send_at(port: int, requests: list[bytes], arrivals: list[float]) -> Tally:
    """Send a request at each of the times, in seconds from now.

    The time of an answer counts from the planned time, also where the request was sent
    later. Each request has a connection of its own, as those of different clients do.
    """
    tally = Tally(began=time.monotonic())

    async def send_one(number: int, planned: float) -> None:
        connection = Connection(port)
        timeout = tally.began + arrivals[-1] + LAST_WAIT - time.monotonic()
        await send(connection, requests[number], number, planned, tally, timeout)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for position, planned in enumerate(arrivals):
            planned += tally.began
            await asyncio.sleep(planned - time.monotonic())
            tally.lags.append(time.monotonic() - planned)
            group.create_task(send_one(position % len(requests), planned))
    return tally


def measure_open(port: int, requests: list[bytes], rate: float, seconds: float) -> dict:
    """Let requests arrive at a rate (per second) and wait for their last answers.

    Also returns the number of requests, the seconds that the last answer took after the
    last arrival, and the 99th percentile of the seconds that requests were sent late.
    """
    arrivals = draw_arrivals(rate, seconds)
    tally = asyncio.run(send_at(port, requests, arrivals))
    return tally.summary() | {
        "requests": len(arrivals),
        "drain_seconds": tally.ended - tally.began - arrivals[-1],
        "p99_lag_seconds": percentile(sorted(tally.lags), 0.99),
    }
