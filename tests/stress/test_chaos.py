"""The troubles of `tests.stress.chaos`, each for a few seconds, and what must come of them."""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.stress import chaos
from tests.support import fake_model as fake
from tests.support.images import make_image as picture
from tests.support.server import Server


def test_all_but_the_culprits_of_full_batches_are_answered():
    figures = chaos.isolation(batches=4)
    assert figures["statuses"] == {200: 112, 500: 16}
    assert figures["good ones lost"] == figures["wrong"] == 0
    assert figures["batches halved"] > 0


def test_batches_too_large_for_the_memory_are_answered():
    figures = chaos.memory()
    assert figures["statuses"] == {200: 512} and figures["wrong"] == 0
    assert figures["batches halved"] > 0


def test_overload_is_refused_at_once_and_leaves_nothing_behind():
    figures = chaos.overload(seconds=5)
    assert set(figures["statuses"]) == {200, 503} and figures["wrong"] == 0
    assert figures["accepted p99 s"] < 10 and figures["refused p99 s"] < 0.05
    assert figures["without Retry-After"] == 0
    assert figures["ping p99 s"] < 0.1
    assert figures["memory growth MB"] < 20
    assert figures["statuses 2 s later"] == {200: 20}


def test_work_of_clients_that_left_is_dropped():
    figures = chaos.hang_ups()
    assert figures["statuses of others"] == {200: 100} and figures["wrong"] == 0
    assert figures["dropped"] + figures["run"] == 200 and figures["run"] <= 2
    assert figures["still queued"] == 0


def test_slow_clients_do_not_slow_others():
    figures = chaos.slow_clients(seconds=3)
    assert set(figures["statuses"]) == {200}
    assert figures["p99 s"] < 0.25


def test_killed_worker_is_replaced_and_loses_only_what_it_held():
    figures = chaos.kill()
    assert figures["wrong"] == 0 and figures["lost"] <= 16
    assert figures["seconds to service"] < 1 + 2  # to load, to start Python


def test_termination_loses_nothing_that_was_begun():
    figures = chaos.terminate(rounds=3)
    assert figures["lost"] == 0 and figures["exits"] == {0: 3}
    assert figures["slowest end s"] < 10


@pytest.mark.parametrize("width", [fake.HANGS, fake.IS_FATAL, fake.EXITS])
def test_sick_process_says_so_answers_and_is_replaced(width):
    figures = chaos.sick(width)
    assert 503 in figures["pings"] and figures["afterwards"] == 200
    assert set(figures["statuses"]) <= {200, 503, 504} and 200 in figures["statuses"]
    assert figures["replaced after s"] < 8


def test_ping_is_answered_while_all_places_are_taken():
    with chaos.serve(FAKE_SECONDS=3) as server, ExitStack() as connections:
        for _ in range(200):
            connections.enter_context(chaos.send(server, picture(32, 32)))
        time.sleep(1)
        for _ in range(20):
            took = server.curl("-o", "/dev/null", "-w", "%{time_total}", "/ping")
            assert float(took) < 0.1
        assert chaos.figure(server, "endpoint_queue_size") >= 64
        assert '"state":"ready"' in server.curl("/health")


@pytest.mark.parametrize(
    "request_", [b"GET /ping HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n"]
)
def test_clients_that_stay_after_their_answer_keep_nobody_out(request_):
    with chaos.serve() as server, ExitStack() as connections:
        for _ in range(20):
            stays = socket.create_connection(("127.0.0.1", server.port))
            connections.enter_context(stays).sendall(request_)
        for _ in range(25):
            time.sleep(0.2)
            took = server.curl("-o", "/dev/null", "-w", "%{time_total}", "/ping")
            assert float(took) < 0.2


def test_clients_that_stall_amidst_their_headers_give_their_threads_back():
    with chaos.serve(ENDPOINT_QUEUE=1) as server, ExitStack() as connections:
        for _ in range(300):
            stalls = socket.create_connection(("127.0.0.1", server.port))
            connections.enter_context(stalls).sendall(b"POST / HTTP/1.1\r\nHo")
        time.sleep(14)
        took = server.curl("-o", "/dev/null", "-w", "%{time_total}", "/ping")
        assert float(took) < 1 and "WORKER TIMEOUT" not in server.log


def test_metrics_are_the_sum_of_several_processes():
    with Server("gunicorn", "--workers", "2", ENDPOINT_MODULE="tests.support.fake_model") as server:
        server.wait_for(200)
        for _ in range(20):
            server.curl("--data-binary", "@french_bulldog.jpg", "/")
        answered = chaos.figure(server, 'endpoint_requests_total{status="200"}')
        assert chaos.figure(server, "endpoint_batch_size_sum") == 20
        assert answered >= 20 and chaos.figure(server, "endpoint_ready") == 2


def test_model_that_cannot_load_ends_the_server_with_status_3():
    with Server("gunicorn", ENDPOINT_MODULE="tests.nothing") as server:
        assert server.process.wait(30) == 3
        assert "The model cannot be loaded: ModuleNotFoundError" in server.log
        assert server.log.count("Booting worker") == 1


def test_bad_setting_ends_the_server_with_a_sentence():
    settings = {"ENDPOINT_QUEUE": "many", "ENDPOINT_DEADLINE": "long"}
    with Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model", **settings) as server:
        assert server.process.wait(30) == 3
        assert "ENDPOINT_QUEUE must be a number above 0." in server.log
        assert "Traceback" not in server.log


def test_loading_process_answers_within_a_second_of_its_start():
    with Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model", FAKE_LOADING=3) as server:
        server.wait_for(204, seconds=2)
        refusal = server.curl("-i", "-F", "file=@french_bulldog.jpg", "/")
        assert " 503 " in refusal and "Retry-After" in refusal
        server.wait_for(200)
