"""The HTTP contract, with a model that has no weights."""

import base64
import json
import re
import subprocess
import sys

import pytest
from pydantic import BaseModel, Field
from werkzeug.test import create_environ, run_wsgi_app

from endpoint import create_app
from tests.support import fake_model as fake
from tests.support.apps import FAKE_MODEL, app_for, ready
from tests.support.images import make_form, make_image
from tests.support.server import ROOT

URLENCODED = "application/x-www-form-urlencoded"  # curl's type for any body
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
IMAGE = make_image(64, 48)
BASE64 = base64.b64encode(IMAGE).decode()
WAYS = {
    "multipart file": lambda: make_form(IMAGE),
    "multipart image": lambda: make_form(IMAGE, field="image"),
    "curl --data-binary": lambda: {"data": IMAGE, "content_type": URLENCODED},
    "image as the body": lambda: {"data": IMAGE, "content_type": "image/png"},
    "JSON": lambda: {"json": {"image": BASE64}},
    "JSON data URI": lambda: {"json": {"image": f"data:image/png;base64,{BASE64}"}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/", "/predict"])
def test_every_way_of_sending_gives_the_same_answer(client, way, path):
    response = client.post(path, **WAYS[way]())
    assert (response.status_code, response.text) == (200, "64 by 48\n")
    assert response.mimetype == "text/plain"


def test_file_may_be_sent_with_put(client):
    assert client.put("/predict", data=IMAGE).text == "64 by 48\n"


def test_several_files_give_a_line_each(client):
    response = client.post("/", **make_form(IMAGE, make_image(5, 6)))
    assert response.text == "64 by 48\n5 by 6\n"


def test_json_is_sent_on_request(client):
    response = client.post("/", headers=JSON, **make_form(IMAGE))
    assert response.json == {"caption": "64 by 48"}


def test_bad_file_among_several_has_its_own_error(client):
    response = client.post("/", headers=JSON, **make_form(IMAGE, b"text", IMAGE))
    good, bad, also_good = response.json["predictions"]
    assert good == also_good == {"caption": "64 by 48"}
    assert bad["error"]["status"] == 415


def test_browser_gets_the_page_with_the_answers(client):
    response = client.post("/", headers=BROWSER, **make_form(IMAGE, b"text"))
    assert response.mimetype == "text/html"
    assert "64 by 48" in response.text and 'class="answer error"' in response.text


def test_index_is_a_page_in_a_browser_and_json_elsewhere(client):
    assert "<form" in client.get("/", headers=BROWSER).text
    assert client.get("/").json["model"] == "fake"
    assert client.get("/").json["device"] == "cpu"


def test_index_explains_how_to_send_a_file(client):
    assert "curl -F file=@image.jpg" in client.get("/").json["use"]


TRUNCATED = make_image(200, 200, "JPEG", quality=95)[:400]
FORM = {"content_type": "multipart/form-data"}
JSON_TYPE = {"content_type": "application/json"}
REFUSALS = {
    "nothing": (400, lambda: {"data": b""}),
    "an empty form": (400, lambda: {"data": {"other": "1"}, **FORM}),
    "a text as the form's file": (400, lambda: {"data": {"file": "dog.jpg"}, **FORM}),
    "a list as JSON": (400, lambda: {"json": []}),
    "invalid JSON": (400, lambda: {"data": "{", **JSON_TYPE}),
    "JSON without image": (400, lambda: {"json": {"text": "a"}}),
    "a number as base64": (400, lambda: {"json": {"image": 5}}),
    "invalid base64": (400, lambda: {"json": {"image": "%%%"}}),
    "a data URI without base64": (400, lambda: {"json": {"image": "data:image/png,a"}}),
    "too many bytes": (413, lambda: {"data": b"0" * 20_000_001}),
    "too many files": (413, lambda: make_form(*[b"0"] * 101)),
    "too many pixels": (413, lambda: {"data": make_image(10_000, 6_000, mode="1")}),
    "a text": (415, lambda: {"data": b"hello"}),
    "a PDF": (415, lambda: {"data": b"%PDF-1.7"}),
    "a truncated JPEG": (422, lambda: {"data": TRUNCATED}),
    "an image that the model fails on": (
        500,
        lambda: {"data": make_image(fake.FAILS, 9)},
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_error_is_a_problem_with_a_sentence(client, what):
    status, make_request = REFUSALS[what]
    response = client.post("/", **make_request())
    assert response.status_code == response.json["status"] == status
    assert response.mimetype == "application/problem+json"
    assert response.json["title"] and response.json["detail"].endswith(".")


def test_failure_of_the_model_gives_nothing_away(client):
    for headers in ({}, JSON, BROWSER):
        response = client.post("/", data=make_image(fake.FAILS, 9), headers=headers)
        assert response.status_code == 500
        assert "secret" not in response.text and "Traceback" not in response.text


def test_unknown_url_and_wrong_method_are_problems(client):
    missing, wrong = client.get("/nothing"), client.delete("/")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.mimetype == wrong.mimetype == "application/problem+json"
    assert "POST" in wrong.headers["Allow"]


@pytest.mark.parametrize("headers", [{}, JSON, BROWSER])
def test_error_does_not_echo_input(client, headers):
    mark = "<script>alert(1)</script>"
    responses = [
        client.get(f"/{mark}", headers=headers),
        client.post("/", json={"image": mark}, headers=headers),
        client.post("/", json={mark: mark}, headers=headers),
        client.post(f"/predict/{mark}", data=IMAGE, headers=headers),
        client.post(f"/?{mark}={mark}", data=b"", headers=headers),
        client.post("/", data={"file": mark}, headers=headers, **FORM),
    ]
    for response in responses:
        assert 400 <= response.status_code < 500 and "alert(1)" not in response.text


@pytest.mark.parametrize("path", ["/", "/ping", "/health", "/metrics", "/nothing"])
def test_every_response_has_its_id_model_and_timings(client, path):
    headers = client.get(path).headers
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])
    assert headers["X-Model"] == "fake@1"
    stages = re.findall(r"(\w+);dur=[\d.]+", headers["Server-Timing"])
    assert stages == ["decode", "queue", "predict"]


def test_harmless_request_id_of_a_proxy_is_kept(client):
    kept = client.get("/ping", headers={"X-Request-Id": "abc-1"})
    replaced = client.get("/ping", headers={"X-Request-Id": "a b"})
    assert kept.headers["X-Request-Id"] == "abc-1"
    assert replaced.headers["X-Request-Id"] != "a b"


def test_timings_of_a_refused_file_include_its_decoding(client):
    response = client.post("/", data=make_image(9000, 5000)[:-100])
    assert response.status_code == 422
    decode = re.search(r"decode;dur=([\d.]+)", response.headers["Server-Timing"])[1]
    assert float(decode) > 0


def test_ping_and_health_report_a_model_that_is_ready(client):
    assert client.get("/ping").status_code == 200
    assert client.get("/health").json["state"] == "ready"
    assert client.get("/health").json["reason"] == "The model is ready"


def test_model_that_loads_refuses_files_and_answers_probes(monkeypatch):
    monkeypatch.setattr(fake, "LOADING", 0.3)
    app = create_app(FAKE_MODEL)
    client = app.test_client()
    refused = client.post("/", data=IMAGE)
    assert (client.get("/ping").status_code, refused.status_code) == (204, 503)
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/health").status_code == 503
    assert ready(app).test_client().get("/ping").status_code == 200


class Count(BaseModel):
    count: int = Field(1, ge=1, le=5)


class Router(fake.Model):
    routes = {"top": Count}

    def decode(self, upload):
        return upload.route or "none", getattr(upload.fields, "count", None)

    def predict(self, inputs):
        return [f"{route} {count}" for route, count in inputs]


def test_large_upload_is_refused_unread_while_others_take_the_memory(client):
    environ = {"endpoint.has_memory": False, "wsgi.input": None}
    refused = client.post("/", data=IMAGE, environ_overrides=environ)
    assert refused.status_code == 503 and refused.headers["X-Request-Id"]
    detail = "Too many large uploads are in memory: retry in 5 s."
    assert refused.json["detail"] == detail


def test_route_and_fields_reach_the_model():
    client = ready(app_for(Router)).test_client()
    assert client.post("/predict/top?count=3", data=b"a").text == "top 3\n"
    assert client.post("/predict/top", data=b"a").text == "top 1\n"
    assert client.post("/predict", data=b"a").text == "none None\n"
    for path in ("/predict?count=3", "/predict/top?count=6", "/predict/top?a=1"):
        refused = client.post(path, data=b"a")
        assert (refused.status_code, "count" in refused.text) == (400, True)
    assert client.post("/predict/other", data=b"a").status_code == 404


@pytest.mark.parametrize("value", ["many", "0", "-1", "null"])
def test_wrong_setting_ends_the_start_with_a_sentence(monkeypatch, capsys, value):
    monkeypatch.setenv("ENDPOINT_QUEUE", value)
    with pytest.raises(SystemExit) as end:
        create_app(FAKE_MODEL)
    assert end.value.code == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ENDPOINT_QUEUE ") and line.endswith(".")


def test_metrics_count_requests_and_batches(client):
    client.post("/", data=IMAGE)
    metrics = client.get("/metrics").text
    assert 'endpoint_requests_total{status="200"}' in metrics
    assert "endpoint_batch_size_bucket" in metrics


def test_http_needs_no_torch():
    program = (
        "import sys\n"
        "from endpoint import create_app\n"
        "from tests.support.apps import ready\n"
        "from tests.support.images import make_image\n"
        f"client = ready(create_app('{FAKE_MODEL}')).test_client()\n"
        "print(client.post('/', data=make_image(64, 48)).text)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"64 by 48\n\n")


def test_json_keeps_the_order_of_its_values(client):
    text = client.post("/", data=b"text").text
    assert list(json.loads(text)) == ["title", "status", "detail"]


ODD_HOSTS = ["xn--a", "[::", "a" * 300, "a:99999999", "é", "", "-", "my_server:8000"]


def ask(app, method: str, host: str, **headers: str) -> tuple[int, str, str]:
    """Return status, media type and text; Flask's own client decodes the host."""
    environ = create_environ("/", method=method, data=IMAGE, headers=headers)
    body, status, answered = run_wsgi_app(app, environ | {"HTTP_HOST": host})
    return int(status[:3]), answered["Content-Type"], b"".join(body).decode()


@pytest.mark.attack(13)
@pytest.mark.parametrize("host", ODD_HOSTS)
@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_odd_host_header_is_no_error_of_the_server(app, host, headers):
    for method in ("GET", "POST", "PUT"):
        assert ask(app, method, host, **headers)[0] in (200, 400)


@pytest.fixture(scope="module")
def pinned():
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ENDPOINT_HOSTS", "API.example.com, .example.org")
        return ready(create_app(FAKE_MODEL))


@pytest.mark.attack(17)
@pytest.mark.parametrize("host", ["api.example.com:80", "example.org", "a.example.org"])
def test_host_of_the_setting_is_served(pinned, host):
    assert ask(pinned, "GET", host)[0] == ask(pinned, "POST", host)[0] == 200


@pytest.mark.attack(17)
@pytest.mark.parametrize("host", ["evil.example", "example.com", "xn--a", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_host_than_in_the_setting_is_refused(pinned, host, method):
    status, kind, text = ask(pinned, method, host)
    assert (status, kind) == (400, "application/problem+json")
    assert json.loads(text)["detail"] == "This host name is not served here."
    status, kind, text = ask(pinned, method, host, **BROWSER)
    assert status == 400 and "This host name is not served here." in text


class Exiting(fake.Model):
    """A model that wants to end the process, in the method that its route names."""

    routes = ("decode", "encode", "nothing")

    def decode(self, upload):
        if upload.route == "decode":
            sys.exit("too dark")
        return upload.route

    def predict(self, inputs):
        return inputs

    def encode(self, output):
        if output == "encode":
            sys.exit("too dark")
        return {}


@pytest.mark.parametrize("route", ["decode", "encode"])
def test_exit_in_a_method_is_an_error_of_its_request(route, caplog):
    client = ready(app_for(Exiting)).test_client()
    assert client.post(f"/predict/{route}", data=IMAGE).status_code == 500
    assert "SystemExit: too dark" in caplog.text
    assert client.post("/predict/nothing", data=IMAGE).text == "\n"
    assert client.post("/predict/nothing", data=IMAGE, headers=JSON).json == {}
