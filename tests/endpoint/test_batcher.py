"""Batches, isolation, backpressure and health, with models of a few lines."""

import logging
import threading
import time

import pytest

from endpoint import batcher as module
from endpoint.batcher import Batcher
from endpoint.jobs import (
    ClientDisconnected,
    DeadlineExceeded,
    Job,
    NotReady,
    PredictionFailed,
    QueueFull,
)
from endpoint.model_info import ModelInfo
from endpoint.settings import Settings


class Upper:
    """A model of text: capitals out; notes its batches and fails on what it is told."""

    max_batch = 8

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.turn = threading.Event()
        self.turn.set()
        self.fits = 1000

    def decode(self, text: str) -> str:
        if text == "undecodable":
            raise LookupError(text)
        return text

    def predict(self, texts: list[str]) -> list[str]:
        self.batches.append(texts)
        self.turn.wait(10)
        if len(texts) > self.fits:
            raise MemoryError
        if any(text.startswith("bad") for text in texts):
            raise ValueError("bad text")
        return [text.upper() for text in texts]


@pytest.fixture
def model():
    return Upper()


@pytest.fixture
def batcher(model):
    return started(model)


def loaded(model):
    return model, ModelInfo.of(model, "upper", "cpu")


def started(model, **options) -> Batcher:
    exits: list[int] = []
    batcher = Batcher(
        lambda: loaded(model),
        ModelInfo("upper"),
        Settings(**options),
        exits.append,
    )
    batcher.exits = exits
    batcher.start()
    wait_until(lambda: batcher.health()[0] != "loading")
    return batcher


def wait_until(condition, seconds=5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def blocked(batcher, model):
    """Keep the model busy with one input and return its job."""
    model.turn.clear()
    job = batcher.submit("first")
    wait_until(lambda: model.batches)
    return job


def outcomes(jobs) -> list:
    return [outcome(job) for job in jobs]


def outcome(job):
    try:
        return job.result()
    except Exception as error:
        return type(error)


def test_batch_is_what_queued_while_the_last_one_ran(batcher, model):
    first = blocked(batcher, model)
    jobs = [batcher.submit(text) for text in "abcdefghij"]
    model.turn.set()
    assert outcomes([first, *jobs]) == ["FIRST", *"ABCDEFGHIJ"]
    assert [len(batch) for batch in model.batches] == [1, 8, 2]


def test_lone_input_does_not_wait_for_company(batcher):
    started = time.monotonic()
    assert batcher.submit("a").result() == "A"
    assert time.monotonic() - started < 0.1


class Slow(Upper):
    """Takes 20 ms for an input, and a third of that to decode one."""

    def decode(self, text: str) -> str:
        time.sleep(0.007 if text else 0)
        return text

    def predict(self, texts: list[str]) -> list[str]:
        time.sleep(0.02 * len(texts))
        return super().predict(texts)


def test_clients_that_come_back_one_by_one_share_a_batch():
    model = Slow()
    batcher = started(model)

    def client(number: int) -> None:
        for _ in range(15):
            time.sleep(0.003 * number)
            assert batcher.submit("abcdef"[number]).result() == "ABCDEF"[number]

    clients = [threading.Thread(target=client, args=[n]) for n in range(6)]
    [thread.start() for thread in clients]
    [thread.join() for thread in clients]
    whole = [batch for batch in model.batches if len(batch) == 6]
    assert len(whole) >= 8 and sum(map(len, model.batches)) == 90


@pytest.mark.parametrize("max_batch_delay", [0, 2, 50])
def test_missing_clients_are_waited_for_no_longer_than_one_input_takes(max_batch_delay):
    model = Slow()
    batcher = started(model, max_batch_delay=max_batch_delay)
    model.turn.clear()
    jobs = [batcher.submit("") for _ in range(4)]
    model.turn.set()
    outcomes(jobs)
    delay = min(batcher.runner.seconds_per_input, max_batch_delay / 1000)
    alone = batcher.submit("")
    assert alone.result() == "" and alone.timings["queue"] >= delay
    next_one = batcher.submit("")  # Now one job is the last demand.
    assert next_one.result() == "" and next_one.batch_size == 1


def test_only_the_culprits_of_a_batch_fail(batcher, model):
    blocked(batcher, model)
    jobs = [batcher.submit(text) for text in ["a", "bad", "c", "d", "e", "f", "bad2"]]
    model.turn.set()
    assert outcomes(jobs) == [
        "A",
        PredictionFailed,
        "C",
        "D",
        "E",
        "F",
        PredictionFailed,
    ]


def test_failure_is_logged_with_the_name_of_its_request(batcher, caplog):
    outcomes([batcher.submit("bad", Job(time.monotonic() + 9, "request-7"))])
    assert "request-7" in caplog.text and "bad text" in caplog.text


def test_batch_out_of_memory_is_halved_and_stays_small(batcher, model, monkeypatch):
    first = blocked(batcher, model)
    model.fits = 2
    jobs = [batcher.submit(text) for text in "abcdefgh"]
    model.turn.set()
    assert outcomes([first, *jobs]) == ["FIRST", *"ABCDEFGH"]
    assert [len(batch) for batch in model.batches] == [1, 8, 4, 2, 2, 4, 2, 2]
    model.batches.clear()
    blocked(batcher, model)
    jobs = [batcher.submit(text) for text in "abcd"]
    model.turn.set()
    assert outcomes(jobs) == [*"ABCD"]
    assert max(len(batch) for batch in model.batches) == 2


def test_batches_grow_again_after_a_while(batcher, model, monkeypatch):
    monkeypatch.setattr(module, "OOM_COOLDOWN", 0.05)
    blocked(batcher, model)
    model.fits = 2
    jobs = [batcher.submit(text) for text in "abcd"]
    model.turn.set()
    outcomes(jobs)
    model.fits = 1000
    time.sleep(0.1)
    model.batches.clear()
    blocked(batcher, model)
    jobs = [batcher.submit(text) for text in "abcd"]
    model.turn.set()
    assert outcomes(jobs) == [*"ABCD"] and len(model.batches[-1]) == 4


def test_wrong_number_of_outputs_is_told_to_the_author(caplog):
    class Short(Upper):
        def predict(self, texts):
            return []

    assert outcomes([started(Short()).submit("a")]) == [PredictionFailed]
    assert "predict returned 0 outputs for 1 inputs" in caplog.text


def test_inputs_of_different_keys_do_not_share_a_batch(model):
    model.batch_key = len
    batcher = started(model)
    blocked(batcher, model)
    jobs = [batcher.submit(text) for text in ["a", "bb", "c", "dd"]]
    model.turn.set()
    assert outcomes(jobs) == ["A", "BB", "C", "DD"]
    assert model.batches[1:] == [["a", "c"], ["bb", "dd"]]


def test_full_queue_refuses_at_once_and_says_when_to_return(model):
    batcher = started(model, queue=2)
    blocked(batcher, model)
    jobs = [batcher.submit(text) for text in "ab"]
    with pytest.raises(NotReady) as refusal:
        batcher.submit("c").result()
    assert refusal.value.retry_after >= 1
    model.turn.set()
    assert outcomes(jobs) == ["A", "B"]
    assert batcher.submit("d").result() == "D"


def test_later_file_of_a_request_waits_for_its_place(model):
    batcher = started(model, queue=1)
    blocked(batcher, model)
    jobs = [batcher.submit("a")]
    threading.Timer(0.05, model.turn.set).start()
    jobs.append(batcher.submit("b", wait=True))
    assert outcomes(jobs) == ["A", "B"]


def test_input_that_cannot_be_decoded_gives_its_place_back(model):
    batcher = started(model, queue=1)
    for _ in range(3):
        with pytest.raises(LookupError):
            batcher.submit("undecodable").result()
    assert batcher.submit("a").result() == "A"


def test_deadline_ends_the_wait_and_spares_the_model(batcher, model):
    blocked(batcher, model)
    late, stays = batcher.submit("late"), batcher.submit("stays")
    late.deadline = time.monotonic() + 0.05
    assert outcome(late) is DeadlineExceeded
    model.turn.set()
    assert stays.result() == "STAYS"
    assert not any("late" in batch for batch in model.batches)


def test_input_of_a_client_that_left_is_not_run(batcher, model):
    blocked(batcher, model)
    has_left: list[bool] = []
    leaving = Job(time.monotonic() + 9, is_disconnected=lambda: bool(has_left))
    left = batcher.submit("left", leaving)
    has_left.append(True)
    stays = batcher.submit("stays")
    model.turn.set()
    assert outcomes([left, stays]) == [ClientDisconnected, "STAYS"]
    assert not any("left" in batch for batch in model.batches)


def test_fatal_error_answers_everyone_and_ends_the_process(model, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)
    batcher = started(model)
    job = blocked(batcher, model)
    queued = batcher.submit("queued")
    model.predict = fatal
    second = batcher.submit("second")
    model.turn.set()
    assert outcome(job) == "FIRST"
    assert outcomes([queued, second]) == [NotReady, NotReady]
    wait_until(lambda: batcher.exits)
    assert batcher.exits == [module.EXIT_CRASHED] and batcher.health()[0] == "failed"
    with pytest.raises(NotReady):
        batcher.submit("third").result()


def fatal(texts):
    raise RuntimeError("CUDA error: device-side assert triggered")


def test_hung_predict_fails_health_and_ends_the_process(model, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)
    batcher = started(model, deadline=0.3)
    job = blocked(batcher, model)
    assert outcome(job) in (DeadlineExceeded, NotReady)
    wait_until(lambda: batcher.health()[0] == "failed", 1)
    wait_until(lambda: batcher.exits, 1)
    assert batcher.exits == [module.EXIT_CRASHED]
    model.turn.set()


def test_model_that_ends_its_thread_fails_health(model, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)

    def leave(texts):
        raise SystemExit("gone")

    batcher = started(model)
    model.predict = leave
    assert outcome(batcher.submit("a")) is NotReady
    wait_until(lambda: batcher.exits)
    assert batcher.health()[0] == "failed"


@pytest.mark.parametrize("error", [SystemExit("One sentence."), ValueError("cause")])
def test_model_that_cannot_load_ends_the_process(error, monkeypatch, caplog):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)

    def load():
        raise error

    exits = []
    batcher = Batcher(load, ModelInfo("upper"), Settings(), exits.append)
    batcher.start()
    wait_until(lambda: exits)
    assert exits == [module.EXIT_BOOT_FAILED] and batcher.health()[0] == "failed"
    sentence = [r.getMessage() for r in caplog.records if r.levelno == logging.CRITICAL]
    assert len(sentence) == 1 and str(error) in sentence[0]


def test_model_is_warmed_up_with_its_example(model):
    model.example = "example"
    started(model)
    assert model.batches == [["example"]]


def test_every_entry_knows_its_times(batcher):
    job = batcher.submit("a")
    job.result()
    assert {"decode", "queue", "predict"} <= set(job.timings)
    assert all(0 <= seconds < 0.5 for seconds in job.timings.values())


def test_many_threads_get_their_own_outputs(batcher):
    wrong = []

    def ask(name):
        for number in range(50):
            text = f"{name}{number}"
            if batcher.submit(text, wait=True).result() != text.upper():
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=[f"t{n}-"]) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
