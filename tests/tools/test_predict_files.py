"""Files of `flask predict`: named after their inputs, whole, and never mixed up."""

import io
import os
from pathlib import Path

import click
import pytest
from PIL import Image

from endpoint import create_app
from model_interface.answers import data_uri
from model_interface.files import File
from tests.support.images import make_image
from tools import predict_files
from tools.predict_files import FileOutput, FolderOutput, extension, file_names
from tools.predict_sources import InputError

PNG = data_uri(File(b"png", "image/png"))
WAV = data_uri(File(b"wav", "audio/wav"))
MODEL = """
    from PIL import ImageOps
    from pydantic import BaseModel

    from model_helpers.image import decode_image
    from model_interface.files import File

    class Model:
        class Fields(BaseModel):
            kind: str = "image"

        def __init__(self, device): pass
        def decode(self, upload):
            return decode_image(upload), upload.fields.kind
        def predict(self, inputs): return inputs
        def encode(self, output):
            image, kind = output
            return {
                "image": image,
                "wav": File(b"RIFF", "audio/wav"),
                "several": {"text": "two", "images": [image, image]},
                "text": {"text": "data:;base64,?"},
            }[kind]
"""


@pytest.fixture
def app(model_file):
    return create_app(model_file(MODEL).stem)


@pytest.fixture
def answers(tmp_path):
    return tmp_path / "answers"


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in paths)


def size(path):
    with Image.open(path) as image:
        return image.size


def test_answers_are_files_below_the_folder(flask, folder, answers):
    for output in (f"{answers}/", answers):  # The second is a folder that exists.
        status, _, errors = flask("predict", folder, "--output", output)
        names = [f"{width}.png" for width in range(30, 40)]
        assert (status, files(answers)) == (0, [*names, "below/50.png"])
        assert size(answers / "below" / "50.png") == (50, 8)
    assert "0 done, 0 failed, 11 done before" in errors


def test_killed_run_is_continued(flask, folder, answers, monkeypatch):
    def replace(self, path, count=iter(range(3))):
        if next(count, None) is None:
            raise KeyboardInterrupt
        os.replace(self, path)

    with monkeypatch.context() as patches:
        patches.setattr(Path, "replace", replace)
        assert flask("predict", folder, "--output", f"{answers}/")[0] != 0
    whole = [name for name in files(answers) if not name.endswith(".part")]
    assert whole == ["30.png", "31.png", "32.png"]
    options = "predict", folder, "--output", answers
    assert "8 done, 0 failed, 3 done before" in flask(*options)[2]
    assert len(files(answers)) == 11 and "33.png" in files(answers)


def test_several_files_are_numbered(flask, folder, answers):
    options = "--kind", "several", "--output", f"{answers}/"
    for before in (0, 1):
        status, _, errors = flask("predict", folder / "30.png", *options)
        assert (status, files(answers)) == (0, ["30-1.png", "30-2.png"])
        assert f"{before} done before" in errors


def test_one_answer_is_one_file(flask, folder, tmp_path):
    output = tmp_path / "depth.png"
    for width in (30, 31):  # The second run replaces the file.
        file = folder / f"{width}.png"
        assert flask("predict", file, "--output", output)[:2] == (0, "")
        assert size(output) == (width, 8)


@pytest.mark.parametrize(
    "kind, name, sentence",
    [
        ("image", "x.wav", "The answer's file is image/png, which .wav does not fit."),
        ("wav", "x.png", "The answer's file is audio/wav, which .png does not fit."),
        ("text", "x.png", "The answer has no file"),
        ("text", "folder/", "The answer has no file"),
        ("several", "x.png", "The answer has 2 such files"),
    ],
)
def test_what_cannot_be_written_is_an_error(
    flask, folder, tmp_path, kind, name, sentence
):
    output = f"{tmp_path}/new-{name}"
    arguments = folder / "30.png", "--kind", kind, "--output", output
    status, _, errors = flask("predict", *arguments)
    assert status == 1 and f"30.png: {sentence}" in errors
    assert not list(tmp_path.rglob("new-x.*"))


def test_wrong_outputs_are_mistakes_of_usage(flask, folder, tmp_path):
    file = folder / "30.png"
    mistakes = {
        (folder, "--output", tmp_path / "x.png"): "is for one input: for 11, name a",
        (file, "--output", file): "30.png is the input",
        (file, "--output", folder): "is in the folder for the answers",
        (folder, "--output", folder): "is in the folder for the answers",
        (file, "--output", tmp_path / "x.png", "--format", "csv"): "holds files",
        (file, "--output", f"{tmp_path}/x/", "--format", "csv"): "holds files",
    }
    for arguments, sentence in mistakes.items():
        status, _, errors = flask("predict", *arguments)
        assert status == 2 and sentence in errors
    for output in (tmp_path / "no" / "x.png", f"{file}/"):
        status, _, errors = flask("predict", file, "--output", output)
        assert status == 1 and str(output).rstrip("/") in errors


def test_answers_below_the_inputs_are_no_inputs(flask, folder):
    for before in (0, 11):
        options = "predict", folder, "--output", f"{folder}/answers/"
        errors = flask(*options)[2]
        assert f"0 failed, {before} done before" in errors


DRAWS = MODEL.replace(
    "        def __init__",
    """
        def draw(self, output): return ImageOps.invert(output[0])
        def __init__""",
)


def test_answer_without_a_file_is_drawn(flask, folder, tmp_path, model_file):
    (folder / "black.png").write_bytes(black())
    app = create_app(model_file(DRAWS).stem)
    for kind, level in {"text": 255, "image": 0}.items():
        output = tmp_path / f"{kind}.png"
        arguments = folder / "black.png", "--kind", kind, "--output", output
        assert flask("predict", *arguments, app=app)[0] == 0
        with Image.open(output) as image:
            assert image.getpixel((0, 0)) == (level,) * 3
    lines = flask("predict", folder / "black.png", "--kind", "text", app=app)[1]
    assert lines.endswith("\tdata:;base64,?\n")  # Lines have no drawings.


def black():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file.getvalue()


def test_lines_and_standard_input_are_named():
    sources = ["a/reviews.txt", "-"]
    lines = ["a/reviews.txt:1", "a/reviews.txt:2", "-:3"]
    expected = ["reviews-1", "reviews-2", "stdin-3"]
    assert list(file_names(lines, sources).values()) == expected
    assert list(file_names(["-"], ["-"]).values()) == ["stdin"]


@pytest.mark.parametrize(
    "names, expected",
    [
        (["cat.jpg", "dog.png"], ["cat", "dog"]),
        (["cat.jpg", "cat.png", "dog.png"], ["cat.jpg", "cat.png", "dog"]),
        (["a/cat.jpg", "b/cat.jpg"], ["a/cat", "b/cat"]),
        (["/x/y/a/1.png", "/x/y/2.png"], ["a/1", "2"]),
        # The answer to cat may be cat-1.png, if it has several files.
        (["cat.jpg", "cat-1.jpg"], ["cat.jpg", "cat-1.jpg"]),
        (["cat-1.jpg", "cat-2.jpg"], ["cat-1", "cat-2"]),
        (["cat", "cat-1"], ["cat_", "cat-1_"]),
        (
            ["cat.jpg", "cat.png", "cat.jpg.webp"],
            ["cat.jpg", "cat.png", "cat.jpg.webp"],
        ),
        (["http://h:80/a/cat.jpg", "http://h:80/b?c=1"], ["a/cat", "b%3Fc%3D1"]),
        (["http://h/../../etc/x.png", "http://h/y.png"], ["etc/x", "h/y"]),
    ],
)
def test_no_two_inputs_share_a_name(names, expected):
    assert list(file_names(names, names).values()) == expected


def test_inputs_that_cannot_be_told_apart_are_refused():
    names = ["cat.jpg", "http://host/cat.jpg"]
    with pytest.raises(click.UsageError, match="Two inputs are named cat.jpg"):
        file_names(names, names)


def test_names_start_below_the_folder_of_a_glob(folder):
    names = [str(folder / "below" / "50.webp")]
    assert list(file_names(names, [f"{folder}/*/*.webp"]).values()) == ["below/50"]
    assert list(file_names(names, [str(folder)]).values()) == ["below/50"]


def test_extensions_are_the_usual_ones():
    kinds = {
        "image/png": ".png",
        "image/jpeg": ".jpg",
        "audio/wav": ".wav",
        "audio/x-wav": ".wav",
        "text/csv; charset=utf-8": ".csv",
        "application/octet-stream": ".bin",
        "application/vnd.odd+thing": ".vnd-odd-thing",
        "": ".bin",
    }
    assert {kind: extension(kind) for kind in kinds} == kinds


def test_jpeg_and_jpg_are_the_same(tmp_path):
    answer = {"image": data_uri(File(b"jpeg", "image/jpeg"))}
    for name in ("a.jpg", "a.jpeg", "a.JPG"):
        FileOutput(tmp_path / name).write("x", answer)
        assert (tmp_path / name).read_bytes() == b"jpeg"
    FileOutput(tmp_path / "a.wav").write("x", {"image": PNG, "sound": WAV})
    assert (tmp_path / "a.wav").read_bytes() == b"wav"
    with pytest.raises(InputError):
        FileOutput(tmp_path / "a.wav").write("x", {"text": "data:?;base64,??"})


def test_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def fail(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predict_files.Path, "write_bytes", fail)
    with FolderOutput(tmp_path / "out") as out:
        assert out.plan(["a.jpg"], ["a.jpg"]) == ["a.jpg"]
        with pytest.raises(click.ClickException, match="a.png cannot be written: No"):
            out.write("a.jpg", {"image": PNG})


def test_urls_are_written_below_the_folder(flask, serve, answers):
    def images(environ, start):
        start("200 OK", [])
        return [make_image(9, 9)]

    url = serve(images)
    arguments = f"{url}/a/1.png", f"{url}/2.png", "--output", f"{answers}/"
    assert flask("predict", *arguments)[0] == 0
    assert files(answers) == ["2.png", "a/1.png"]
