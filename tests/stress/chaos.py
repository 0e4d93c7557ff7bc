"""Failures of a real server: overload, failing inputs, slow clients, kills, hangs.

`python -m tests.stress.chaos` causes each failure at full length and prints what
happened; the tests cause the same failures for a few seconds.
"""

import asyncio
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

from tests.stress.process import resident_mb, worker_pid
from tests.support import fake_model as fake
from tests.support.apps import FAKE_MODEL, wait_until
from tests.support.images import make_image
from tests.support.load import (
    Answer,
    Client,
    beside,
    closed_loop,
    open_loop,
    percentile,
)
from tests.support.server import Server

Figures = dict[str, object]
TIMED = (64, 48)  # the size of the images that are sent until a time is over


def serve(**environment: object) -> Server:
    server = Server("gunicorn", ENDPOINT_MODULE=FAKE_MODEL, **environment)
    return server.wait_for(200)


def numbered_images(count: int, width: int = 64) -> list[bytes]:
    """Return images whose height depends on their position in the list."""
    return [make_image(width, 1 + number % 500) for number in range(count)]


def count_wrong(answers: list[Answer], width: int = 64) -> int:
    """Count the answers to `numbered_images` that belong to another image."""
    return sum(
        answer.text != f"{width} by {1 + number % 500}\n"
        for number, answer in enumerate(answers)
        if answer.status == 200
    )


def count_statuses(answers: list[Answer]) -> dict[int, int]:
    """Count the answers by status, and check their headers and their format."""
    for answer in answers:
        assert answer.keeps_contract(), answer
    return dict(sorted(Counter(answer.status for answer in answers).items()))


def metric(server: Server, name: str) -> float:
    line = re.search(rf"^{re.escape(name)} (\S+)$", server.curl("/metrics"), re.M)
    return float(line.group(1)) if line else 0.0


@contextmanager
def background(work: Coroutine) -> Iterator[list]:
    """Run a coroutine in a thread; its results are in the list after the block."""
    results: list = []
    thread = threading.Thread(target=lambda: results.extend(asyncio.run(work)))
    thread.start()
    yield results
    thread.join()


def open_request(server: Server, body: bytes) -> socket.socket:
    """Send a request and return its connection without reading the answer."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def failing_inputs(batches: int = 8) -> Figures:
    """Send batches of 32 in which the model raises an error on every eighth image."""
    bodies = [
        body if number % 8 else make_image(fake.FAILS, 8)
        for number, body in enumerate(numbered_images(32 * batches))
    ]
    with serve(FAKE_SECONDS=0.05) as server:
        answers = asyncio.run(closed_loop(server.port, 64, bodies))
        splits = metric(server, 'endpoint_batch_splits_total{reason="error"}')
    return {
        "statuses": count_statuses(answers),
        "good ones lost": sum(a.status != 200 for n, a in enumerate(answers) if n % 8),
        "wrong": count_wrong(answers),
        "batches split": splits,
    }


def out_of_memory(fits: int = 8) -> Figures:
    """Let the model run out of memory on batches over a quarter of its `max_batch`."""
    with serve(FAKE_SECONDS=0.05, FAKE_MEMORY=fits) as server:
        answers = asyncio.run(closed_loop(server.port, 64, numbered_images(512)))
        splits = metric(server, 'endpoint_batch_splits_total{reason="memory"}')
    return {
        "statuses": count_statuses(answers),
        "wrong": count_wrong(answers),
        "batches split": splits,
    }


def overload(seconds: float = 60, rate: float = 400) -> Figures:
    """Send ten times what the model can answer, and then no more than it can."""
    settings = {"ENDPOINT_MAX_BATCH": 4, "FAKE_SECONDS": 0.1, "ENDPOINT_DEADLINE": 10}
    with serve(**settings) as server:
        worker = worker_pid(server)
        images = numbered_images(int(rate))
        warm_up = asyncio.run(open_loop(server.port, rate, images))
        memory = resident_mb(worker)
        load = open_loop(server.port, rate, numbered_images(int(rate * seconds)))
        answers, pings = asyncio.run(beside(load, server.port))
        growth = resident_mb(worker) - memory
        time.sleep(2)
        calm = asyncio.run(closed_loop(server.port, 2, numbered_images(20)))
    refused = [answer for answer in answers if answer.status == 503]
    return {
        "statuses": count_statuses(warm_up + answers),
        "wrong": count_wrong(answers),
        "accepted p99 s": percentile((a for a in answers if a.status == 200), 0.99),
        "refused p99 s": percentile(refused, 0.99),
        "without Retry-After": sum("retry-after" not in a.headers for a in refused),
        "ping p99 s": percentile(pings, 0.99),
        "ping max s": percentile(pings, 1),
        "memory growth MB": round(growth, 1),
        "statuses 2 s later": count_statuses(calm),
        "slowest 2 s later": percentile(calm, 1),
    }


def disconnects(clients: int = 200) -> Figures:
    """Let clients send an image and disconnect while the model runs other images."""
    with serve(ENDPOINT_QUEUE=clients + 50, FAKE_SECONDS=0.5) as server:
        with background(closed_loop(server.port, 20, numbered_images(100))) as others:
            time.sleep(0.2)
            for _ in range(clients):
                open_request(server, make_image(32, 32)).close()
        time.sleep(1)
        return {
            "statuses of others": count_statuses(others),
            "wrong": count_wrong(others),
            "dropped": metric(server, 'endpoint_dropped_total{reason="disconnected"}'),
            "run": metric(server, "endpoint_batch_size_sum") - len(others),
            "still queued": metric(server, "endpoint_queue_size"),
        }


def slow_clients(clients: int = 50, seconds: float = 20) -> Figures:
    """Let clients send one byte per second, half of them headers, half a body."""
    with serve() as server:
        alone = asyncio.run(closed_loop(server.port, 4, numbered_images(400)))
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
        connections = [
            socket.create_connection(("127.0.0.1", server.port)) for _ in range(clients)
        ]
        for connection in connections[::2]:
            connection.sendall(request)
        stop = threading.Event()
        arguments = [connections, request, stop]
        slow = threading.Thread(target=_send_slowly, args=arguments)
        slow.start()
        time.sleep(1)
        deadline, answers = time.monotonic() + seconds, []
        while time.monotonic() < deadline:
            answers += asyncio.run(closed_loop(server.port, 4, numbered_images(400)))
        stop.set()
        slow.join()
    return {
        "statuses": count_statuses(answers),
        "p50 s alone": percentile(alone, 0.5),
        "p50 s": percentile(answers, 0.5),
        "p99 s alone": percentile(alone, 0.99),
        "p99 s": percentile(answers, 0.99),
    }


def _send_slowly(
    connections: list[socket.socket], text: bytes, stop: threading.Event
) -> None:
    for position in range(len(text)):
        for connection in connections:
            with suppress(OSError):  # The server ends those that take too long.
                connection.sendall(text[position : position + 1])
        if stop.wait(1):
            break
    for connection in connections:
        connection.close()


def kill(loading: float = 1.0) -> Figures:
    """Kill the worker process with SIGKILL while 16 clients send requests."""
    with serve(FAKE_LOADING=loading, FAKE_SECONDS=0.05) as server:
        with background(_send_for(server.port, seconds=10)) as timed:
            time.sleep(1)
            os.kill(worker_pid(server), signal.SIGKILL)
            killed = time.monotonic()
    answers = [answer for _, answer in timed]
    expected = "%d by %d\n" % TIMED
    good = [end for end, answer in timed if answer.status == 200]
    return {
        "statuses": count_statuses(answers),
        "wrong": sum(a.status == 200 and a.text != expected for a in answers),
        "lost": sum(answer.status == 0 for answer in answers),
        "seconds to service": min(end for end in good if end > killed + 0.5) - killed,
    }


async def _send_for(port: int, clients: int = 16, seconds: float = 6) -> list:
    """Send requests for some seconds; return each answer with the time of its end."""
    answers, deadline = [], time.monotonic() + seconds

    async def work() -> None:
        client = Client(port)
        while time.monotonic() < deadline:
            answer = await client.ask(make_image(*TIMED))
            answers.append((time.monotonic(), answer))
            await asyncio.sleep(0 if answer.status == 200 else 0.05)
        await client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return answers


def terminate(rounds: int = 20) -> Figures:
    """Send SIGTERM while 16 clients send requests; count the answers that got lost."""
    lost, slowest, exits = 0, 0.0, Counter()
    for _ in range(rounds):
        with serve(FAKE_SECONDS=0.2) as server:
            with background(_send_for(server.port, seconds=2)) as timed:
                time.sleep(0.7)
                started = time.monotonic()
                server.process.terminate()
                exits[server.process.wait(60)] += 1
                slowest = max(slowest, time.monotonic() - started)
            received = sum(answer.status == 200 for _, answer in timed)
            lost += server.log.count('"POST /" 200') - received
    return {
        "rounds": rounds,
        "lost": lost,
        "exits": dict(exits),
        "slowest end s": slowest,
    }


def fatal_input(width: int, deadline: float = 3) -> Figures:
    """Send an image on which the model hangs or ends, with others before and after."""
    settings = {"ENDPOINT_DEADLINE": deadline, "ENDPOINT_MAX_BATCH": 4}
    with serve(FAKE_SECONDS=0.2, **settings) as server:
        victim, pings = worker_pid(server), []
        with background(closed_loop(server.port, 8, numbered_images(8))) as before:
            # The first batch should not hold the fatal image.
            wait_until(lambda: metric(server, "endpoint_batch_size_count"))
            started, bodies = time.monotonic(), [make_image(width, 8)]
            bodies += numbered_images(8)
            with background(closed_loop(server.port, 9, bodies)) as after:
                while worker_pid(server) == victim:
                    pings.append(server.ping())
                    time.sleep(0.02)
                replaced = time.monotonic() - started
        server.wait_for(200)
        [afterwards] = asyncio.run(closed_loop(server.port, 1, numbered_images(1)))
    return {
        "statuses": count_statuses([*before, *after]),
        "pings": dict(Counter(pings)),
        "replaced after s": replaced,
        "status afterwards": afterwards.status,
    }


FAILURES = {
    "the model fails on 1 image in 8": failing_inputs,
    "out of memory": out_of_memory,
    "10 times too many requests": overload,
    "200 clients disconnect": disconnects,
    "50 slow clients": slow_clients,
    "worker killed": kill,
    "SIGTERM": terminate,
    "predict hangs": lambda: fatal_input(fake.HANGS),
    "the GPU fails": lambda: fatal_input(fake.IS_FATAL),
    "the model thread ends": lambda: fatal_input(fake.EXITS),
}

if __name__ == "__main__":
    for name, cause in FAILURES.items():
        print(name)
        for what, value in cause().items():
            value = round(value, 3) if isinstance(value, float) else value
            print(f"    {what:<22} {value}", flush=True)
