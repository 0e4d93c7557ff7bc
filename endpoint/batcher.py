"""One thread that loads a model and runs it on batches from a bounded queue."""

import gc
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from endpoint import metrics

log = logging.getLogger(__name__)

# After one of these a CUDA context is lost: every later call in the process fails.
FATAL = re.compile(
    "device-side assert|illegal memory access|illegal instruction|misaligned address|"
    "invalid program counter|hardware stack error|unspecified launch failure|"
    "launch timed out|uncorrectable|GPU is lost"
)
MEMORY = re.compile("MemoryError|out of memory|ALLOC_FAILED|[Ff]ailed to allocate")
SMALL_BATCHES = 60.0  # seconds for which batches stay small after memory ran out
COMING = 0.05  # seconds in which a client that was answered sends its next input
LAST_ANSWERS = 1.0  # seconds for the last 5xx to leave before the process ends
LOAD_FAILED = 3  # gunicorn's status for a worker that cannot boot: it does not retry
DIED = 1  # gunicorn replaces a worker that ends with this status


class NotReady(Exception):
    """The model takes no input now; try again after `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Failed(Exception):
    """The model failed on this very input."""


class Late(Exception):
    """The deadline passed before there was an output."""


class Gone(Exception):
    """The client hung up before its input was run."""


class Entry:
    """One input on its way through decoding, the queue and a batch."""

    def __init__(self, name: str, deadline: float, gone: Callable[[], bool]) -> None:
        self.name, self.deadline, self.gone = name, deadline, gone
        self.input: Any = None
        self.key: Any = None
        self.batch = 0  # how many ran with it
        self.seconds = dict.fromkeys(("decode", "queue", "predict"), 0.0)
        self._stage, self._since = "decode", time.monotonic()
        self._outcome: Any = None
        self._settled = threading.Event()

    def enter(self, stage: str) -> None:
        """Note the time that the last stage took and begin another."""
        now = time.monotonic()
        self.seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now

    def settle(self, outcome: Any) -> None:
        """Hand over the output or an exception in its place; the first call counts."""
        if not self._settled.is_set():
            self.enter("answer")
            self._outcome = outcome
            self._settled.set()

    def result(self) -> Any:
        """Wait for the output; raise Failed, Late, Gone or NotReady in its place."""
        if not self._settled.wait(self.deadline - time.monotonic()):
            raise Late
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Worker:
    """Own the model: load it, batch what waits for it, know whether it is well.

    `queue` bounds the inputs that decode or wait, `deadline` (seconds) their time from
    submit to output and any single call of predict, `exit` ends a sick process.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        queue: int = 64,
        deadline: float = 90.0,
        max_batch: int | None = None,
        exit: Callable[[int], Any] = os._exit,
    ) -> None:
        self.model: Any = None
        self.example: Any = None  # the output for the model's own example
        self.max_batch = max_batch
        self._load, self._exit = load, exit
        self._queue, self._deadline = queue, deadline
        self._state, self._reason = "loading", "The model is loading"
        self._places = 0  # taken in the queue: inputs that decode or wait
        self._waiting: list[Entry] = []
        self._running: list[Entry] = []
        self._changed = threading.Condition()
        # A decoded photograph takes 150 MB: no more of them than cores that decode.
        self._decoders = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._clients = 0  # in the last batch, or in line meanwhile
        self._seconds_each = 0.0  # an input's share of its batch's time, smoothed
        self._calling_since: float | None = None
        self._small_batch, self._small_until = 1, 0.0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to load the model; return at once."""
        self._thread.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def health(self) -> tuple[str, str]:
        """Return "loading", "ready" or "failed" and a sentence; never waits."""
        since = self._calling_since
        started, alive = self._thread.ident, self._thread.is_alive()
        if started and not alive and self._state != "failed":
            # As after a fork, which takes no threads along.
            return "failed", "The model's thread does not run in this process"
        if since and time.monotonic() - since > self._deadline:
            return "failed", f"predict has not returned for {self._deadline:g} s"
        return self._state, self._reason

    def check(self) -> None:
        """Raise NotReady where an input would be refused now."""
        state, reason = self.health()
        if state != "ready":
            raise NotReady(reason)
        ahead = self._places + len(self._running)
        seconds = ahead * self._seconds_each
        if self._places >= self._queue or (ahead and seconds > self._deadline):
            raise NotReady("All places in the queue are taken", math.ceil(seconds) or 1)

    def submit(
        self,
        upload: Any,
        name: str = "",
        gone: Callable[[], bool] = lambda: False,
        wait: bool = False,
    ) -> Entry:
        """Take a place, decode in this thread and get in line, or raise NotReady.

        With `wait`, a full queue is waited for until the deadline.
        """
        entry = Entry(name, time.monotonic() + self._deadline, gone)
        with self._changed:
            while wait and self._places >= self._queue and self._state == "ready":
                wait = self._changed.wait(entry.deadline - time.monotonic())
            self.check()
            self._take_places(1)
        try:
            self._decode(upload, entry)
            with self._changed:
                if self._state != "ready":
                    raise NotReady(self._reason)
                self._waiting.append(entry)
                self._changed.notify_all()
        except BaseException:
            with self._changed:
                self._take_places(-1)
            raise
        return entry

    def _decode(self, upload: Any, entry: Entry) -> None:
        if not self._decoders.acquire(timeout=self._deadline):
            raise Late
        try:
            entry.input = self.model.decode(upload)
            entry.key = getattr(self.model, "batch_key", lambda _: None)(entry.input)
        finally:
            self._decoders.release()
        entry.enter("queue")

    def _take_places(self, places: int) -> None:
        self._places += places
        metrics.queued.set(self._places)
        self._changed.notify_all()

    def _run(self) -> None:
        """Load, then serve until the process ends."""
        try:
            self.model = self._load()
            self.max_batch = self.max_batch or getattr(self.model, "max_batch", 32)
            if example := getattr(self.model, "example", None):
                [self.example] = self.model.predict([self.model.decode(example)])
        except SystemExit as sentence:
            return self._die("The model cannot be loaded", sentence, LOAD_FAILED)
        except Exception as error:
            log.exception("The model's own error:")
            return self._die("The model cannot be loaded", repr(error), LOAD_FAILED)
        self._state, self._reason = "ready", "The model is ready"
        metrics.ready.set(1)
        try:
            while self._state == "ready":
                if batch := self._next_batch():
                    self._serve(batch)
        except BaseException as error:
            log.exception("The model's own error:")
            self._die("The model's thread has ended", repr(error))

    def _next_batch(self) -> list[Entry]:
        """Wait for entries; return those, oldest first, that can run together."""
        with self._changed:
            self._gather()
            limit = self._limit()
            batch: list[Entry] = []
            others: list[Entry] = []
            for entry in self._waiting:
                fits = not batch or entry.key == batch[0].key
                if len(batch) == limit or not fits:
                    others.append(entry)
                elif not self._drop(entry):
                    entry.enter("predict")
                    batch.append(entry)
            self._take_places(len(others) - len(self._waiting))
            self._waiting, self._running = others, batch
            return batch

    def _gather(self) -> None:
        """Wait for an entry; while they keep coming, for as many as there were.

        Clients that were answered together come back one by one: the first would run
        alone, and the others decode on the cores that it needs. The wait for each is
        no longer than it takes to run one.
        """
        self._changed.wait_for(lambda: self._waiting)
        came, patience = 0, min(self._seconds_each, COMING)
        while came < len(self._waiting) < min(self._clients, self._limit()):
            came = len(self._waiting)
            self._changed.wait_for(lambda: len(self._waiting) > came, patience)

    def _limit(self) -> int:
        lowered = time.monotonic() < self._small_until
        return self._small_batch if lowered else self.max_batch

    def _drop(self, entry: Entry) -> bool:
        """Settle an entry that nobody waits for any more."""
        late = time.monotonic() > entry.deadline
        if not late and not entry.gone():
            return False
        metrics.dropped.labels("deadline" if late else "gone").inc()
        entry.settle(Late() if late else Gone())
        return True

    def _serve(self, batch: list[Entry]) -> None:
        """Run a batch and learn from it what an input costs."""
        started = time.monotonic()
        self._settle(batch)
        each = (time.monotonic() - started) / len(batch)
        self._seconds_each += (each - self._seconds_each) * 0.2
        self._running = []

    def _settle(self, batch: list[Entry]) -> None:
        """Settle all entries; halve a batch that fails until the culprit is alone."""
        error = self._call(batch) if batch else None
        if error is None:
            return
        if FATAL.search(repr(error)):
            return self._die("The GPU is lost to this process", error)
        if len(batch) == 1:
            log.error("predict failed on request %s", batch[0].name, exc_info=error)
            return batch[0].settle(Failed())
        half = len(batch) // 2
        memory = MEMORY.search(repr(error))
        log.warning("A batch of %d is halved after: %s", len(batch), error)
        metrics.splits.labels("memory" if memory else "error").inc()
        if memory:
            self._small_batch = half
            self._small_until = time.monotonic() + SMALL_BATCHES
        # The traceback keeps the failed call's tensors alive: let go of it first.
        del error
        gc.collect()
        for part in (batch[:half], batch[half:]):
            self._settle([entry for entry in part if not self._drop(entry)])

    def _call(self, batch: list[Entry]) -> Exception | None:
        """Call predict and settle the entries, or return what went wrong."""
        metrics.batches.observe(len(batch))
        for entry in batch:
            entry.batch = len(batch)
        self._calling_since = time.monotonic()
        try:
            outputs = list(self.model.predict([entry.input for entry in batch]))
            if len(outputs) != len(batch):
                raise ValueError(
                    f"predict returned {len(outputs)} outputs for {len(batch)} inputs: "
                    "it must return one for each, in the same order."
                )
        except Exception as error:
            return error
        finally:
            self._calling_since = None
        self._clients = len(batch) + self._places
        for entry, output in zip(batch, outputs):
            entry.settle(output)
        return None

    def _watch(self) -> None:
        """End the process once health tells a failure that nothing else noticed."""
        while self._state != "failed":
            time.sleep(min(1.0, self._deadline / 10))
            state, reason = self.health()
            if state == "failed":
                self._die(reason)

    def _die(self, reason: str, cause: object = "", status: int = DIED) -> None:
        """Refuse what is under way, let the answers leave, end the process.

        Clients read the reason alone, the log has the cause too.
        """
        with self._changed:
            if self._state == "failed":
                return
            self._state, self._reason = "failed", reason
            unsettled = [*self._running, *self._waiting]
            self._changed.notify_all()
        log.critical("%s: %s", reason, cause)
        metrics.ready.set(0)
        for entry in unsettled:
            entry.settle(NotReady(self._reason))
        time.sleep(LAST_ANSWERS)
        self._exit(status)
