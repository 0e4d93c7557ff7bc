"""ENDPOINT_CACHE: equal inputs run once, different ones never share an answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import BaseModel, SecretStr
from werkzeug.exceptions import BadRequest

from endpoint.cache import Cache, digest
from endpoint.job_queue import Job
from model_interface.files import Upload
from tests.support.apps import app_for, ready, wait_until


class Echo:
    """A model that counts its runs; `gate` lets a batch go on."""

    routes = ("top",)

    class Fields(BaseModel):
        tone: str = "kind"
        token: SecretStr | None = None
        mask: Upload | None = None
        masks: list[Upload] = []

    def __init__(self, device):
        self.runs, self.gate = 0, threading.Event()
        self.gate.set()

    def decode(self, upload):
        if upload.data == b"refused":
            raise BadRequest("No.")
        return f"{upload.data.decode()} {upload.route} {upload.fields.tone}"

    def predict(self, texts):
        self.gate.wait(30)
        self.runs += len(texts)
        if "fails  kind" in texts:
            raise ValueError("once")
        return texts

    def encode(self, text):
        return {"text": text}


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setenv("ENDPOINT_CACHE", "3")
    return ready(app_for(Echo))


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def model(app):
    return app.extensions["batcher"].model


def is_hit(response) -> bool:
    return "cache;desc=hit" in response.headers["Server-Timing"]


def test_equal_input_runs_once(client, model):
    one, two = (client.post("/", data=b"a") for _ in range(2))
    assert one.text == two.text == "a  kind\n" and model.runs == 1
    assert (is_hit(one), is_hit(two)) == (False, True)
    assert "decode;dur=0.0, queue;dur=0.0, predict;dur=0.0" in str(two.headers)
    assert 'endpoint_cache_total{result="hit"}' in client.get("/metrics").text


def test_other_fields_routes_and_bytes_do_not_share(client, model):
    requests = ["/?tone=rude", "/predict/top", "/", "/?token=1"]
    texts = [client.post(path, data=b"a").text for path in requests]
    assert texts == ["a  rude\n", "a top kind\n", "a  kind\n", "a  kind\n"]
    assert client.post("/", data=b"b").text == "b  kind\n" and model.runs == 5


def test_equal_inputs_at_once_run_once(app, model):
    model.gate.clear()
    with ThreadPoolExecutor(50) as pool:
        posts = [
            pool.submit(app.test_client().post, "/", data=b"same") for _ in range(50)
        ]
        wait_until(lambda: app.extensions["batcher"].runner.running)
        time.sleep(0.2)
        model.gate.set()
        assert {post.result().text for post in posts} == {"same  kind\n"}
    assert model.runs == 1


def test_least_recently_used_output_is_dropped(client, model):
    for data in b"abcabd":  # d takes the place of c
        client.post("/", data=bytes([data]))
    assert model.runs == 4
    assert is_hit(client.post("/", data=b"a")) and is_hit(client.post("/", data=b"b"))
    assert not is_hit(client.post("/", data=b"c"))


def test_failures_are_not_kept(client, model):
    for data, status in ((b"fails", 500), (b"refused", 400)):
        for _ in range(2):
            response = client.post("/", data=data)
            assert response.status_code == status and not is_hit(response)
    assert model.runs == 2


def test_kept_job_holds_no_input_and_no_connection():
    job = Job(time.monotonic() + 9, is_disconnected=lambda: False)
    job.input = "pixels"
    job.finish("output")
    assert job.input is None and job.is_disconnected == []


def test_job_is_dropped_only_when_all_its_clients_have_left():
    cache, left = Cache(3), []
    first, second = (
        Job(time.monotonic() + 9, is_disconnected=lambda n=n: n in left) for n in (1, 2)
    )
    assert cache.find(Upload(b"a"), "m@1", first) is first
    assert cache.find(Upload(b"a"), "m@1", second) is first
    left.append(1)
    assert not first.finish_if_stale()
    left.append(2)
    assert first.finish_if_stale()
    third = Job(time.monotonic() + 9)
    assert cache.find(Upload(b"a"), "m@1", third) is third  # The first has failed.


def test_job_lasts_as_long_as_its_last_client_waits():
    cache = Cache(3)
    first, second = (Job(time.monotonic() + seconds) for seconds in (0.05, 30))
    cache.find(Upload(b"a"), "m@1", first)
    assert cache.find(Upload(b"a"), "m@1", second) is first
    threading.Timer(0.2, first.finish, ["output"]).start()
    assert first.result() == "output"


@pytest.mark.parametrize(
    "other, version",
    [
        (Upload(b"b"), "m@1"),
        (Upload(b"a", "image/png"), "m@1"),
        (Upload(b"a", route="top"), "m@1"),
        (Upload(b"a"), "m@2"),
        (Upload(b"a", fields=Echo.Fields(token="1")), "m@1"),
        (Upload(b"a", fields=Echo.Fields(mask=Upload(b"1"))), "m@1"),
        (Upload(b"a", fields=Echo.Fields(masks=[Upload(b"1")])), "m@1"),
    ],
)
def test_digest_differs_where_the_answer_may(other, version):
    assert digest(other, version) != digest(Upload(b"a"), "m@1")


def test_digest_tells_fields_apart():
    tokens = [Upload(b"a", fields=Echo.Fields(token=each)) for each in ("1", "2", "1")]
    one, two, again = (digest(upload, "m") for upload in tokens)
    assert one == again != two


def test_no_output_is_kept_by_default(monkeypatch):
    monkeypatch.delenv("ENDPOINT_CACHE", raising=False)
    app = ready(app_for(Echo))
    assert not any(is_hit(app.test_client().post("/", data=b"a")) for _ in range(2))
    assert app.extensions["batcher"].model.runs == 2
