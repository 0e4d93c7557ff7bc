"""Trouble for a real server: overload, clients that leave or crawl, kills, hangs.

`python -m tests.stress.chaos` makes each trouble at full length and prints its figures; the
tests make the same ones for a few seconds.
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
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import resident
from tests.support import fake_model as fake
from tests.support.images import make_image as picture
from tests.support.load import Answer, Client, beside, closed_loop, open_loop, percentile
from tests.support.server import Server

Figures = dict[str, object]


def serve(**environment: object) -> Server:
    server = Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model", **environment)
    return server.wait_for(200)


def pictures(count: int, width: int = 64) -> list[bytes]:
    """Return pictures that tell their number by their height."""
    return [picture(width, 1 + number % 500) for number in range(count)]


def wrong(answers: list[Answer], width: int = 64) -> int:
    """Count the 200s that are not the answer to their own picture."""
    return sum(
        answer.text != f"{width} by {1 + number % 500}\n"
        for number, answer in enumerate(answers)
        if answer.status == 200
    )


def statuses(answers: list[Answer]) -> dict[int, int]:
    """Count answers by status, after a look at what else the contract says of each."""
    for answer in answers:
        assert answer.keeps_contract(), answer
    return dict(sorted(Counter(answer.status for answer in answers).items()))


def figure(server: Server, name: str) -> float:
    """Return one of the server's metrics."""
    line = re.search(rf"^{re.escape(name)} (\S+)$", server.curl("/metrics"), re.M)
    return float(line.group(1)) if line else 0.0


def worker_of(server: Server) -> int:
    """Return the process id of gunicorn's one worker, 0 between two of them."""
    master = server.process.pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(children[0]) if children else 0


@contextmanager
def background(work: Coroutine) -> Iterator[list]:
    """Run a coroutine on a thread; its list is there once the block is left."""
    results: list = []
    thread = threading.Thread(target=lambda: results.extend(asyncio.run(work)))
    thread.start()
    yield results
    thread.join()


def send(server: Server, body: bytes) -> socket.socket:
    """Send a request and return its open connection."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def isolation(batches: int = 8) -> Figures:
    """Fill batches of 32 of which every eighth picture makes the model raise."""
    bodies = [
        body if number % 8 else picture(fake.FAILS, 8)
        for number, body in enumerate(pictures(32 * batches))
    ]
    with serve(FAKE_SECONDS=0.05) as server:
        answers = asyncio.run(closed_loop(server.port, 64, bodies))
        splits = figure(server, 'endpoint_batch_splits_total{reason="error"}')
    return {
        "statuses": statuses(answers),
        "good ones lost": sum(a.status != 200 for n, a in enumerate(answers) if n % 8),
        "wrong": wrong(answers),
        "batches halved": splits,
    }


def memory(fits: int = 8) -> Figures:
    """Let the model run out of memory above a batch that is a quarter of its own."""
    with serve(FAKE_SECONDS=0.05, FAKE_MEMORY=fits) as server:
        answers = asyncio.run(closed_loop(server.port, 64, pictures(512)))
        splits = figure(server, 'endpoint_batch_splits_total{reason="memory"}')
    return {
        "statuses": statuses(answers),
        "wrong": wrong(answers),
        "batches halved": splits,
    }


def overload(seconds: float = 60, rate: float = 400) -> Figures:
    """Send ten times what the model can do; afterwards send what it can."""
    settings = {"ENDPOINT_MAX_BATCH": 4, "FAKE_SECONDS": 0.1, "ENDPOINT_DEADLINE": 10}
    with serve(**settings) as server:
        worker = worker_of(server)
        warm = asyncio.run(open_loop(server.port, rate, pictures(int(rate))))
        before = resident(worker)
        bodies = pictures(int(rate * seconds))
        load = open_loop(server.port, rate, bodies)
        answers, pings = asyncio.run(beside(load, server.port))
        after = resident(worker)
        time.sleep(2)
        calm = asyncio.run(closed_loop(server.port, 2, pictures(20)))
    done = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    return {
        "statuses": statuses(warm + answers),
        "wrong": wrong(answers),
        "accepted p99 s": percentile(done, 0.99),
        "refused p99 s": percentile(refused, 0.99),
        "without Retry-After": sum("retry-after" not in a.headers for a in refused),
        "ping p99 s": percentile(pings, 0.99),
        "ping max s": percentile(pings, 1),
        "memory growth MB": round(after - before, 1),
        "statuses 2 s later": statuses(calm),
        "slowest 2 s later": percentile(calm, 1),
    }


def hang_ups(clients: int = 200) -> Figures:
    """Let clients send a picture and leave while the model is busy with others."""
    with serve(ENDPOINT_QUEUE=clients + 50, FAKE_SECONDS=0.5) as server:
        with background(closed_loop(server.port, 20, pictures(100))) as others:
            time.sleep(0.2)
            for _ in range(clients):
                send(server, picture(32, 32)).close()
        time.sleep(1)
        return {
            "statuses of others": statuses(others),
            "wrong": wrong(others),
            "dropped": figure(server, 'endpoint_dropped_total{reason="gone"}'),
            "run": figure(server, "endpoint_batch_size_sum") - len(others),
            "still queued": figure(server, "endpoint_queue_size"),
        }


def slow_clients(clients: int = 50, seconds: float = 20) -> Figures:
    """Let clients send a byte a second, half of them of headers, half of a body."""
    with serve() as server:
        alone = asyncio.run(closed_loop(server.port, 4, pictures(400)))
        request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
        crawling = [
            socket.create_connection(("127.0.0.1", server.port)) for _ in range(clients)
        ]
        for crawler in crawling[::2]:
            crawler.sendall(request)
        stop = threading.Event()
        crawl = threading.Thread(target=_crawl, args=[crawling, request, stop])
        crawl.start()
        time.sleep(1)
        until, beside_slow = time.monotonic() + seconds, []
        while time.monotonic() < until:
            beside_slow += asyncio.run(closed_loop(server.port, 4, pictures(400)))
        stop.set()
        crawl.join()
        return {
            "statuses": statuses(beside_slow),
            "p50 s alone": percentile(alone, 0.5),
            "p50 s": percentile(beside_slow, 0.5),
            "p99 s alone": percentile(alone, 0.99),
            "p99 s": percentile(beside_slow, 0.99),
        }


def _crawl(crawling: list[socket.socket], text: bytes, stop: threading.Event) -> None:
    for position in range(len(text)):
        for crawler in crawling:
            crawler.sendall(text[position : position + 1])
        if stop.wait(1):
            break
    for crawler in crawling:
        crawler.close()


def kill(loading: float = 1.0) -> Figures:
    """Kill the worker process with SIGKILL while 16 clients are at work."""
    with serve(FAKE_LOADING=loading, FAKE_SECONDS=0.05) as server:
        victim = worker_of(server)
        with background(_until_answered(server.port)) as answers:
            time.sleep(1)
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
        served = [time_ for time_, answer in answers if answer.status == 200]
        return {
            "statuses": statuses([answer for _, answer in answers]),
            "wrong": sum(
                a.status == 200 and a.text != "64 by 48\n" for _, a in answers
            ),
            "lost": sum(answer.status == 0 for _, answer in answers),
            "seconds to service": min(time_ for time_ in served if time_ > killed + 0.5)
            - killed,
        }


async def _until_answered(port: int, clients: int = 16, seconds: float = 6) -> list:
    """Let clients ask until the time is up; return their answers and when they came."""
    answers, until = [], time.monotonic() + seconds

    async def work() -> None:
        client = Client(port)
        while time.monotonic() < until:
            answer = await client.ask(picture(64, 48))
            answers.append((time.monotonic(), answer))
            await asyncio.sleep(0 if answer.status == 200 else 0.05)
        await client.close()

    await asyncio.gather(*(work() for _ in range(clients)))
    return answers


def terminate(rounds: int = 20) -> Figures:
    """Send SIGTERM while 16 clients are at work; count what was begun but not told."""
    lost, slowest, ended = 0, 0.0, Counter()
    for _ in range(rounds):
        with serve(FAKE_SECONDS=0.2) as server:
            with background(_until_answered(server.port, seconds=2)) as answers:
                time.sleep(0.7)
                started = time.monotonic()
                server.process.terminate()
                ended[server.process.wait(30)] += 1
                slowest = max(slowest, time.monotonic() - started)
            told = sum(answer.status == 200 for _, answer in answers)
            lost += server.log.count('"POST /" 200') - told
    return {
        "rounds": rounds,
        "lost": lost,
        "exits": dict(ended),
        "slowest end s": slowest,
    }


def sick(width: int, deadline: float = 3) -> Figures:
    """Send what hangs the model or loses its GPU, with others before and after it."""
    with serve(
        FAKE_SECONDS=0.2, ENDPOINT_DEADLINE=deadline, ENDPOINT_MAX_BATCH=4
    ) as server:
        victim, pings = worker_of(server), []
        with background(closed_loop(server.port, 8, pictures(8))) as before:
            while not figure(server, "endpoint_batch_size_count"):
                time.sleep(0.01)  # Now the first batch is closed: the sick one is late.
            started, bodies = time.monotonic(), [picture(width, 8), *pictures(8)]
            with background(closed_loop(server.port, 9, bodies)) as after:
                while worker_of(server) == victim:
                    pings.append(server.ping())
                    time.sleep(0.02)
                replaced = time.monotonic() - started
        server.wait_for(200)
        afterwards = asyncio.run(closed_loop(server.port, 1, pictures(1)))
        return {
            "statuses": statuses([*before, *after]),
            "pings": dict(Counter(pings)),
            "replaced after s": replaced,
            "afterwards": afterwards[0].status,
        }


TROUBLES = {
    "1 in 8 fails": isolation,
    "out of memory": memory,
    "10 times overloaded": overload,
    "200 hang up": hang_ups,
    "50 crawl": slow_clients,
    "worker killed": kill,
    "terminated": terminate,
    "predict hangs": lambda: sick(fake.HANGS),
    "GPU lost": lambda: sick(fake.IS_FATAL),
    "thread ended": lambda: sick(fake.EXITS),
}

if __name__ == "__main__":
    for name, trouble in TROUBLES.items():
        print(name)
        for what, value in trouble().items():
            value = round(value, 3) if isinstance(value, float) else value
            print(f"    {what:<22} {value}", flush=True)
