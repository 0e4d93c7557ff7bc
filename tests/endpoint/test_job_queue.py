"""Jobs and the queue they wait in, without a model."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from endpoint import job_queue, telemetry
from endpoint.job_queue import ClientDisconnected, DeadlineExceeded, Job, JobQueue

HUNG = 30  # seconds, after which a test fails instead of hanging
LONG = 600.0  # seconds; a test that waited for so long would count as hung


def make_job(key: object = None, **options) -> Job:
    job = Job(time.monotonic() + LONG, **options)
    job.key = key
    return job


def queue_of(*waiting: Job, size: int = 10) -> JobQueue:
    queue = JobQueue(size)
    for job in waiting:
        put(queue, job)
    return queue


def put(queue: JobQueue, job: Job) -> None:
    assert queue.reserve()
    queue.put(job)


@pytest.fixture
def in_thread():
    """Return a function that calls another one in a thread and returns a future."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def test_result_is_the_output():
    job = make_job()
    job.finish("output")
    assert job.result() == "output"


def test_result_raises_the_error():
    job = make_job()
    job.finish(error=LookupError("lost"))
    with pytest.raises(LookupError, match="lost"):
        job.result()


def test_only_the_first_finish_has_an_effect():
    job = make_job()
    job.finish("first")
    job.finish("second")
    job.finish(error=LookupError())
    assert job.result() == "first"


def test_result_waits_for_another_thread():
    job = make_job()
    threading.Timer(0.05, job.finish, ["output"]).start()
    assert job.result() == "output"


def test_result_raises_once_the_deadline_has_passed():
    with pytest.raises(DeadlineExceeded):
        Job(time.monotonic() + 0.05).result()
    with pytest.raises(DeadlineExceeded):
        Job(time.monotonic() - 1).result()


def test_output_before_the_deadline_is_kept():
    job = Job(time.monotonic() - 1)
    job.finish("output")
    assert job.result() == "output"


def test_time_in_each_stage_is_recorded(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=100.0)
    monkeypatch.setattr(job_queue, "time", clock)
    job = Job(deadline=200.0)
    for stage, seconds in [("decode", 3.0), ("queue", 4.0), ("predict", 5.0)]:
        job.enter(stage)
        clock.now += seconds
    job.finish()
    timings = {stage: job.timings[stage] for stage in ("decode", "queue", "predict")}
    assert timings == {"decode": 3.0, "queue": 4.0, "predict": 5.0}
    assert job.time_left() == 200 - 112


def test_time_of_the_last_stage_is_recorded_before_the_output_is_there():
    job = make_job()
    job.enter("predict")
    seen = []
    job._future.add_done_callback(lambda future: seen.append("predict" in job.timings))
    job.finish("output")
    assert seen == [True]


def test_job_past_its_deadline_is_stale():
    job = Job(time.monotonic() - 1)
    assert job.finish_if_stale()
    with pytest.raises(DeadlineExceeded):
        job.result()


def test_job_of_a_disconnected_client_is_stale():
    job = make_job(is_disconnected=lambda: True)
    assert job.finish_if_stale()
    with pytest.raises(ClientDisconnected):
        job.result()


def test_job_that_a_client_waits_for_is_not_stale():
    job = make_job()
    assert not job.finish_if_stale()
    job.finish("output")
    assert job.finish_if_stale() and job.result() == "output"


def test_batch_has_the_oldest_jobs_up_to_the_limit():
    waiting = [make_job() for _ in range(5)]
    queue = queue_of(*waiting)
    assert queue.next_batch(3, 0, LONG) == waiting[:3]
    assert queue.next_batch(3, 0, LONG) == waiting[3:]


def test_job_whose_key_equals_no_key_is_alone_in_its_batch():
    first, second = make_job(float("nan")), make_job(float("nan"))
    queue = queue_of(first, second)
    assert queue.next_batch(8, 0, 0) == [first]
    assert queue.next_batch(8, 0, 0) == [second]


def test_batch_has_jobs_with_equal_keys():
    waiting = [make_job(key) for key in "abab"]
    queue = queue_of(*waiting)
    assert queue.next_batch(9, 0, LONG) == [waiting[0], waiting[2]]
    assert queue.next_batch(9, 0, LONG) == [waiting[1], waiting[3]]


def test_batch_has_no_stale_jobs():
    late, gone = Job(time.monotonic() - 1), make_job(is_disconnected=lambda: True)
    live = make_job()
    queue = queue_of(late, gone, live)
    assert queue.next_batch(9, 0, LONG) == [live]
    assert queue.pending == 0


def test_batch_is_empty_if_all_jobs_are_stale():
    queue = queue_of(Job(time.monotonic() - 1))
    assert queue.next_batch(9, 0, LONG) == [] and queue.pending == 0


def test_batch_is_waited_for(in_thread):
    queue, job = queue_of(), make_job()
    batch = in_thread(queue.next_batch, 9, 0, LONG)
    put(queue, job)
    assert batch.result(HUNG) == [job]


def test_lone_job_does_not_wait_for_others(in_thread):
    job = make_job()
    batch = in_thread(queue_of(job).next_batch, 9, 1, LONG)
    assert batch.result(HUNG) == [job]


def test_jobs_that_arrive_one_by_one_share_a_batch(in_thread):
    queue, waiting = queue_of(), [make_job() for _ in range(3)]
    batch = in_thread(queue.next_batch, 9, 3, LONG)
    for job in waiting:
        assert not batch.done()
        put(queue, job)
    assert batch.result(HUNG) == waiting


def test_full_batch_does_not_wait_for_more(in_thread):
    waiting = [make_job() for _ in range(2)]
    batch = in_thread(queue_of(*waiting).next_batch, 2, 5, LONG)
    assert batch.result(HUNG) == waiting


@pytest.mark.parametrize("max_delay", [0, 0.02])
def test_missing_jobs_are_not_waited_for_any_longer(in_thread, max_delay):
    job = make_job()
    batch = in_thread(queue_of(job).next_batch, 9, 5, max_delay)
    assert batch.result(HUNG) == [job]


def test_slots_are_limited_and_given_back():
    queue = JobQueue(2)
    assert [queue.reserve() for _ in range(3)] == [True, True, False]
    queue.use_slots(-1)
    assert queue.reserve() and queue.pending == 2


def test_free_slot_is_waited_for(in_thread):
    queue = queue_of(make_job(), size=1)
    reserved = in_thread(queue.reserve, LONG)
    queue.next_batch(1, 0, 0)
    assert reserved.result(HUNG)


def test_slot_that_never_becomes_free_is_given_up():
    queue = queue_of(make_job(), size=1)
    assert not queue.reserve(0.01) and queue.pending == 1


def test_job_holds_its_slot_until_its_batch():
    queue = queue_of(make_job(), make_job())
    assert queue.pending == 2
    queue.next_batch(1, 0, 0)
    assert queue.pending == 1


def test_drained_queue_is_empty():
    waiting = [make_job(), make_job()]
    queue = queue_of(*waiting)
    assert queue.drain() == waiting
    assert (queue.drain(), queue.pending) == ([], 0)


def test_number_of_slots_in_use_is_a_metric():
    queue = queue_of(make_job(), make_job())
    assert "\nendpoint_queue_size 2.0\n" in telemetry.metrics()
    queue.drain()
    assert "\nendpoint_queue_size 0.0\n" in telemetry.metrics()
