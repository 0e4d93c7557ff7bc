"""One input on its way: a job, the queue it waits in, the errors it can end with."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from werkzeug import exceptions

from endpoint import telemetry


class NotReady(exceptions.ServiceUnavailable):
    """No input is accepted now; retry after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        detail = f"{reason}: retry in {retry_after} s."
        super().__init__(detail, retry_after=retry_after)


class QueueFull(NotReady):
    """The queue is full, or takes longer than the deadline."""


class PredictionFailed(exceptions.InternalServerError):
    description = "The model failed on this input."


class DeadlineExceeded(exceptions.GatewayTimeout):
    description = "The deadline passed: retry later."
    drop_reason = "deadline"


class ClientDisconnected(exceptions.HTTPException):
    """nginx's status 499: no client reads it, but log and metrics can tell it apart."""

    code, name, description = 499, "Client Closed Request", "The client disconnected."
    drop_reason = "disconnected"


class Job:
    """One input; `deadline` is a time of time.monotonic(), `timings` are seconds."""

    def __init__(
        self,
        deadline: float,
        request_id: str = "",
        is_disconnected: Callable[[], bool] = lambda: False,
    ) -> None:
        self.deadline, self.request_id = deadline, request_id
        self.is_disconnected = [is_disconnected]  # one for each request that waits
        self.input: Any = None
        self.key: Hashable = None  # Only jobs with equal keys share a batch.
        self.batch_size = 0
        self.timings: defaultdict[str, float] = defaultdict(float)
        self._stage, self._stage_started = "queue", time.monotonic()
        self._future: Future[Any] = Future()
        self._lock = threading.Lock()

    def enter(self, stage: str) -> None:
        """Record the time spent in the last stage and begin another."""
        now = time.monotonic()
        self.timings[self._stage] += now - self._stage_started
        self._stage, self._stage_started = stage, now

    def finish(self, output: Any = None, error: BaseException | None = None) -> None:
        """Hand over the output or an error; only the first call has an effect."""
        self.enter("done")  # before the client's thread reads the timings
        with suppress(InvalidStateError):
            self._future.set_result((output, error))
            self.input, self.is_disconnected = None, []  # A kept job should be small.
            if reason := getattr(error, "drop_reason", ""):
                telemetry.dropped.labels(reason).inc()

    def check(self) -> None:
        """Raise if nobody waits for the job any more."""
        if self.finish_if_stale():
            self.result()

    def finish_if_stale(self) -> bool:
        """Finish a job that nobody waits for any more."""
        with self._lock:
            if time.monotonic() > self.deadline:
                self.finish(error=DeadlineExceeded())
            elif all(is_disconnected() for is_disconnected in self.is_disconnected):
                self.finish(error=ClientDisconnected())
        return self._future.done()

    def join(self, other: "Job") -> bool:
        """Let another request wait for this job, unless it has failed."""
        with self._lock:  # A job that is found stale meanwhile is not joined.
            if self._future.done():
                return self._future.result()[1] is None
            self.is_disconnected += other.is_disconnected
            self.deadline = max(self.deadline, other.deadline)
            return True

    def time_left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def result(self) -> Any:
        """Wait for the output; raise the error that took its place."""
        try:
            output, error = self._future.result(self.time_left())
        except TimeoutError:
            error = DeadlineExceeded()
        if error is not None:
            raise error
        return output


class JobQueue:
    """Jobs being decoded or waiting; each holds one of `size` slots until its batch."""

    def __init__(self, size: int) -> None:
        self.size, self.pending = size, 0  # slots, and those in use
        self._waiting: list[Job] = []
        self._changed = threading.Condition()

    def reserve(self, timeout: float = 0) -> bool:
        """Take a slot, waiting for one up to `timeout` seconds."""
        with self._changed:
            is_free = self._changed.wait_for(lambda: self.pending < self.size, timeout)
            self.use_slots(int(is_free))
            return is_free

    def put(self, job: Job) -> None:
        """Append a decoded job that holds a slot."""
        with self._changed:
            job.enter("queue")
            self._waiting.append(job)
            self._changed.notify_all()

    def next_batch(self, limit: int, expected: int, max_delay: float) -> list[Job]:
        """Wait for jobs; remove and return the oldest ones with equal keys.

        Clients that were answered together send their next inputs one by one: until
        `expected` jobs wait, each may arrive `max_delay` seconds after the last one.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            while (count := len(self._waiting)) < min(expected, limit):
                has_more = self._changed.wait_for(
                    lambda: len(self._waiting) > count, max_delay
                )
                if not has_more:
                    break
            waiting = [job for job in self._waiting if not job.finish_if_stale()]
            key = waiting[0].key if waiting else None
            # `is`, because NaN does not equal itself.
            batch = [job for job in waiting if job.key is key or job.key == key][:limit]
            for job in batch:
                job.enter("predict")
            taken = set(batch)
            self._replace([job for job in waiting if job not in taken])
            return batch

    def drain(self) -> list[Job]:
        """Remove and return all jobs that wait."""
        with self._changed:
            return self._replace([])

    def _replace(self, waiting: list[Job]) -> list[Job]:
        """Set the jobs that wait; return those that waited before."""
        before, self._waiting = self._waiting, waiting
        self.use_slots(len(waiting) - len(before))
        return before

    def use_slots(self, count: int) -> None:
        with self._changed:
            self.pending += count
            telemetry.queue_size.set(self.pending)
            if count < 0:  # reserve() waits only for free slots.
                self._changed.notify_all()
