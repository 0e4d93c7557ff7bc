"""`flask smoke --load`: clients that send files for some time, to a rate and times."""

import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import cycle
from urllib.parse import urlsplit
from urllib.request import Request

TIMEOUT = 100  # seconds for a response
NO_RESPONSE = "no response"


class LoadTest:
    """A closed loop: each client sends its next request after its last response."""

    def __init__(self, requests: list[Request], clients: int) -> None:
        self.requests, self.clients = requests, clients
        self.responses: list[tuple[str, float]] = []  # each status, and its seconds
        self.elapsed = 0.0  # seconds, until the last response

    def run(self, seconds: float) -> None:
        started = time.monotonic()
        arguments = [(number, started + seconds) for number in range(self.clients)]
        threads = [threading.Thread(target=self._send_all, args=a) for a in arguments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.elapsed = time.monotonic() - started

    def _send_all(self, number: int, end: float) -> None:
        """Send one request after another, and wait where a response asks for that."""
        first = number % len(self.requests)
        requests = cycle(self.requests[first:] + self.requests[:first])
        connection = self._connect()
        while (started := time.monotonic()) < end:
            status, wait = exchange(connection, next(requests))
            self.responses.append((status, time.monotonic() - started))
            if wait:
                connection.close()  # The server might close it in the meantime.
                time.sleep(max(0, min(wait, end - time.monotonic())))
        connection.close()

    def _connect(self) -> HTTPConnection:
        """Return a connection, which opens with the first request."""
        url = urlsplit(self.requests[0].full_url)
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        return kind(url.netloc, timeout=TIMEOUT)

    def times(self) -> list[float]:
        """Return the seconds of each response with status 200, in ascending order."""
        return sorted(seconds for status, seconds in self.responses if status == "200")

    def percentile(self, share: float) -> float:
        """Return the seconds within which that share of the answers arrived."""
        times = self.times()
        return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0

    def error_percent(self) -> float:
        return 100 * (1 - len(self.times()) / max(1, len(self.responses)))

    def __str__(self) -> str:
        statuses = Counter(status for status, _ in self.responses)
        counts = ", ".join(f"{name}: {n:,}" for name, n in sorted(statuses.items()))
        return (
            f"{len(self.times()) / self.elapsed:.1f} a second, "
            f"p50 {1000 * self.percentile(0.5):,.0f} ms, "
            f"p99 {1000 * self.percentile(0.99):,.0f} ms "
            f"in {self.elapsed:.0f} s with {self.clients} clients ({counts})"
        )


def exchange(connection: HTTPConnection, request: Request) -> tuple[str, float]:
    """Send a request; return the status, and the seconds to wait before the next."""
    path = request.full_url.partition(request.host)[2]
    data, headers = request.data, dict(request.header_items())
    try:
        connection.request(request.get_method(), path, data, headers)
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        connection.close()
        return NO_RESPONSE, 1.0
    after = response.headers.get("Retry-After", "0")  # It may also be a date.
    return str(response.status), float(after) if after.isdigit() else 1.0
