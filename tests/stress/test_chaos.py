"""The failures of `tests.stress.chaos`, each for a few seconds, and their results.

Limits in seconds are wide, so that they hold on a busy machine too.
"""

import socket
import time
from contextlib import ExitStack

import pytest

from tests.stress import chaos
from tests.support import fake_model as fake
from tests.support.apps import FAKE_MODEL
from tests.support.images import make_image
from tests.support.server import Server


def fake_server(*options: str, **environment: object) -> Server:
    return Server("gunicorn", *options, ENDPOINT_MODULE=FAKE_MODEL, **environment)


def ping_seconds(server: Server) -> float:
    return float(server.curl("-o", "/dev/null", "-w", "%{time_total}", "/ping"))


def test_only_failing_inputs_of_full_batches_get_an_error():
    figures = chaos.failing_inputs(batches=4)
    assert figures["statuses"] == {200: 112, 500: 16}
    assert figures["good ones lost"] == figures["wrong"] == 0
    assert figures["batches split"] > 0


def test_batches_too_large_for_the_memory_are_answered():
    figures = chaos.out_of_memory()
    assert figures["statuses"] == {200: 512} and figures["wrong"] == 0
    assert figures["batches split"] > 0


def test_overload_is_refused_at_once_and_has_no_lasting_effect():
    figures = chaos.overload(seconds=5)
    assert set(figures["statuses"]) == {200, 503} and figures["wrong"] == 0
    assert figures["accepted p99 s"] < 12  # the deadline is 10
    assert figures["refused p99 s"] < 2 and figures["ping p99 s"] < 2
    assert figures["without Retry-After"] == 0
    assert figures["memory growth MB"] < 20
    assert figures["statuses 2 s later"] == {200: 20}


def test_inputs_of_disconnected_clients_are_not_run():
    figures = chaos.disconnects()
    assert figures["statuses of others"] == {200: 100} and figures["wrong"] == 0
    assert figures["dropped"] + figures["run"] == 200 and figures["run"] <= 2
    assert figures["still queued"] == 0


def test_slow_clients_do_not_slow_others():
    figures = chaos.slow_clients(seconds=3)
    assert set(figures["statuses"]) == {200}
    assert figures["p99 s"] < 2


def test_killed_worker_is_replaced_and_loses_only_what_it_held():
    figures = chaos.kill()
    assert figures["wrong"] == 0 and figures["lost"] <= 16
    assert figures["seconds to service"] < 9


def test_termination_loses_no_accepted_request():
    figures = chaos.terminate(rounds=3)
    assert figures["lost"] == 0 and figures["exits"] == {0: 3}
    assert figures["slowest end s"] < 30


@pytest.mark.parametrize("width", [fake.HANGS, fake.IS_FATAL, fake.EXITS])
def test_failed_process_reports_it_answers_and_is_replaced(width):
    figures = chaos.fatal_input(width)
    assert 503 in figures["pings"] and figures["status afterwards"] == 200
    assert set(figures["statuses"]) <= {200, 503, 504} and 200 in figures["statuses"]
    assert figures["replaced after s"] < 30


def test_ping_is_answered_while_the_queue_is_full():
    with chaos.serve(FAKE_SECONDS=3) as server, ExitStack() as connections:
        for _ in range(200):
            request = chaos.open_request(server, make_image(32, 32))
            connections.enter_context(request)
        time.sleep(1)
        assert all(ping_seconds(server) < 1 for _ in range(20))
        assert chaos.metric(server, "endpoint_queue_size") >= 64
        assert '"state":"ready"' in server.curl("/health")


@pytest.mark.parametrize(
    "request_", [b"GET /ping HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n"]
)
def test_clients_that_do_not_close_after_their_answer_block_no_others(request_):
    with chaos.serve() as server, ExitStack() as connections:
        for _ in range(20):
            client = socket.create_connection(("127.0.0.1", server.port))
            connections.enter_context(client).sendall(request_)
        for _ in range(25):
            time.sleep(0.2)
            assert ping_seconds(server) < 1


def test_clients_that_stall_within_their_headers_lose_their_threads():
    with chaos.serve(ENDPOINT_QUEUE=1) as server, ExitStack() as connections:
        for _ in range(300):  # more than there are threads
            client = socket.create_connection(("127.0.0.1", server.port))
            connections.enter_context(client).sendall(b"POST / HTTP/1.1\r\nHo")
        server.wait_for(200, seconds=60)
        assert ping_seconds(server) < 1
        assert "WORKER TIMEOUT" not in server.log


def test_metrics_are_the_sum_of_all_processes():
    with fake_server("--workers", "2") as server:
        server.wait_for(200)
        for _ in range(20):
            server.curl("--data-binary", "@french_bulldog.jpg", "/")
        answered = chaos.metric(server, 'endpoint_requests_total{status="200"}')
        assert chaos.metric(server, "endpoint_batch_size_sum") == 20
        assert answered >= 20 and chaos.metric(server, "endpoint_ready") == 2


def test_model_that_cannot_load_ends_the_server_with_status_3():
    with Server("gunicorn", ENDPOINT_MODULE="tests.nothing") as server:
        assert server.process.wait(60) == 3
        assert "ENDPOINT_MODULE is tests.nothing: No module named" in server.log
        assert server.log.count("Booting worker") == 1


def test_wrong_setting_ends_the_server_with_a_sentence():
    settings = {"ENDPOINT_QUEUE": "many", "ENDPOINT_DEADLINE": "long"}
    with fake_server(**settings) as server:
        assert server.process.wait(60) == 3
        assert "ENDPOINT_QUEUE must be a whole number" in server.log
        assert "Traceback" not in server.log


def test_process_answers_while_the_model_loads():
    with fake_server(FAKE_LOADING=3) as server:
        server.wait_for(204)
        refusal = server.curl("-i", "-F", "file=@french_bulldog.jpg", "/")
        assert " 503 " in refusal and "Retry-After" in refusal
        server.wait_for(200)
