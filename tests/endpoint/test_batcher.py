"""Batches, isolation of failures, overload and health, with models of a few lines."""

import logging
import threading
import time

import pytest

from endpoint import batcher as module
from endpoint.batcher import Batcher
from endpoint.job_queue import (
    ClientDisconnected,
    DeadlineExceeded,
    Job,
    NotReady,
    PredictionFailed,
    QueueFull,
)
from endpoint.settings import Settings
from model_interface.files import Upload
from model_interface.model_info import ModelInfo
from tests.support.apps import wait_until


class Upper:
    """A model that writes texts in capitals, records its batches and fails on request.

    predict waits while `gate` is clear, and runs out of memory over `fits` texts.
    """

    accepts = "text/plain"
    max_batch = 8

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fits = 1000

    def decode(self, upload: Upload) -> str:
        text = upload.data.decode()
        if text == "undecodable":
            raise LookupError(text)
        return text

    def predict(self, texts: list[str]) -> list[str]:
        self.batches.append(texts)
        self.gate.wait(30)
        if len(texts) > self.fits:
            raise MemoryError
        if any(text.startswith("bad") for text in texts):
            raise ValueError("bad text")
        return [text.upper() for text in texts]

    def encode(self, text: str) -> dict[str, str]:
        return {"text": text}


@pytest.fixture(autouse=True)
def no_drain(monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0)


@pytest.fixture
def model():
    model = Upper()
    yield model
    model.gate.set()


@pytest.fixture
def batcher(model):
    return started(model)


def started(model, **settings) -> Batcher:
    """Return a batcher with a loaded model; `exits` are its exit statuses."""
    exits: list[int] = []
    info = ModelInfo.of(model, "upper", "cpu")
    batcher = Batcher(
        lambda device: (model, info),
        "upper",
        Settings(**settings),
        exits.append,
    )
    batcher.exits = exits
    batcher.start()
    wait_until(lambda: batcher.health()[0] != "loading")
    return batcher


def blocked(batcher, model) -> Job:
    """Keep the model busy with one input and return its job."""
    model.gate.clear()
    job = batcher.submit(upload("first"))
    wait_until(lambda: model.batches)
    return job


def upload(text: str) -> Upload:
    return Upload(text.encode(), "text/plain")


def outcomes(jobs) -> list:
    return [outcome(job) for job in jobs]


def outcome(job):
    """Return the output of a job, or the type of its error."""
    try:
        return job.result()
    except Exception as error:
        return type(error)


def sizes(model) -> list[int]:
    return [len(batch) for batch in model.batches]


def test_inputs_that_arrive_during_a_batch_make_the_next_one(batcher, model):
    first = blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abcdefghij"]
    model.gate.set()
    assert outcomes([first, *jobs]) == ["FIRST", *"ABCDEFGHIJ"]
    assert sizes(model) == [1, 8, 2]
    assert [job.batch_size for job in (first, *jobs)] == [1, *[8] * 8, 2, 2]


def test_setting_limits_the_batch(model):
    batcher = started(model, max_batch=3)
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abcde"]
    model.gate.set()
    assert outcomes(jobs) == [*"ABCDE"] and sizes(model) == [1, 3, 2]


PATIENT = {"max_batch_delay": 10_000, "deadline": 3600}  # milliseconds, seconds


def test_lone_input_does_not_wait_for_others(model):
    batcher = started(model, **PATIENT)
    batcher.runner.seconds_per_input = 600.0
    for _ in range(20):
        job = Job(time.monotonic() + 30)  # Waiting 10 s each time would exceed it.
        assert batcher.submit(upload("a"), job).result() == "A"
    assert sizes(model) == [1] * 20


def test_clients_that_return_one_by_one_share_a_batch(model):
    batcher = started(model, **PATIENT)
    first = blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abc"]
    batcher.runner.seconds_per_input = 100.0
    model.gate.set()
    assert first.result() == "FIRST"
    jobs.append(batcher.submit(upload("d")))  # The first client returns.
    assert outcomes(jobs) == [*"ABCD"]
    jobs = []
    for text in "efgh":
        time.sleep(0.01)  # The model is idle and could start.
        jobs.append(batcher.submit(upload(text)))
    assert outcomes(jobs) == [*"EFGH"] and sizes(model) == [1, 4, 4]


@pytest.mark.parametrize("max_batch_delay", [0, 2, 50])
def test_missing_clients_are_waited_for_once(model, max_batch_delay):
    batcher = started(model, max_batch_delay=max_batch_delay, deadline=3600)
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abc"]
    batcher.runner.seconds_per_input = 0.02
    model.gate.set()
    assert outcomes(jobs) == [*"ABC"]
    model.gate.clear()
    alone = batcher.submit(upload("d"))
    wait_until(lambda: len(model.batches) == 3)
    # From here on, waiting would take longer than the last job's deadline.
    batcher.runner.seconds_per_input = batcher.runner.max_delay = 600.0
    model.gate.set()
    assert alone.result() == "D"
    assert alone.timings["queue"] >= min(0.64 * 0.02, max_batch_delay / 1000)
    assert batcher.submit(upload("e"), Job(time.monotonic() + 30)).result() == "E"
    assert sizes(model) == [1, 3, 1, 1]


def test_only_the_inputs_that_fail_get_an_error(batcher, model):
    blocked(batcher, model)
    jobs = [
        batcher.submit(upload(text))
        for text in ["a", "bad", "c", "d", "e", "f", "bad2"]
    ]
    model.gate.set()
    failed = PredictionFailed
    assert outcomes(jobs) == ["A", failed, "C", "D", "E", "F", failed]


def test_failure_is_logged_with_its_request_id(batcher, caplog):
    job = Job(time.monotonic() + 30, "request-7")
    assert outcome(batcher.submit(upload("bad"), job)) is PredictionFailed
    assert "request-7" in caplog.text and "bad text" in caplog.text


def test_batch_out_of_memory_is_halved_and_batches_stay_small(batcher, model):
    first = blocked(batcher, model)
    model.fits = 2
    jobs = [batcher.submit(upload(text)) for text in "abcdefgh"]
    model.gate.set()
    assert outcomes([first, *jobs]) == ["FIRST", *"ABCDEFGH"]
    assert sizes(model) == [1, 8, 4, 2, 2, 4, 2, 2]
    model.batches.clear()
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abcd"]
    model.gate.set()
    assert outcomes(jobs) == [*"ABCD"]
    assert max(sizes(model)) == 2


def test_batches_grow_again_after_the_cooldown(batcher, model, monkeypatch):
    monkeypatch.setattr(module, "OOM_COOLDOWN", 0)
    blocked(batcher, model)
    model.fits = 2
    jobs = [batcher.submit(upload(text)) for text in "abcd"]
    model.gate.set()
    assert outcomes(jobs) == [*"ABCD"]
    model.fits = 1000
    model.batches.clear()
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "abcd"]
    model.gate.set()
    assert outcomes(jobs) == [*"ABCD"] and sizes(model)[-1] == 4


def test_wrong_number_of_outputs_is_explained_in_the_log(caplog):
    class Short(Upper):
        def predict(self, texts):
            return []

    assert outcomes([started(Short()).submit(upload("a"))]) == [PredictionFailed]
    assert "predict returned 0 outputs for 1 inputs" in caplog.text


def test_inputs_with_different_keys_do_not_share_a_batch(model):
    model.batch_key = len
    batcher = started(model)
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in ["a", "bb", "c", "dd"]]
    model.gate.set()
    assert outcomes(jobs) == ["A", "BB", "C", "DD"]
    assert model.batches[1:] == [["a", "c"], ["bb", "dd"]]


def test_full_queue_refuses_while_the_model_is_busy(model):
    batcher = started(model, queue=2)
    blocked(batcher, model)
    jobs = [batcher.submit(upload(text)) for text in "ab"]
    with pytest.raises(QueueFull) as refusal:
        batcher.submit(upload("c")).result()
    assert isinstance(refusal.value, NotReady) and refusal.value.retry_after >= 1
    model.gate.set()
    assert outcomes(jobs) == ["A", "B"]
    assert batcher.submit(upload("d")).result() == "D"


def test_queue_that_would_take_longer_than_the_deadline_refuses(batcher, model):
    blocked(batcher, model)
    batcher.submit(upload("a"))
    batcher.runner.seconds_per_input = 0.6 * batcher.deadline
    with pytest.raises(QueueFull) as refusal:
        batcher.submit(upload("b")).result()
    assert refusal.value.retry_after == 1.2 * batcher.deadline


def test_input_whose_slot_was_just_taken_is_told_that_the_queue_is_full(
    batcher, monkeypatch
):
    monkeypatch.setattr(batcher.queue, "reserve", lambda timeout: False)
    assert outcome(batcher.submit(upload("late"))) is QueueFull


def test_later_file_of_a_request_waits_for_a_slot(model):
    batcher = started(model, queue=1)
    blocked(batcher, model)
    jobs = [batcher.submit(upload("a"))]
    threading.Timer(0.05, model.gate.set).start()
    jobs.append(batcher.submit(upload("b"), wait=True))
    assert outcomes(jobs) == ["A", "B"]


@pytest.mark.attack(9)
def test_later_file_waits_no_longer_than_its_deadline(model):
    batcher = started(model, queue=1)
    blocked(batcher, model)
    batcher.submit(upload("a"))
    late = Job(time.monotonic() + 0.05)
    assert outcome(batcher.submit(upload("b"), late, wait=True)) in (
        DeadlineExceeded,
        QueueFull,
    )


def test_input_that_cannot_be_decoded_gives_its_slot_back(model):
    batcher = started(model, queue=1)
    for _ in range(3):
        with pytest.raises(LookupError):
            batcher.submit(upload("undecodable")).result()
    assert batcher.submit(upload("a")).result() == "A"


def test_input_past_its_deadline_is_not_run(batcher, model):
    blocked(batcher, model)
    late, stays = batcher.submit(upload("late")), batcher.submit(upload("stays"))
    late.deadline = time.monotonic() + 0.05
    assert outcome(late) is DeadlineExceeded
    model.gate.set()
    assert stays.result() == "STAYS"
    assert not any("late" in batch for batch in model.batches)


def test_input_of_a_disconnected_client_is_not_run(batcher, model):
    blocked(batcher, model)
    has_left = threading.Event()
    job = Job(time.monotonic() + 30, is_disconnected=has_left.is_set)
    left = batcher.submit(upload("left"), job)
    has_left.set()
    stays = batcher.submit(upload("stays"))
    model.gate.set()
    assert outcomes([left, stays]) == [ClientDisconnected, "STAYS"]
    assert not any("left" in batch for batch in model.batches)


@pytest.mark.attack(9)
def test_decoder_can_check_whether_somebody_waits(batcher, model):
    has_left = []

    def decode(upload):
        upload.check()
        has_left.append(True)
        upload.check()

    model.decode = decode
    job = Job(time.monotonic() + 30, is_disconnected=lambda: bool(has_left))
    assert outcome(batcher.submit(Upload(b""), job)) == ClientDisconnected
    assert has_left == [True] and model.batches == []


@pytest.mark.attack(9)
def test_input_of_a_disconnected_client_is_not_decoded(batcher, model):
    model.decode = None
    job = Job(time.monotonic() + 30, is_disconnected=lambda: True)
    dropped = module.telemetry.dropped.labels("disconnected")
    before = dropped._value.get()
    assert outcome(batcher.submit(upload("left"), job)) is ClientDisconnected
    assert dropped._value.get() == before + 1


def fail_fatally(texts):
    raise RuntimeError("CUDA error: device-side assert triggered")


def test_fatal_error_fails_all_jobs_and_ends_the_process(batcher, model):
    first = blocked(batcher, model)
    queued = [batcher.submit(upload("second")), batcher.submit(upload("third"))]
    model.predict = fail_fatally
    model.gate.set()
    assert outcomes([first, *queued]) == ["FIRST", NotReady, NotReady]
    wait_until(lambda: batcher.exits)
    assert batcher.exits == [module.EXIT_CRASHED] and batcher.health()[0] == "failed"
    with pytest.raises(NotReady):
        batcher.submit(upload("fourth")).result()


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
    ],
)
def test_error_after_which_the_gpu_is_unusable_ends_the_process(
    batcher, model, message
):
    def fail(texts):
        raise RuntimeError(message)

    model.predict = fail
    assert outcome(batcher.submit(upload("a"))) is NotReady
    wait_until(lambda: batcher.exits)
    assert batcher.health() == ("failed", "The GPU has failed")


@pytest.fixture
def with_example(model):
    """Return a batcher of a model whose example is the text "example"."""
    model.example = [upload("example")]
    return started(model)


def test_example_shows_that_only_one_input_fails(with_example, model):
    assert outcome(with_example.submit(upload("bad"))) is PredictionFailed
    assert model.batches[-2:] == [["bad"], ["example"]]
    assert outcome(with_example.submit(upload("good"))) == "GOOD"
    assert not with_example.exits


def test_model_that_fails_on_its_own_example_ends_the_process(
    with_example, model, caplog
):
    def fail(texts):
        raise ValueError("cuBLAS: execution failed")

    model.predict = fail
    assert outcome(with_example.submit(upload("good"))) is NotReady
    wait_until(lambda: with_example.exits)
    assert with_example.exits == [module.EXIT_CRASHED]
    assert with_example.health() == ("failed", "The model fails on its own example")
    assert "cuBLAS: execution failed" in caplog.text


def test_predict_that_hangs_fails_health_and_ends_the_process(model):
    batcher = started(model, deadline=0.3)
    job = blocked(batcher, model)
    assert outcome(job) in (DeadlineExceeded, NotReady)
    wait_until(lambda: batcher.health()[0] == "failed")
    wait_until(lambda: batcher.exits)
    assert batcher.exits == [module.EXIT_CRASHED]


def test_model_that_ends_its_thread_fails_health(batcher, model):
    def leave(texts):
        raise SystemExit("gone")

    model.predict = leave
    assert outcome(batcher.submit(upload("a"))) is NotReady
    wait_until(lambda: batcher.exits)
    assert batcher.health()[0] == "failed"


@pytest.mark.parametrize("error", [SystemExit("One sentence."), ValueError("cause")])
def test_model_that_cannot_load_ends_the_process(error, caplog):
    def load(device):
        raise error

    exits: list[int] = []
    batcher = Batcher(load, "upper", Settings(), exits.append)
    batcher.start()
    wait_until(lambda: exits)
    assert exits == [module.EXIT_BOOT_FAILED] and batcher.health()[0] == "failed"
    critical = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert len(critical) == 1 and str(error) in critical[0].getMessage()


def test_cause_of_a_failure_is_not_shown_to_clients(caplog):
    def load(device):
        raise ValueError("secret")

    exits: list[int] = []
    batcher = Batcher(load, "upper", Settings(), exits.append)
    batcher.start()
    wait_until(lambda: exits)
    assert "secret" not in batcher.health()[1] and "secret" in caplog.text


def test_model_is_warmed_up_with_its_example(model, monkeypatch):
    monkeypatch.setattr("model_interface.batch_check.LARGE_BATCH_SECONDS", 1000)
    model.example = [Upload(b"first"), Upload(b"second")]
    batcher = started(model)
    for word, batches in (("second", model.batches[:4]), ("first", model.batches[4:])):
        pair = [word, f"{word} {word}"]
        assert batches == [[word], pair[1:], pair, pair + [word] * 6]
    assert batcher.example_output == "FIRST"


def test_info_is_that_of_the_model_once_it_is_loaded(model):
    model.name, model.revision = "capitals", "2"
    assert started(model).info.version == "capitals@2"


def test_batcher_loads_nothing_before_it_starts(model):
    batcher = Batcher(None, "upper", Settings(), [].append)
    assert batcher.health() == ("loading", "The model is loading")
    assert outcome(batcher.submit(upload("a"))) is NotReady


def test_every_job_knows_the_time_of_each_stage(batcher):
    started = time.monotonic()
    job = batcher.submit(upload("a"))
    job.result()
    stages = [job.timings[stage] for stage in ("decode", "queue", "predict")]
    assert min(stages) >= 0
    assert sum(stages) <= time.monotonic() - started


def test_many_threads_get_their_own_outputs(batcher):
    wrong = []

    def send(name):
        for number in range(50):
            text = f"{name}{number}"
            if batcher.submit(upload(text), wait=True).result() != text.upper():
                wrong.append(text)

    threads = [threading.Thread(target=send, args=[f"t{n}-"]) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
