"""`flask predict` with a model that reports the size of an image."""

import json
import os
import signal
import subprocess
import time

import pytest
from werkzeug.wrappers import Response

from endpoint import create_app
from tests.support import fake_model as fake
from tests.support.images import make_image
from tests.support.server import ROOT, SCRIPTS


def test_images_of_a_folder_are_answered_in_order(flask, folder):
    status, lines, errors = flask("predict", folder)
    widths = [line.split("\t")[1].split()[0] for line in lines.splitlines()]
    assert (status, widths) == (0, [*map(str, range(30, 40)), "50"])
    assert "11 done, 0 failed" in errors


def test_globs_files_and_standard_input_are_answered(flask, folder):
    status, lines, _ = flask(
        "predict", folder / "3[12].png", "-", input=make_image(7, 7)
    )
    answers = [line.split("\t")[1] for line in lines.splitlines()]
    assert (status, answers) == (0, ["31 by 8", "32 by 8", "7 by 7"])


def test_urls_are_answered(flask, serve):
    def app(environ, start):
        found = environ["PATH_INFO"] == "/a.png"
        body, status = (make_image(9, 9), 200) if found else ("", 404)
        return Response(body, status)(environ, start)

    url = serve(app)
    status, lines, errors = flask("predict", f"{url}/a.png", f"{url}/none")
    assert (status, lines) == (1, f"{url}/a.png\t9 by 9\n")
    assert f"{url}/none: It cannot be fetched: HTTP Error 404" in errors


def test_file_that_is_named_twice_is_answered_once(flask, folder):
    file = folder / "30.png"
    assert flask("predict", file, file)[1] == f"{file}\t30 by 8\n"


def test_failed_files_are_named_and_the_others_answered(flask, folder):
    for name, data in {"31.png": b"text", "32.png": make_image(fake.FAILS, 8)}.items():
        (folder / name).write_bytes(data)
    status, lines, errors = flask("predict", folder, folder / "none.png")
    assert (status, len(lines.splitlines())) == (1, 9)
    assert f"{folder / '31.png'}: Not a supported image" in errors
    assert f"{folder / '32.png'}: The model failed on this input" in errors
    assert f"{folder / 'none.png'}: No such file" in errors
    assert "9 done, 3 failed" in errors


@pytest.mark.attack(14)
def test_names_with_line_breaks_are_answered_once(flask, tmp_path):
    for name in (b"a\nb.png", b"c\td\\.png", b"\xff.png"):
        path = os.fsencode(tmp_path) + b"/" + name
        with open(path, "wb") as file:
            file.write(make_image(9, 9))
    broken = os.fsencode(tmp_path) + b"/e\n\xff.png"
    with open(broken, "wb") as file:
        file.write(b"text")
    for format in ("jsonl", "csv", "text"):
        options = "predict", tmp_path, "--output", tmp_path / f"answers.{format}"
        _, _, errors = flask(*options)
        assert "3 done, 1 failed, 0 done before" in errors
        assert len(errors.splitlines()) == 2
        assert "0 done, 1 failed, 3 done before" in flask(*options)[2]


def test_nothing_to_predict_is_a_mistake(flask):
    status, _, errors = flask("predict")
    assert status == 2 and "at least one file, folder or URL" in errors


def test_killed_run_is_continued(folder, tmp_path):
    output = tmp_path / "answers.jsonl"
    command = [SCRIPTS / "flask", "predict", folder, "--output", output]
    environment = {"ENDPOINT_MODULE": "tests.support.fake_model"}
    environment |= {"ENDPOINT_MAX_BATCH": "2", "FAKE_SECONDS": "0.3"}
    environment = os.environ | environment
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


LABELS = """
    from pydantic import BaseModel

    from model_helpers.image import decode_image

    SIZES = []

    class Model:
        max_batch = 4

        class Fields(BaseModel):
            labels: list[str] = []

        def __init__(self, device):
            pass

        def decode(self, upload):
            decode_image(upload)
            return upload.fields.labels

        def predict(self, labels):
            SIZES.append(len(labels))
            return labels

        def encode(self, labels):
            return {"labels": labels}
"""


def test_fields_of_the_model_are_options(flask, folder, model_file):
    app = create_app(model_file(LABELS).stem)
    file, options = folder / "30.png", ["--labels", "cat", "--labels=a dog"]
    status, line, _ = flask("predict", file, *options, "--format", "jsonl", app=app)
    assert (status, json.loads(line)["labels"]) == (0, ["cat", "a dog"])
    status, _, errors = flask("predict", "--lables", "cat", file, app=app)
    assert status == 2 and "No option --lables; the model's own: --labels." in errors


TEXTS = """
    class Model:
        accepts = "text/plain"

        def __init__(self, device): pass
        def decode(self, upload): return upload.data.decode()
        def predict(self, texts): return texts
        def encode(self, text): return {"text": text.upper()}
"""


def test_each_line_of_a_text_is_an_input(flask, folder, tmp_path, model_file):
    app, output = create_app(model_file(TEXTS).stem), tmp_path / "answers.txt"
    reviews = tmp_path / "reviews.txt"
    reviews.write_text("good\n\nbad\n")
    options = "predict", "--lines", reviews, "--output", output
    assert flask(*options, app=app)[0] == 0
    assert output.read_text() == f"{reviews}:1\tGOOD\n{reviews}:3\tBAD\n"
    reviews.write_text("good\n\nbad\nso-so")
    assert "1 done, 0 failed, 2 done before" in flask(*options, app=app)[2]
    assert output.read_text().endswith(f"{reviews}:4\tSO-SO\n")
    lines = flask("predict", "--lines", "-", app=app, input=b"one\ntwo")[1]
    assert lines == "-:1\tONE\n-:2\tTWO\n"
    status, _, errors = flask("predict", "--lines", folder)
    assert status == 2 and "--lines is for texts; this model accepts image/*" in errors


def test_batches_are_full(flask, tmp_path, model_file):
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(make_image(8, 8))
    slow = "__import__('time').sleep(.05) or SIZES.append"
    path = model_file(LABELS.replace("SIZES.append", slow))
    assert flask("predict", tmp_path, app=create_app(path.stem))[0] == 0
    sizes = __import__(path.stem).SIZES
    assert sum(sizes) == 60 and sizes.count(4) >= 14


def test_shards_are_equal_parts_of_the_whole(flask, folder):
    whole = flask("predict", folder)[1]
    parts = [flask("predict", folder, "--shard", f"{part}/3")[1] for part in (1, 2, 3)]
    assert "".join(parts) == whole
    assert [len(part.splitlines()) for part in parts] == [3, 4, 4]
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        status, _, errors = flask("predict", folder, "--shard", wrong)
        assert status == 2 and f"--shard {wrong} is not like 3/16" in errors
