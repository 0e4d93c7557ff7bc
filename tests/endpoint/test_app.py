"""The HTTP contract, with a model that has no weights."""

import base64
import json
import re
import subprocess
import sys

import pytest

from endpoint import create_app
from tests.support import fake_model as fake
from tests.support.apps import ready
from tests.support.images import make_form as upload
from tests.support.images import make_image as picture

URLENCODED = "application/x-www-form-urlencoded"  # what curl calls any body
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
PICTURE = picture(64, 48)
TEXT = base64.b64encode(PICTURE).decode()
WAYS = {
    "multipart file": lambda: upload(PICTURE),
    "multipart image": lambda: upload(PICTURE, field="image"),
    "curl --data-binary": lambda: {"data": PICTURE, "content_type": URLENCODED},
    "image as the body": lambda: {"data": PICTURE, "content_type": "image/png"},
    "JSON": lambda: {"json": {"image": TEXT}},
    "JSON data URI": lambda: {"json": {"image": f"data:image/png;base64,{TEXT}"}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/", "/predict"])
def test_every_way_of_sending_gives_the_same_answer(client, way, path):
    answer = client.post(path, **WAYS[way]())
    assert (answer.status_code, answer.text) == (200, "64 by 48\n")
    assert answer.mimetype == "text/plain"


def test_file_is_taken_by_put(client):
    assert client.put("/predict", data=PICTURE).text == "64 by 48\n"


def test_several_files_give_a_line_each(client):
    answer = client.post("/", **upload(PICTURE, picture(5, 6)))
    assert answer.text == "64 by 48\n5 by 6\n"


def test_json_is_given_to_who_asks_for_it(client):
    answer = client.post("/", headers=JSON, **upload(PICTURE))
    assert answer.json == {"caption": "64 by 48"}


def test_one_bad_file_among_several_holds_its_own_error(client):
    answer = client.post("/", headers=JSON, **upload(PICTURE, b"text", PICTURE))
    good, bad, also_good = answer.json["predictions"]
    assert good == also_good == {"caption": "64 by 48"}
    assert bad["error"]["status"] == 415


def test_browser_gets_the_page_with_the_answers(client):
    answer = client.post("/", headers=BROWSER, **upload(PICTURE, b"text"))
    assert answer.mimetype == "text/html"
    assert "64 by 48" in answer.text and 'class="answer error"' in answer.text


def test_index_is_a_page_in_a_browser_and_json_elsewhere(client):
    assert "<form" in client.get("/", headers=BROWSER).text
    assert client.get("/").json["model"] == "fake"
    assert client.get("/").json["device"] == "cpu"


CUT = picture(200, 200, "JPEG", quality=95)[:400]
FORM = {"content_type": "multipart/form-data"}
JSON_TYPE = {"content_type": "application/json"}
REFUSALS = {
    "nothing": (400, lambda: {"data": b""}),
    "an empty form": (400, lambda: {"data": {"other": "1"}, **FORM}),
    "text in the form's file": (400, lambda: {"data": {"file": "bulldog.jpg"}, **FORM}),
    "a list as JSON": (400, lambda: {"json": []}),
    "JSON that is none": (400, lambda: {"data": "{", **JSON_TYPE}),
    "JSON without image": (400, lambda: {"json": {"text": "a"}}),
    "a number for base64": (400, lambda: {"json": {"image": 5}}),
    "no base64": (400, lambda: {"json": {"image": "%%%"}}),
    "a data URI in clear": (400, lambda: {"json": {"image": "data:image/png,abc"}}),
    "too many bytes": (413, lambda: {"data": b"0" * 20_000_001}),
    "too many files": (413, lambda: upload(*[b"0"] * 101)),
    "too many pixels": (413, lambda: {"data": picture(10_000, 6_000, mode="1")}),
    "text": (415, lambda: {"data": b"hello"}),
    "a PDF": (415, lambda: {"data": b"%PDF-1.7"}),
    "half a JPEG": (422, lambda: {"data": CUT}),
    "what the model fails on": (500, lambda: {"data": picture(fake.FAILS, 9)}),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_error_is_a_problem_that_says_what_to_send(client, what):
    status, sent = REFUSALS[what]
    answer = client.post("/", **sent())
    assert answer.status_code == answer.json["status"] == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json["title"] and answer.json["detail"].endswith(".")


def test_failure_of_the_model_gives_nothing_away(client):
    answer = client.post("/", data=picture(fake.FAILS, 9))
    assert answer.status_code == 500
    assert "secret" not in answer.text and "Traceback" not in answer.text


def test_unknown_address_and_wrong_method_are_problems(client):
    missing, wrong = client.get("/nothing"), client.delete("/")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.mimetype == wrong.mimetype == "application/problem+json"
    assert "POST" in wrong.headers["Allow"]


def test_error_does_not_echo_input(client):
    assert "<script>" not in client.get("/<script>").text
    assert "<script>" not in client.post("/", json={"image": "<script>"}).text


@pytest.mark.parametrize("path", ["/", "/ping", "/health", "/metrics", "/nothing"])
def test_every_answer_carries_its_id_and_timings(client, path):
    headers = client.get(path).headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])
    stages = re.findall(r"(\w+);dur=[\d.]+", headers["Server-Timing"])
    assert stages == ["decode", "queue", "predict"]


def test_request_id_of_a_proxy_is_kept_if_harmless(client):
    kept = client.get("/ping", headers={"X-Request-Id": "abc-1"})
    replaced = client.get("/ping", headers={"X-Request-Id": "a b"})
    assert kept.headers["X-Request-Id"] == "abc-1"
    assert replaced.headers["X-Request-Id"] != "a b"


def test_ping_and_health_tell_that_the_model_is_ready(client):
    assert client.get("/ping").status_code == 200
    assert client.get("/health").json["state"] == "ready"


def test_key_is_wanted_where_one_is_set(monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    client = ready(create_app("tests.support.fake_model")).test_client()
    sent = [
        {},
        {"X-API-Key": "wrong"},
        {"X-API-Key": "é"},
        {"Authorization": "Basic MTIzNDU="},
        {"X-API-Key": "12345"},
        {"Authorization": "Bearer 12345"},
    ]
    answers = [client.post("/", data=PICTURE, headers=headers) for headers in sent]
    assert [answer.status_code for answer in answers] == [401] * 4 + [200] * 2
    assert answers[0].headers["WWW-Authenticate"] == "Bearer"
    assert client.get("/ping").status_code == 200


def test_model_that_loads_refuses_but_answers(monkeypatch):
    monkeypatch.setattr(fake, "LOADING", 0.3)
    app = create_app("tests.support.fake_model")
    client = app.test_client()
    refused = client.post("/", data=PICTURE)
    assert (client.get("/ping").status_code, refused.status_code) == (204, 503)
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/health").status_code == 503
    assert ready(app).test_client().get("/ping").status_code == 200


@pytest.mark.parametrize("value", ["many", "0", "-1", "null"])
def test_bad_setting_ends_the_start_with_a_sentence(monkeypatch, capsys, value):
    monkeypatch.setenv("ENDPOINT_QUEUE", value)
    with pytest.raises(SystemExit) as end:
        create_app("tests.support.fake_model")
    assert end.value.code == 3
    assert capsys.readouterr().err == "ENDPOINT_QUEUE must be a number above 0.\n"


def test_figures_count_requests_and_batches(client):
    client.post("/", data=PICTURE)
    figures = client.get("/metrics").text
    assert 'endpoint_requests_total{status="200"}' in figures
    assert "endpoint_batch_size_bucket" in figures


def test_http_needs_no_torch():
    program = (
        "import sys; from tests.conftest import *; from tests.endpoint.test_app import PICTURE;"
        "app = ready(create_app('tests.support.fake_model'));"
        "print(app.test_client().post('/', data=PICTURE).text);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"64 by 48\n\n")


def test_json_keeps_the_models_order(client):
    text = client.post("/", data=b"text").text
    assert list(json.loads(text)) == ["title", "status", "detail"]
