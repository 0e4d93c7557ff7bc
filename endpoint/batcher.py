"""Jobs to outputs in batches, on one model thread, with a watchdog."""

import gc
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from endpoint import job_queue, telemetry
from endpoint.cache import Cache
from endpoint.device import find_device
from endpoint.gpu import is_fatal
from endpoint.job_queue import Job, JobQueue
from endpoint.settings import EXIT_BOOT_FAILED, Settings
from model_interface.files import Upload
from model_interface.model_info import Model, ModelInfo, WrongModel, predict
from model_interface.warm_up import run_examples

log = logging.getLogger(__name__)

OUT_OF_MEMORY = re.compile("MemoryError|out of memory|ALLOC_FAILED|ailed to allocate")
OOM_COOLDOWN = 60.0  # seconds of smaller batches after memory ran out
DRAIN_SECONDS = 1.0  # for the last error responses to leave before the process ends
EXIT_CRASHED = 1  # gunicorn replaces a worker that exits with this status


class State(StrEnum):
    LOADING, READY, FAILED = "loading", "ready", "failed"


class ModelFailed(Exception):
    """No later batch can succeed in this process: the reason, and its cause."""


class Runner:
    """Run batches of jobs and isolate the inputs that fail."""

    def __init__(self, queue: JobQueue, settings: Settings) -> None:
        self.queue = queue
        self.max_batch = settings.max_batch or 0  # 0: the model's own, once loaded
        self.max_delay = settings.max_batch_delay / 1000  # seconds
        self.example: Upload | None = None
        self.running: list[Job] = []
        self.seconds_per_input = 0.0  # a moving average
        self.predict_started: float | None = None
        self._last_demand = 0  # jobs in the last batch and behind it
        self._oom_limit, self._oom_until = 1, 0.0

    def run_next_batch(self, model: Model) -> None:
        """Wait for jobs and finish a batch of them, or raise ModelFailed."""
        is_oom = time.monotonic() < self._oom_until
        limit = self._oom_limit if is_oom else self.max_batch
        delay = min(self.seconds_per_input, self.max_delay)
        self.running = self.queue.next_batch(limit, self._last_demand, delay)
        if not self.running:
            return
        started = time.monotonic()
        self._predict_or_split(model, self.running)
        seconds = (time.monotonic() - started) / len(self.running)
        self.seconds_per_input += (seconds - self.seconds_per_input) * 0.2
        self.running = []

    def _predict_or_split(self, model: Model, batch: list[Job]) -> None:
        """Finish all jobs; halve a batch that fails until the culprit is alone."""
        message = self._predict_batch(model, batch) if batch else ""
        if not message:
            return
        if len(batch) == 1:
            self._predict_example(model, message)
            batch[0].finish(error=job_queue.PredictionFailed())
            return
        half, is_oom = len(batch) // 2, bool(OUT_OF_MEMORY.search(message))
        log.warning("A batch of %d is split in half after: %s", len(batch), message)
        telemetry.batch_splits.labels("memory" if is_oom else "error").inc()
        if is_oom:
            self._oom_limit, self._oom_until = half, time.monotonic() + OOM_COOLDOWN
        gc.collect()  # The failed call's tensors may be part of reference cycles.
        for part in (batch[:half], batch[half:]):
            live = [job for job in part if not job.finish_if_stale()]
            self._predict_or_split(model, live)

    def _predict_batch(self, model: Model, batch: list[Job]) -> str:
        """Finish the jobs, or return the error as text: an exception holds tensors."""
        telemetry.batch_size.observe(len(batch))
        try:
            outputs = self._predict(model, [job.input for job in batch])
        except Exception as error:
            if is_fatal(error):
                raise ModelFailed("The GPU has failed", repr(error)) from None
            if len(batch) == 1:
                log.exception("predict failed on request %s", batch[0].request_id)
            return repr(error)
        self._last_demand = len(batch) + self.queue.pending
        for job, output in zip(batch, outputs):
            job.batch_size = len(batch)
            job.finish(output)
        return ""

    def _predict_example(self, model: Model, message: str) -> None:
        """After an input has failed, raise ModelFailed if the example fails, too."""
        try:
            if self.example:
                self._predict(model, [model.decode(self.example)])
        except Exception as error:
            cause = f"{error!r} after {message} on an input"
            raise ModelFailed("The model fails on its own example", cause) from None

    def _predict(self, model: Model, inputs: list[Any]) -> list[Any]:
        self.predict_started = time.monotonic()  # The watchdog reads it.
        try:
            return predict(model, inputs)
        finally:
            self.predict_started = None


class Batcher:
    """Load the model, run it in batches on one thread, and report its health."""

    def __init__(
        self,
        load: Callable[[str], tuple[Model, ModelInfo]],  # onto a device
        name: str,  # of the model, until it is loaded
        settings: Settings,
        exit: Callable[[int], Any] = os._exit,
    ) -> None:
        self.model: Any = None
        self.info, self.example_output = ModelInfo(name=name), None
        self.state, self.reason = State.LOADING, "The model is loading"
        self.queue = JobQueue(settings.queue)
        self.runner = Runner(self.queue, settings)
        self.cache = Cache(settings.cache) if settings.cache else None
        self.deadline = settings.deadline  # seconds
        self._load, self._device, self.exit = load, settings.device, exit
        self._aborting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to load the model; return at once."""
        self._thread.start()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def health(self) -> tuple[State, str]:
        """Return the state and the reason for it; never wait."""
        started = self.runner.predict_started
        if started and time.monotonic() - started > self.deadline:
            return State.FAILED, f"predict has not returned for {self.deadline:g} s"
        has_ended = self._thread.ident and not self._thread.is_alive()
        if has_ended and self.state != State.FAILED:  # A fork copies no threads.
            return State.FAILED, "The model thread does not run in this process"
        return self.state, self.reason

    def refusal(self) -> job_queue.NotReady | None:
        """Return why an input would be refused now, None if it would be accepted."""
        state, reason = self.health()
        if state != State.READY:
            return job_queue.NotReady(reason)
        ahead = self.queue.pending + len(self.runner.running)
        seconds = ahead * self.runner.seconds_per_input
        if self.queue.pending >= self.queue.size or seconds > self.deadline:
            return job_queue.QueueFull("The queue is full", math.ceil(seconds) or 1)
        return None

    def submit(self, upload: Upload, job: Job | None = None, wait: bool = False) -> Job:
        """Decode an upload in this thread and queue it; `wait` while it is full."""
        job = job or Job(time.monotonic() + self.deadline)
        if self.cache:
            found = self.cache.find(upload, self.info.version, job)
            if found is not job:
                return found
        refusal = None if wait else self.refusal()
        if refusal or not self.queue.reserve(job.time_left() if wait else 0):
            full = job_queue.QueueFull("The queue is full", 1)
            job.finish(error=refusal or self.refusal() or full)
            return job
        try:
            self._decode(upload, job)
            self.queue.put(job)
        except BaseException as error:
            self.queue.use_slots(-1)
            job.finish(error=error)
        if self.state == State.FAILED:  # No thread reads the queue any more.
            job.finish(error=job_queue.NotReady(self.reason))
        return job

    def _decode(self, upload: Upload, job: Job) -> None:
        job.check()
        job.enter("decode")
        job.input = self.model.decode(replace(upload, check=job.check))
        job.key = self.info.batch_key(job.input)

    def _run(self) -> None:
        reason, status = "The model cannot be loaded", EXIT_BOOT_FAILED
        try:
            self._load_model()
            reason, status = "The model thread has ended", EXIT_CRASHED
            while self.state == State.READY:
                self.runner.run_next_batch(self.model)
        except ModelFailed as error:
            self._abort(*error.args)
        except (SystemExit, WrongModel) as error:
            self._abort(reason, error, status)
        except BaseException as error:
            log.exception("The model's own error:")
            self._abort(reason, repr(error), status)

    def _load_model(self) -> None:
        self.model, self.info = self._load(find_device(self._device))
        self.runner.max_batch = self.runner.max_batch or self.info.max_batch
        self.reason = "The model runs its example"
        self.example_output = run_examples(self.model, self.info)
        self.runner.example = next(iter(self.info.example), None)
        self.state, self.reason = State.READY, "The model is ready"
        telemetry.ready.set(1)
        telemetry.model_info.labels(self.info.name, self.info.revision or "").set(1)

    def _watch(self) -> None:
        """End the process once health reports a failure that nothing else noticed."""
        while self.state != State.FAILED:
            time.sleep(min(1.0, self.deadline / 10))
            state, reason = self.health()
            if state == State.FAILED:
                self._abort(reason)

    def _abort(self, reason: str, cause: Any = "", status: int = EXIT_CRASHED) -> None:
        """Refuse all jobs with the reason, log it with the cause, end the process."""
        if not self._aborting.acquire(blocking=False):
            return  # Another thread has begun.
        self.state, self.reason = State.FAILED, reason
        log.critical("%s: %s", reason, cause)
        telemetry.ready.set(0)
        for job in [*self.runner.running, *self.queue.drain()]:
            job.finish(error=job_queue.NotReady(reason))
        time.sleep(DRAIN_SECONDS)
        self.exit(status)
