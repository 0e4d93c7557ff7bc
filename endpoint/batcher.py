"""Inputs to outputs in batches: a bounded queue, one model thread, a watchdog."""

import gc
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from enum import StrEnum
from typing import Any

from endpoint import telemetry
from endpoint.model_info import Model, ModelInfo
from endpoint.settings import EXIT_BOOT_FAILED

log = logging.getLogger(__name__)

# After one of these errors every later CUDA call of the process fails.
FATAL = re.compile(
    "device-side assert triggered|illegal memory access|illegal instruction|"
    "misaligned address|invalid program counter|hardware stack error|"
    "unspecified launch failure|launch timed out|uncorrectable|GPU is lost"
)
OUT_OF_MEMORY = re.compile("MemoryError|out of memory|ALLOC_FAILED|ailed to allocate")
OOM_COOLDOWN = 60.0  # seconds of smaller batches after memory ran out
DRAIN_SECONDS = 1.0  # for the last error responses to leave before the process ends
EXIT_CRASHED = 1  # gunicorn replaces a worker that exits with this status
STAGES = ("decode", "queue", "predict")


class State(StrEnum):
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class NotReady(Exception):
    """No input is accepted now; retry after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class QueueFull(NotReady):
    """The queue has no free slot, or its jobs would take longer than the deadline."""


class PredictionFailed(Exception):
    """The model failed on this input."""


class DeadlineExceeded(Exception):
    """The deadline passed before there was an output."""


class ClientDisconnected(Exception):
    """The client closed its connection before its input was run."""


class Job:
    """One input on its way through decoding, the queue and a batch.

    `deadline` is a time of `time.monotonic()`; `timings` are in seconds.
    """

    def __init__(
        self, request_id: str, deadline: float, is_disconnected: Callable[[], bool]
    ) -> None:
        self.request_id, self.deadline = request_id, deadline
        self.is_disconnected = is_disconnected
        self.input: Any = None
        self.key: Hashable = None  # Only jobs with equal keys share a batch.
        self.batch_size = 0
        self.timings = dict.fromkeys(STAGES, 0.0)
        self._stage, self._stage_started = "queue", time.monotonic()
        self._future: Future[Any] = Future()

    def enter(self, stage: str) -> None:
        """Record the time spent in the last stage and begin another."""
        now = time.monotonic()
        if self._stage in self.timings:
            self.timings[self._stage] += now - self._stage_started
        self._stage, self._stage_started = stage, now

    def finish(self, output: Any = None, error: Exception | None = None) -> None:
        """Hand over the output or an error; only the first call has an effect."""
        with suppress(InvalidStateError):
            if error is not None:
                self._future.set_exception(error)
            else:
                self._future.set_result(output)
            self.enter("done")

    def discard_if_stale(self) -> bool:
        """End a job whose client no longer waits for it."""
        if time.monotonic() > self.deadline:
            telemetry.dropped.labels("deadline").inc()
            self.finish(error=DeadlineExceeded())
        elif self.is_disconnected():
            telemetry.dropped.labels("disconnected").inc()
            self.finish(error=ClientDisconnected())
        return self._future.done()

    def result(self) -> Any:
        """Wait for the output; raise the error that took its place."""
        try:
            return self._future.result(self.deadline - time.monotonic())
        except TimeoutError:
            raise DeadlineExceeded from None


class JobQueue:
    """Jobs that are decoded or wait; each holds one of `size` slots until its batch."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pending = 0  # slots in use
        self._waiting: list[Job] = []
        self._closed = False
        self._changed = threading.Condition()

    @property
    def is_full(self) -> bool:
        return self.pending >= self.size

    def reserve(self, deadline: float | None = None) -> bool:
        """Take a slot, waiting for one until the deadline if there is one."""
        with self._changed:
            if deadline is not None:
                timeout = deadline - time.monotonic()
                self._changed.wait_for(
                    lambda: self._closed or not self.is_full, timeout
                )
            if self._closed or self.is_full:
                return False
            self._add_pending(1)
            return True

    def release(self, slots: int = 1) -> None:
        with self._changed:
            self._add_pending(-slots)

    def put(self, job: Job) -> bool:
        """Append a decoded job that holds a slot; False once the queue is closed."""
        with self._changed:
            if not self._closed:
                job.enter("queue")
                self._waiting.append(job)
                self._changed.notify_all()
            return not self._closed

    def next_batch(self, limit: int, expected: int, max_delay: float) -> list[Job]:
        """Wait for jobs; remove and return the oldest ones with equal keys.

        Clients that were answered together send their next inputs one by one. So,
        until `expected` jobs wait, each new one may take `max_delay` seconds to come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            arrived = 0
            while arrived < len(self._waiting) < min(expected, limit):
                arrived = len(self._waiting)
                self._changed.wait_for(lambda: len(self._waiting) > arrived, max_delay)
            waiting = [job for job in self._waiting if not job.discard_if_stale()]
            batch = [job for job in waiting if job.key == waiting[0].key][:limit]
            for job in batch:
                job.enter("predict")
            chosen = set(batch)
            left = [job for job in waiting if job not in chosen]
            self._add_pending(len(left) - len(self._waiting))
            self._waiting = left
            return batch

    def close(self) -> list[Job]:
        """Accept no more jobs and return those that wait."""
        with self._changed:
            self._closed, waiting, self._waiting = True, self._waiting, []
            self._add_pending(-len(waiting))
            return waiting

    def _add_pending(self, slots: int) -> None:
        self.pending += slots
        telemetry.queue_size.set(self.pending)
        self._changed.notify_all()


class Batcher:
    """Own the model: load it, run it in batches, know whether it works.

    `queue` bounds the inputs that are decoded or wait. `deadline` (seconds) bounds the
    time from submit to output, and any single call of predict. `max_batch_delay` is in
    seconds, see JobQueue.next_batch. `exit` ends a process that cannot go on.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Model, ModelInfo]],
        info: ModelInfo = ModelInfo("model"),
        queue: int = 64,
        deadline: float = 90.0,
        max_batch: int | None = None,
        max_batch_delay: float = 0.05,
        exit: Callable[[int], Any] = os._exit,
    ) -> None:
        self.model: Any = None
        self.info = info  # defaults until the model is loaded
        self.example_output: Any = None
        self.max_batch = max_batch or 0  # 0 until the model is loaded: its own
        self.queue = JobQueue(queue)
        self.state, self.reason = State.LOADING, "The model is loading"
        self._load, self._exit = load, exit
        self._deadline, self._max_batch_delay = deadline, max_batch_delay
        # A decoded photograph takes 150 MB: decode no more at a time than cores can.
        self._decoders = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._running: list[Job] = []
        self._last_demand = 0  # jobs in the last batch and behind it
        self._seconds_per_input = 0.0  # a moving average
        self._predict_started: float | None = None
        self._oom_limit, self._oom_until = 1, 0.0
        self._failing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to load the model; return at once."""
        if not self._thread.is_alive():
            self._thread.start()
            threading.Thread(
                target=self._watchdog, name="watchdog", daemon=True
            ).start()

    def health(self) -> tuple[State, str]:
        """Return the state and the reason for it; never wait."""
        started = self._predict_started
        if started and time.monotonic() - started > self._deadline:
            return State.FAILED, f"predict has not returned for {self._deadline:g} s"
        if self._thread.ident and not self._thread.is_alive():
            if self.state != State.FAILED:  # as after a fork, which copies no threads
                return State.FAILED, "The model thread does not run in this process"
        return self.state, self.reason

    def check_capacity(self) -> None:
        """Raise NotReady or QueueFull if an input would be refused now."""
        state, reason = self.health()
        if state != State.READY:
            raise NotReady(reason)
        ahead = self.queue.pending + len(self._running)
        if self.queue.is_full or ahead * self._seconds_per_input > self._deadline:
            raise self._queue_full()

    def _queue_full(self) -> QueueFull:
        ahead = self.queue.pending + len(self._running)
        retry_after = math.ceil(ahead * self._seconds_per_input) or 1
        return QueueFull("The queue is full", retry_after)

    def submit(
        self,
        upload: Any,
        request_id: str = "",
        is_disconnected: Callable[[], bool] = lambda: False,
        wait: bool = False,
        deadline: float | None = None,
    ) -> Job:
        """Decode an upload in this thread and queue it.

        Raises NotReady, QueueFull, DeadlineExceeded, ClientDisconnected, or what the
        model's decode raises. With `wait` a full queue is waited for.
        """
        if deadline is None:
            deadline = time.monotonic() + self._deadline
        job = Job(request_id, deadline, is_disconnected)
        if not wait:
            self.check_capacity()
        if not self.queue.reserve(deadline if wait else None):
            raise self._queue_full() if self.state == State.READY else self._not_ready()
        try:
            self._decode(upload, job)
            if not self.queue.put(job):
                raise self._not_ready()
        except BaseException:
            self.queue.release()
            raise
        return job

    def _not_ready(self) -> NotReady:
        return NotReady(self.reason)

    def _decode(self, upload: Any, job: Job) -> None:
        if not self._decoders.acquire(timeout=max(0, job.deadline - time.monotonic())):
            raise DeadlineExceeded
        try:
            if job.is_disconnected():
                raise ClientDisconnected
            job.enter("decode")
            job.input = self.model.decode(upload)
            job.key = self.info.batch_key(job.input)
        finally:
            self._decoders.release()

    def _run(self) -> None:
        """Load the model, then run batches until the process ends."""
        try:
            self._load_model()
        except SystemExit as sentence:
            return self._abort("The model cannot be loaded", sentence, EXIT_BOOT_FAILED)
        except Exception as error:
            log.exception("The model's own error:")
            cause = repr(error)
            return self._abort("The model cannot be loaded", cause, EXIT_BOOT_FAILED)
        try:
            while self.state == State.READY:
                delay = min(self._seconds_per_input, self._max_batch_delay)
                limit = self._batch_limit()
                if batch := self.queue.next_batch(limit, self._last_demand, delay):
                    self._run_batch(batch)
        except BaseException as error:
            log.exception("The model's own error:")
            self._abort("The model thread has ended", repr(error))

    def _load_model(self) -> None:
        """Load the model and warm it up with its own example."""
        self.model, self.info = self._load()
        self.max_batch = self.max_batch or self.info.max_batch
        if self.info.example is not None:
            input = self.model.decode(self.info.example)
            [self.example_output] = self.model.predict([input])
        self.state, self.reason = State.READY, "The model is ready"
        telemetry.ready.set(1)

    def _batch_limit(self) -> int:
        is_cooling_down = time.monotonic() < self._oom_until
        return (
            min(self._oom_limit, self.max_batch) if is_cooling_down else self.max_batch
        )

    def _run_batch(self, batch: list[Job]) -> None:
        """Run a batch and measure what an input costs."""
        self._running, started = batch, time.monotonic()
        self._predict_or_split(batch)
        seconds = (time.monotonic() - started) / len(batch)
        self._seconds_per_input += (seconds - self._seconds_per_input) * 0.2
        self._running = []

    def _predict_or_split(self, batch: list[Job]) -> None:
        """Finish all jobs; halve a batch that fails until the culprit is alone."""
        message = self._predict(batch) if batch else None
        if message is None:
            return
        if FATAL.search(message):
            return self._abort("The GPU has failed", message)
        if len(batch) == 1:
            return batch[0].finish(error=PredictionFailed())
        half = len(batch) // 2
        log.warning("A batch of %d is split in half after: %s", len(batch), message)
        is_oom = bool(OUT_OF_MEMORY.search(message))
        telemetry.batch_splits.labels("memory" if is_oom else "error").inc()
        if is_oom:
            self._oom_limit, self._oom_until = half, time.monotonic() + OOM_COOLDOWN
        gc.collect()  # The failed call's tensors may be part of reference cycles.
        for part in (batch[:half], batch[half:]):
            if self.state == State.READY:
                live = [job for job in part if not job.discard_if_stale()]
                self._predict_or_split(live)

    def _predict(self, batch: list[Job]) -> str | None:
        """Call predict and finish the jobs; return the message of an error instead.

        The error itself would keep the tensors of the failed call alive.
        """
        telemetry.batch_size.observe(len(batch))
        for job in batch:
            job.batch_size = len(batch)
        self._predict_started = time.monotonic()
        try:
            outputs = list(self.model.predict([job.input for job in batch]))
            if len(outputs) != len(batch):
                raise ValueError(
                    f"predict returned {len(outputs)} outputs for {len(batch)} inputs: "
                    "it must return one for each, in the same order."
                )
        except Exception as error:
            if len(batch) == 1:
                log.exception("predict failed on request %s", batch[0].request_id)
            return repr(error)
        finally:
            self._predict_started = None
        self._last_demand = len(batch) + self.queue.pending
        for job, output in zip(batch, outputs):
            job.finish(output)
        return None

    def _watchdog(self) -> None:
        """End the process once health reports a failure that nothing else noticed."""
        while self.state != State.FAILED:
            time.sleep(min(1.0, self._deadline / 10))
            state, reason = self.health()
            if state == State.FAILED:
                self._abort(reason)

    def _abort(
        self, reason: str, cause: object = "", status: int = EXIT_CRASHED
    ) -> None:
        """Refuse all jobs, let the responses leave, end the process.

        Clients read the reason alone; the log also has the cause.
        """
        with self._failing:
            if self.state == State.FAILED:
                return
            self.state, self.reason = State.FAILED, reason
        log.critical("%s: %s", reason, cause)
        telemetry.ready.set(0)
        for job in [*self._running, *self.queue.close()]:
            job.finish(error=NotReady(reason))
        time.sleep(DRAIN_SECONDS)
        self._exit(status)
