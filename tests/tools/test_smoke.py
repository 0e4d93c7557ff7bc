"""`flask smoke` against an endpoint that is well, and against broken ones."""

import json

import pytest
from click.testing import CliRunner
from werkzeug.wrappers import Request, Response

from endpoint import create_app
from tools.smoke import PICTURE, smoke
from tests.support.apps import ready
from tests.support.images import make_image as picture

GOOD = {"caption": "a dog"}


def run(url, *options):
    done = CliRunner().invoke(smoke, [url, "--wait", "0.5", *map(str, options)])
    return done.exit_code, done.output


def wrong(told):
    return [line for line in told.splitlines() if line.startswith("WRONG")]


class Fake:
    """An endpoint that is well, but for what a test makes of it."""

    def ping(self, request):
        return Response()

    def index(self, request):
        return self.json({"model": "fake", "device": "cpu"})

    def caption(self, request):
        return self.json(GOOD)

    def refusal(self, request):
        return self.json({"detail": "This is no picture."}, 415)

    def key(self, request):
        return self.json({"detail": "Send the key."}, 401)

    def top(self, request):
        return self.json({"detail": "There is nothing here."}, 404)

    def json(self, value, status=200):
        return Response(json.dumps(value), status, content_type="application/json")

    def __call__(self, environ, start):
        request = Request(environ)
        data, key = request.get_data(), request.headers.get("Authorization")
        step = {"/ping": self.ping, "/": self.index}.get(request.path)
        if step is None and key != "Bearer 12345":
            step = self.key
        elif step is None and request.path == "/predict/top":
            step = self.top
        elif step is None:
            step = self.caption if data == PICTURE.read_bytes() else self.refusal
        return step(request)(environ, start)


def test_endpoint_that_is_well_passes(serve, monkeypatch, tmp_path):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    url = serve(ready(create_app("tests.support.fake_model")))
    other = tmp_path / "other.png"
    other.write_bytes(picture(9, 9))
    status, told = run(url, "--images", PICTURE, "--images", other)
    assert (status, wrong(told)) == (0, [])
    assert "640 by 427" in told and "9 by 9" in told and "predict" in told


def test_fake_passes_as_long_as_nothing_is_broken(serve):
    assert run(serve(Fake()), "--api-key", "12345")[0] == 0


HTML = Response("<h1>Welcome to nginx!</h1>", content_type="text/html")
BROKEN = {
    "never ready": ("ping", Response(status=204), "not ready after 0.5 s: it loads"),
    "sick": ("ping", Response(status=503), "not ready after 0.5 s: /ping says 503"),
    "HTML": (
        "caption",
        HTML,
        "200 with text/html in place of JSON: a proxy or another",
    ),
    "HTML at /": ("index", HTML, "in place of JSON: a proxy or another server"),
    "a list": (
        "caption",
        Response("[1]", content_type="text/json"),
        "in place of JSON",
    ),
    "empty": (
        "caption",
        Response('{"caption": ""}'),
        'An empty answer: {"caption": ""}',
    ),
    "nothing": ("caption", Response("{}"), "An empty answer: {}"),
    "any key": ("key", Response(json.dumps(GOOD)), "wrong key: 200 where 401 was due"),
    "any file": (
        "refusal",
        Response(json.dumps(GOOD)),
        "broken file: 200 where 422 was",
    ),
    "fails": ("refusal", Response("{}", 500), "broken file: 500 where 422 was due"),
    "no top": ("top", Response('{"predictions": []}'), "without two predictions"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_endpoint_is_told_in_a_sentence(serve, what):
    step, answer, sentence = BROKEN[what]
    fake = Fake()
    setattr(fake, step, lambda request: answer)
    status, told = run(serve(fake), "--api-key", "12345")
    assert (status, len(wrong(told))) == (1, 1) and sentence in wrong(told)[0]


def test_missing_key_and_missing_server_are_told(serve):
    assert "give it with --api-key" in run(serve(Fake()))[1]
    assert "no answer, " in run("http://127.0.0.1:9")[1]
    assert run("nowhere")[0] == 1


def test_top_k_is_checked_where_it_is_offered(serve):
    class Ranking(Fake):
        def top(self, request):
            wanted = int(request.args["top_k"])
            if wanted < 1:
                return self.json({"detail": "top_k is at least 1."}, 400)
            return self.json({"predictions": [{}] * wanted})

    status, told = run(serve(Ranking()), "--api-key", "12345")
    assert status == 0 and "top-k: 400, top_k is at least 1." in told
