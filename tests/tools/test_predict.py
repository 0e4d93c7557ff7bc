"""`flask bake` and `flask predict`, with small checkpoints and a model without any."""

import csv
import io
import json
import os
import signal
import subprocess
import time
from random import Random

import pytest
from werkzeug.wrappers import Response

from endpoint import create_app
from tools import engines
from tests.support import fake_model as fake
from tests.support.apps import ready
from tests.support.images import make_image as picture
from tests.support.server import ROOT, SCRIPTS


@pytest.fixture
def flask(app):
    """Run `flask` with the fake model and return its status, output and errors."""

    def run(*arguments, app=app, **options):
        arguments = [str(argument) for argument in arguments]
        done = app.test_cli_runner().invoke(args=arguments, **options)
        return done.exit_code, done.stdout, done.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    """Pictures of widths that tell them apart, one a folder below, and a text."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for width in range(30, 40):
        (folder / f"{width}.png").write_bytes(picture(width, 8))
    (folder / "below" / "50.webp").write_bytes(picture(50, 8, "WEBP"))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_pictures_of_a_folder_are_answered_in_order(flask, folder):
    status, lines, told = flask("predict", folder)
    widths = [line.split("\t")[1].split()[0] for line in lines.splitlines()]
    assert (status, widths) == (0, [*map(str, range(30, 40)), "50"])
    assert "11 done, 0 failed" in told


def test_globs_files_and_standard_input_are_taken(flask, folder):
    status, lines, _ = flask("predict", folder / "3[12].png", "-", input=picture(7, 7))
    answers = [line.split("\t")[1] for line in lines.splitlines()]
    assert (status, answers) == (0, ["31 by 8", "32 by 8", "7 by 7"])


def test_same_file_is_answered_once(flask, folder):
    file = folder / "30.png"
    assert flask("predict", file, file)[1] == f"{file}\t30 by 8\n"


@pytest.mark.parametrize("form", ["jsonl", "csv", "text"])
def test_answers_come_in_each_form(flask, folder, tmp_path, form):
    file, output = folder / "30.png", tmp_path / f"answers.{form}"
    assert flask("predict", file, "--output", output)[0] == 0
    row = {"input": str(file), "caption": "30 by 8"}
    if form == "csv":
        assert list(csv.DictReader(output.read_text().splitlines())) == [row]
    else:
        shown = json.dumps(row) if form == "jsonl" else "\t".join(row.values())
        assert output.read_text() == f"{shown}\n"


def test_bad_files_are_named_and_the_others_answered(flask, folder):
    for name, data in {"31.png": b"text", "32.png": picture(fake.FAILS, 8)}.items():
        (folder / name).write_bytes(data)
    status, lines, told = flask("predict", folder, folder / "none.png")
    assert (status, len(lines.splitlines())) == (1, 9)
    assert f"{folder / '31.png'}: This is no picture" in told
    assert f"{folder / '32.png'}: The model failed on this input" in told
    assert f"{folder / 'none.png'}: No such file" in told
    assert "9 done, 3 failed" in told


def test_address_is_fetched_within_limits(flask, serve, monkeypatch):
    monkeypatch.setattr(engines, "FETCHING", 0.5)

    def slow():
        for _ in range(20):
            time.sleep(0.1)
            yield b"0"

    bodies = {"/a.png": picture(9, 9), "/large": bytes(20_000_001), "/slow": slow()}
    url = serve(lambda environ, start: _sent(bodies, environ)(environ, start))
    sources = [f"{url}{path}" for path in (*bodies, "/none")]
    status, lines, told = flask("predict", *sources)
    assert (status, lines) == (1, f"{url}/a.png\t9 by 9\n")
    assert "/large: It has over 20,000,000 bytes." in told
    assert "/slow: It takes over 0.5 s" in told and "/none: HTTP Error 404" in told


def _sent(bodies, environ):
    body = bodies.get(environ["PATH_INFO"])
    return Response(body, 200 if body else 404)


@pytest.mark.parametrize("form", ["jsonl", "csv", "text"])
def test_output_is_continued_after_its_torn_line(flask, folder, tmp_path, form):
    output = tmp_path / "answers"
    options = "predict", folder, "--output", output, "--format", form
    flask(*options)
    whole = output.read_bytes()
    for end in (len(whole) - 5, len(whole) // 2, 3, 0):
        output.write_bytes(whole[:end])
        assert flask(*options)[0] == 0
        assert output.read_bytes() == whole
    assert "0 done, 0 failed, 11 done before" in flask(*options)[2]


def test_output_that_holds_something_else_is_left_alone(flask, folder, tmp_path):
    output = tmp_path / "notes.jsonl"
    output.write_text("my notes\n")
    status, _, told = flask("predict", folder, "--output", output)
    assert status == 1 and "holds other things than answers" in told
    assert output.read_text() == "my notes\n"


def test_run_that_was_killed_is_continued(folder, tmp_path):
    output = tmp_path / "answers.jsonl"
    command = [SCRIPTS / "flask", "predict", folder, "--output", output]
    environment = {"ENDPOINT_MODULE": "tests.support.fake_model", "ENDPOINT_MAX_BATCH": "2"}
    environment |= os.environ | {"FAKE_SECONDS": "0.3"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    while not output.exists() or output.read_text().count("\n") < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert output.read_text().count("\n") < 11
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    lines = output.read_text().splitlines()
    names = [json.loads(line)["input"] for line in lines]
    assert len(names) == 11 and names == sorted(set(names), key=names.index)


COUNTS = """
    from endpoint.decoders.image import decode_image

    SIZES = []

    class Model:
        max_batch = 4
        fields = {"labels": "Words."}

        def __init__(self, device):
            pass

        def decode(self, upload):
            decode_image(upload)
            return upload.fields.getlist("labels")

        def predict(self, labels):
            SIZES.append(len(labels))
            return labels

        def encode(self, labels):
            return {"labels": labels}
"""


def test_fields_of_the_model_are_options(flask, folder, model_file):
    app = create_app(model_file(COUNTS).stem)
    file, options = folder / "30.png", ["--labels", "cat", "--labels=a dog"]
    status, line, _ = flask("predict", file, *options, "--format", "jsonl", app=app)
    assert (status, json.loads(line)["labels"]) == (0, ["cat", "a dog"])
    status, _, told = flask("predict", "--lables", "cat", file, app=app)
    assert status == 2 and "No option --lables; the model's own: --labels." in told


def test_batches_are_full(flask, tmp_path, model_file):
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(picture(8, 8))
    path = model_file(
        COUNTS.replace("SIZES.append", "__import__('time').sleep(.05) or SIZES.append")
    )
    assert flask("predict", tmp_path, app=create_app(path.stem))[0] == 0
    sizes = __import__(path.stem).SIZES
    assert sum(sizes) == 60 and sizes.count(4) >= 14


def test_server_answers_as_the_model_here(flask, folder, serve, monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    monkeypatch.setenv("ENDPOINT_QUEUE", "1")  # It refuses most of them at first.
    url = serve(ready(create_app("tests.support.fake_model")))
    (folder / "31.png").write_bytes(b"text")
    asked = flask("predict", folder, "--url", url, "--api-key", "12345")
    assert asked == flask("predict", folder) and asked[0] == 1
    refused = flask("predict", folder, "--url", url, "--api-key", "wrong")
    assert refused == (
        1,
        "",
        "Error: Send the key: Authorization: Bearer KEY, or X-API-Key: KEY.\n",
    )


def test_server_that_is_none_is_named(flask, folder):
    status, _, told = flask("predict", folder, "--url", "http://127.0.0.1:9")
    assert status == 1 and "No endpoint answers at http://127.0.0.1:9" in told


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint as the hub has it, and a head that repeats the embeddings."""
    import torch

    from benchmarks.checkpoint import SMALL, write

    folder = tmp_path_factory.mktemp("hub") / "checkpoint"
    write(folder, **SMALL)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tensors["decoder.lm_head.weight"] = tensors["decoder.transformer.wte.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def test_baked_folder_holds_each_weight_once_and_no_pickle(flask, checkpoint, tmp_path):
    from safetensors.torch import load_file

    status, told, _ = flask("bake", tmp_path / "baked", "--model", checkpoint)
    assert (status, told.count("bfloat16")) == (0, 1)
    files = {file.name for file in (tmp_path / "baked").iterdir()}
    kept = {file.name for file in checkpoint.iterdir()} - {"pytorch_model.bin"}
    assert files == kept | {"model.safetensors"}
    tensors = load_file(tmp_path / "baked" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.bfloat16"}
    assert not any(name.endswith((".attn.bias", "masked_bias")) for name in tensors)
    assert "decoder.lm_head.weight" not in tensors
    assert "decoder.transformer.h.0.attn.c_attn.bias" in tensors


def test_baked_files_are_readable_by_all(flask, checkpoint, tmp_path):
    flask("bake", tmp_path / "baked", "--model", checkpoint)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "baked").iterdir()}
    assert modes == {0o644} and (tmp_path / "baked").stat().st_mode & 0o777 == 0o755


def test_baking_that_fails_leaves_nothing(flask, checkpoint, tmp_path):
    import zipfile

    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "config.json").write_text("{}")
    with zipfile.ZipFile(bad / "pytorch_model.bin", "w") as weights:
        weights.writestr("none", "")
    assert flask("bake", tmp_path / "to" / "baked", "--model", bad)[0] == 1
    assert list((tmp_path / "to").iterdir()) == []


def test_folder_with_files_is_not_baked_over(flask, folder):
    status, _, told = flask("bake", folder, "--model", "demo")
    assert status == 1 and "is not empty" in told


def test_baked_model_captions_as_the_demo(flask, app, tmp_path, monkeypatch):
    from demo.scenes import draw, sample
    from endpoint.uploads import Upload
    from endpoint.model import Model

    captions, random = [], Random(1)
    pictures = [io.BytesIO() for _ in range(8)]
    for file in pictures:
        draw(sample(random), random).save(file, "PNG")
    assert flask("bake", tmp_path / "baked", "--model", "demo")[0] == 0
    for name in ("demo", tmp_path / "baked"):
        monkeypatch.setenv("ENDPOINT_MODEL", str(name))
        model = Model("cpu")
        images = [model.decode(Upload(file.getvalue())) for file in pictures]
        captions.append(model.predict(images))
        assert model.name == "demo"
    assert captions[0] == captions[1] and len(set(captions[0])) > 4
