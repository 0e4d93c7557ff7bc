"""Engines of `flask predict`: a server gives the same answers as the model here."""

import json
import os
import subprocess

import pytest
from PIL import Image
from werkzeug.wrappers import Response

from endpoint import create_app
from model_interface.fields import Values
from tests.support.apps import ready
from tests.support.server import ROOT, SCRIPTS
from tools.predict_engines import Decoded, LocalEngine

INFO = {"state": "ready", "accepts": "image/*", "fields": {}}


def test_server_answers_like_the_model_in_this_process(
    flask, folder, serve, monkeypatch
):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    monkeypatch.setenv("ENDPOINT_QUEUE", "1")  # The server refuses most requests first.
    url = serve(ready(create_app("tests.support.fake_model")))
    (folder / "31.png").write_bytes(b"text")
    remote = flask("predict", folder, "--url", url, "--api-key", "12345")
    assert remote == flask("predict", folder) and remote[0] == 1
    status, output, errors = flask("predict", folder, "--url", url, "--api-key", "no")
    assert (status, output) == (1, "")
    assert errors.startswith("Error: Send the API key: Authorization: Bearer KEY")
    assert len(errors.splitlines()) == 1


def test_images_are_written_as_data_uris(flask, folder, model_file):
    source = """
        from model_helpers.image import decode_image

        class Model:
            def __init__(self, device): pass
            def decode(self, upload): return decode_image(upload)
            def predict(self, images): return images
            def encode(self, image): return image
    """
    app = create_app(model_file(source).stem)
    options = "predict", folder / "30.png", "--format", "jsonl"
    answer = json.loads(flask(*options, app=app)[1])
    assert answer["image"].startswith("data:image/png;base64,")


def test_decoded_input_is_only_predicted(cpu):
    engine = LocalEngine("tests.support.fake_model", False, False)
    engine.start(Values())
    answers = [engine.collect(engine.submit(Decoded((width, 8)))) for width in (7, 9)]
    assert answers == [{"caption": "7 by 8"}, {"caption": "9 by 8"}]
    assert engine.example() == {}


def test_server_that_loads_is_waited_for(flask, folder, serve):
    states = ["loading", "ready"]

    def app(environ, start):
        info = INFO | {"state": states.pop(0)} if states else {"caption": "a dog"}
        return Response(json.dumps(info))(environ, start)

    status, line, _ = flask("predict", folder / "30.png", "--url", serve(app))
    assert (status, states) == (0, []) and line.endswith("\ta dog\n")


OLD = json.dumps(INFO | {"fields": {"labels": "Words."}})


@pytest.mark.parametrize("body", ["<h1>nginx</h1>", "[1]", "{}", OLD])
def test_url_that_is_no_endpoint_is_reported(flask, folder, serve, body):
    url = serve(Response(body))
    status, _, errors = flask("predict", folder, "--url", url)
    assert status == 1 and f"The endpoint at {url} cannot be used: The" in errors
    assert "JSON" in errors


def test_unreachable_server_is_reported(flask, folder):
    status, _, errors = flask("predict", folder, "--url", "http://127.0.0.1:9")
    unused = "The endpoint at http://127.0.0.1:9 cannot be used: "
    assert status == 1 and unused in errors


@pytest.mark.parametrize("fields", [{}, {"labels": {"type": "string"}}])
def test_response_that_is_not_json_fails_its_file_only(flask, folder, serve, fields):
    def app(environ, start):
        body = (
            json.dumps(INFO | {"fields": fields})
            if environ["PATH_INFO"] == "/"
            else "<h1>nginx</h1>"
        )
        return Response(body)(environ, start)

    status, output, errors = flask("predict", folder, "--url", serve(app))
    assert (status, output) == (1, "") and "0 done, 11 failed" in errors
    assert "30.png: The server's response is not a JSON object." in errors


ERROR_ANSWER = """
    class Model:
        accepts = "text/plain"

        def __init__(self, device):
            pass

        def decode(self, upload):
            return upload.data

        def predict(self, inputs):
            return inputs

        def encode(self, output):
            return {"error": float("nan"), "n": 1}
"""


def test_answer_named_error_with_nan_is_an_answer_of_the_command(model_file, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("hello")
    done = subprocess.run(
        [SCRIPTS / "flask", "predict", text, "--format", "jsonl"],
        env=os.environ
        | {"ENDPOINT_MODULE": model_file(ERROR_ANSWER).stem, "PYTHONPATH": tmp_path},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"input": str(text), "error": None, "n": 1}


@pytest.fixture
def typed(model_file):
    """An app whose answers show the fields; it draws them as an image."""
    return create_app(model_file(TYPED).stem)


TYPED = """
    from PIL import Image
    from pydantic import BaseModel, Field, model_validator

    from model_helpers.image import decode_image
    from model_interface.files import Upload

    WIDTHS = []

    class Model:
        class Fields(BaseModel):
            prompt: str = Field("", max_length=9_000)
            labels: list[str] = []
            explain: bool = False
            masks: list[Upload] = []
            size: int = Field(8, ge=1, description="Of the drawing.")

            @model_validator(mode="after")
            def check(self):
                if self.explain and not self.prompt:
                    raise ValueError("To explain, send a prompt")
                return self

        def __init__(self, device): pass
        def decode(self, upload):
            return decode_image(upload).width, upload.fields
        def predict(self, inputs):
            WIDTHS.extend(width for width, fields in inputs)
            return inputs
        def encode(self, output):
            width, fields = output
            masks = [[len(m.data), m.media_type] for m in fields.masks]
            return {"width": width, **fields.model_dump(), "masks": masks}
        def draw(self, output):
            return Image.new("RGB", (output[1].size, output[0]))
"""


def test_fields_reach_a_server_as_they_reach_the_model(flask, folder, serve, typed):
    url, mask = serve(ready(typed)), str(folder / "31.png")
    text = "a \u00e9&=, " * 1_000
    given = [
        [],
        ["--explain", "--prompt", "why?", "--size=9"],
        ["--labels", "a, b"],
        ["--labels", "a, b", "--labels", "c"],
        ["--size", "2", "--size", "3"],
        ["--masks", mask],
        ["--masks", mask, "--masks", f"{folder}/notes.txt", "--labels=a,b", "--size=3"],
        ["--prompt", text],  # too long for a URL
    ]
    for options in given:
        arguments = "predict", folder / "30.png", *options, "--format", "jsonl"
        remote = flask(*arguments, "--url", url)
        assert remote[0] == 0, remote
        assert remote == flask(*arguments, app=typed)
    assert json.loads(flask(*arguments, "--url", url)[1])["prompt"] == text


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--size", "0"], "size should be greater than or equal to 1."),
        (["--explain"], "To explain, send a prompt."),
        (["--size", "0", "--masks", "french_bulldog.jpg"], "size should be greater"),
        (["--prompt", "x" * 9_001], "prompt: String should have at most 9000"),
        (["--sise", "1"], "No option --sise; the model's own: --prompt, --labels, --"),
    ],
)
def test_wrong_field_ends_the_command(flask, folder, serve, typed, options, sentence):
    url = serve(ready(typed))
    status, output, errors = flask("predict", folder, "--url", url, *options)
    assert (status, output) == (2, "") and f"Error: {sentence}" in errors
    assert "30.png" not in errors
    assert __import__(typed.config["MODULE"]).WIDTHS == []


def test_400_of_one_input_is_no_mistake_of_usage(flask, folder, serve, typed):
    (folder / "30.png").write_bytes(b"")
    url = serve(ready(typed))
    status, _, errors = flask("predict", folder, "--url", url)
    assert status == 1 and "10 done, 1 failed" in errors
    assert "30.png: The request has no image." in errors


def test_text_in_a_file_of_json_is_an_input(flask, serve, model_file, tmp_path):
    app = create_app(model_file(ERROR_ANSWER).stem)
    (tmp_path / "a.json").write_text("{}")
    arguments = "predict", tmp_path / "a.json", "--url", serve(ready(app))
    assert flask(*arguments)[0] == 0


def test_server_draws_answers_that_have_no_file(flask, folder, serve, typed, tmp_path):
    options = "--url", serve(ready(typed)), "--output", f"{tmp_path}/drawn/"
    status, _, errors = flask("predict", folder, *options, "--size", "5")
    assert status == 0 and "11 done, 0 failed" in errors
    for name, height in {"30": 30, "below/50": 50}.items():
        with Image.open(tmp_path / "drawn" / f"{name}.png") as image:
            assert image.size == (5, height)


def test_files_of_a_server_are_not_drawn(flask, folder, serve, model_file, tmp_path):
    wav = 'return {"file": File(b"wav", "audio/wav")}'
    source = TYPED.replace("width, fields = output", wav)
    source = source.replace(
        "from PIL", "from model_interface.files import File\n    from PIL"
    )
    url = serve(ready(create_app(model_file(source).stem)))
    sound, image = tmp_path / "a.wav", tmp_path / "a.png"
    arguments = "predict", folder / "30.png", "--url", url, "--output"
    assert flask(*arguments, sound)[0] == 0 and sound.read_bytes() == b"wav"
    status, _, errors = flask(*arguments, image)
    assert status == 1 and not image.exists()
    assert "The answer's file is audio/wav, which .png does not fit." in errors


def test_server_that_cannot_draw_has_no_file(flask, folder, serve, tmp_path):
    url = serve(ready(create_app("tests.support.fake_model")))
    image = tmp_path / "a.png"
    arguments = "predict", folder / "30.png", "--url", url, "--output", image
    status, _, errors = flask(*arguments)
    assert status == 1 and "30.png: The answer has no file" in errors
    assert not image.exists()
