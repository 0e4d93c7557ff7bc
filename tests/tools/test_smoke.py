"""`flask smoke` against an endpoint that works, and against broken ones."""

import json

import pytest
from click.testing import CliRunner
from werkzeug.wrappers import Request, Response

from endpoint import create_app
from tests.support.apps import ready
from tests.support.images import make_image
from tools.smoke import IMAGE, smoke

GOOD = {"caption": "a dog"}


def run(url, *options):
    result = CliRunner().invoke(smoke, [url, "--wait", "0.5", *map(str, options)])
    return result.exit_code, result.output


def failures(output):
    return [line for line in output.splitlines() if line.startswith("FAILED")]


class Fake:
    """An endpoint that works, except for the responses that a test replaces."""

    def ping(self, request):
        return Response()

    def index(self, request):
        return self.json({"model": "fake", "device": "none"})

    def caption(self, request):
        return self.json(GOOD)

    def refusal(self, request):
        return self.json({"detail": "Not a supported image."}, 415)

    def key(self, request):
        return self.json({"detail": "Send the API key."}, 401)

    def top(self, request):
        return self.json({"detail": "Not found."}, 404)

    def json(self, value, status=200):
        return Response(json.dumps(value), status, content_type="application/json")

    def __call__(self, environ, start):
        request = Request(environ)
        data, key = request.get_data(), request.headers.get("Authorization")
        respond = {"/ping": self.ping, "/": self.index}.get(request.path)
        if respond is None and key != "Bearer 12345":
            respond = self.key
        elif respond is None and request.path == "/predict/top":
            respond = self.top
        elif respond is None:
            respond = self.caption if data == IMAGE.read_bytes() else self.refusal
        return respond(request)(environ, start)


def test_working_endpoint_passes(serve, monkeypatch, tmp_path):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    url = serve(ready(create_app("tests.support.fake_model")))
    other = tmp_path / "other.png"
    other.write_bytes(make_image(9, 9))
    status, output = run(url, "--images", IMAGE, "--images", other)
    assert (status, failures(output)) == (0, [])
    assert "640 by 427" in output and "9 by 9" in output and "predict" in output


def test_fake_passes_while_nothing_is_broken(serve):
    status, output = run(serve(Fake()), "--api-key", "12345")
    assert (status, failures(output)) == (0, [])


HTML = Response("<h1>Welcome to nginx!</h1>", content_type="text/html")
LIST = Response("[1]", content_type="text/json")
ANY = Response(json.dumps(GOOD))
INSTEAD = "instead of a JSON object: a proxy or another server responds"
BROKEN = {
    "loading": ("ping", Response(status=204), "not ready after 0.5 s: the model is"),
    "failed": ("ping", Response(status=503), "/ping responds with status 503"),
    "HTML": ("caption", HTML, f"status 200 with text/html {INSTEAD}"),
    "HTML at /": ("index", HTML, INSTEAD),
    "a list": ("caption", LIST, INSTEAD),
    "empty": ("caption", Response('{"caption": ""}'), 'is empty: {"caption": ""}'),
    "nothing": ("caption", Response("{}"), "the answer is empty: {}"),
    "any key": ("key", ANY, "API key: status 200 instead of 401"),
    "any file": ("refusal", ANY, "invalid file: status 200 instead of 422"),
    "500": ("refusal", Response("{}", 500), "file: status 500 instead of 422"),
    "top": ("top", Response('{"predictions": []}'), "without two predictions"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_endpoint_fails_one_check(serve, name):
    method, response, sentence = BROKEN[name]
    fake = Fake()
    setattr(fake, method, lambda request: response)
    status, output = run(serve(fake), "--api-key", "12345")
    assert (status, len(failures(output))) == (1, 1)
    assert sentence in failures(output)[0]


def test_missing_key_and_missing_server_are_reported(serve):
    assert "requires an API key: use --api-key" in run(serve(Fake()))[1]
    assert "no response: " in run("http://127.0.0.1:9")[1]
    assert run("nowhere")[0] == 1


def test_fields_are_sent_with_each_file(serve):
    class Fields(Fake):
        def caption(self, request):
            return self.json({"caption": request.args.getlist("labels")})

    fields = "--field", "labels=cat", "--field", "labels=a dog"
    status, output = run(serve(Fields()), "--api-key", "12345", *fields)
    assert status == 0 and "['cat', 'a dog']" in output


def test_top_k_is_checked_where_the_model_has_the_route(serve):
    class Ranking(Fake):
        def top(self, request):
            wanted = int(request.args["top_k"])
            if wanted < 1:
                return self.json({"detail": "top_k is at least 1."}, 400)
            return self.json({"predictions": [{}] * wanted})

    status, output = run(serve(Ranking()), "--api-key", "12345")
    assert status == 0 and "top_k: status 400, top_k is at least 1." in output


TYPED = """
    from PIL import Image
    from pydantic import BaseModel, Field

    from model_helpers.image import decode_image

    class Fields(BaseModel):
        explain: bool = False
        size: int = Field(8, le=64)

    class Top(BaseModel):
        top_k: int = Field(1, ge=1)

    class Model:
        Fields = Fields
        routes = {"top": Top}

        def __init__(self, device): pass
        def decode(self, upload):
            decode_image(upload)
            return upload.fields
        def predict(self, inputs): return inputs
        def encode(self, fields):
            if isinstance(fields, Top):
                return {"predictions": [0] * fields.top_k}
            if fields.explain:
                return {"text": f"size {fields.size}"}
            return Image.effect_noise((fields.size, fields.size), 9)
"""


def test_typed_fields_are_sent_to_the_routes_that_have_them(serve, model_file):
    url = serve(ready(create_app(model_file(TYPED).stem)))
    status, output = run(url, "--field", "explain=true", "--field", "size=32")
    assert (status, failures(output)) == (0, []) and ": size 32 (" in output
    assert "top_k: status 400, top_k should be greater than or equal to 1." in output
    status, output = run(url, "--field", "size=65")
    assert status == 1 and "size should be less than or equal to 64." in output


def test_answer_that_is_a_file_is_shortened(serve, model_file):
    source = TYPED.replace("top_k: int = Field(1, ge=1)", "other: int = 1")
    status, output = run(serve(ready(create_app(model_file(source).stem))))
    assert status == 0 and "data:image/png;base64," in output
    assert max(map(len, output.splitlines())) < 400
    assert "skipped, because the route /predict/top has no field top_k" in output
