"""Output of `flask predict`: three formats, each continued by a later run."""

import csv
import json

import click
import pytest

from tools.predict_output import FORMATS, Output, open_output

NAMES = [
    "a.png",
    'b,"c".png',
    "line\nbreak\r\n.png",
    "tab\t.png",
    "back\\slash",
    "\udcff",
]


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    return tmp_path / f"answers.{request.param}"


def write(path, names, answer=None):
    """Write an answer for each name that has none yet; return those names."""
    with Output(path, None) as output:
        todo = [name for name in names if not output.has_answer(name)]
        for name in todo:
            output.write(name, answer or {"caption": "a dog", "scores": [1, 2]})
    return todo


def read(path):
    """Return the names in a file, as a program reads them."""
    text = path.read_text(errors="surrogateescape")
    if path.suffix == ".jsonl":
        return [json.loads(line)["input"] for line in text.splitlines()]
    lines = text.split("\n")[:-1]
    if path.suffix == ".csv":
        return [unescape(row["input"]) for row in csv.DictReader(lines)]
    return [unescape(line.split("\t")[0]) for line in lines]


def unescape(name):
    parts = name.replace("\\\\", "\0").replace("\\n", "\n").replace("\\r", "\r")
    return parts.replace("\\t", "\t").replace("\0", "\\")


@pytest.mark.parametrize("format", FORMATS)
def test_answers_are_written_in_each_format(flask, folder, tmp_path, format):
    file, output = folder / "30.png", tmp_path / f"answers.{format}"
    assert flask("predict", file, "--output", output)[0] == 0
    row = {"input": str(file), "caption": "30 by 8"}
    if format == "csv":
        assert list(csv.DictReader(output.read_text().splitlines())) == [row]
    else:
        line = json.dumps(row) if format == "jsonl" else "\t".join(row.values())
        assert output.read_text() == f"{line}\n"


@pytest.mark.parametrize("format", FORMATS)
def test_output_is_continued_after_an_incomplete_line(flask, folder, tmp_path, format):
    output = tmp_path / "answers"
    options = "predict", folder, "--output", output, "--format", format
    flask(*options)
    whole = output.read_bytes()
    for end in (len(whole) - 5, len(whole) // 2, 3, 0):
        output.write_bytes(whole[:end])
        assert flask(*options)[0] == 0
        assert output.read_bytes() == whole
    assert "0 done, 0 failed, 11 done before" in flask(*options)[2]


def test_each_answer_is_one_line_whatever_its_name(path):
    assert write(path, NAMES) == NAMES
    lines = path.read_bytes().count(b"\n")
    assert lines == len(NAMES) + (path.suffix == ".csv")
    assert read(path) == NAMES


def test_no_name_is_answered_twice(path):
    write(path, NAMES[:3])
    assert write(path, NAMES) == NAMES[3:]
    assert write(path, NAMES) == []


def test_names_that_escape_alike_are_told_apart(path):
    write(path, ["a\nb"])
    assert write(path, ["a\\nb", "a\nb"]) == ["a\\nb"]


@pytest.mark.attack(14)
def test_bytes_that_are_not_utf_8_are_kept(tmp_path):
    write(tmp_path / "answers.text", ["\udcff.png"])
    assert (tmp_path / "answers.text").read_bytes().startswith(b"\xff.png\t")


def test_answers_with_line_breaks_stay_on_one_line(path):
    write(path, ["a", "b"], {"text": "two\nlines", "more": "three\r\nmore\tlines"})
    assert read(path) == ["a", "b"]


def test_large_answers_are_continued(path):
    write(path, ["a"], {"image": "x" * 200_000})
    assert write(path, ["a", "b"]) == ["b"]


@pytest.mark.parametrize("format", FORMATS)
def test_file_with_other_lines_is_left_alone(flask, folder, tmp_path, format):
    path = tmp_path / f"notes.{format}"
    path.write_text("my notes\n")
    status, _, errors = flask("predict", folder, "--output", path)
    assert (
        status == 1 and f"a line that is not an answer in the format {format}" in errors
    )
    assert path.read_text() == "my notes\n"


def test_file_that_cannot_be_written_is_a_sentence(flask, folder, tmp_path):
    status, _, errors = flask("predict", folder, "--output", tmp_path / "no" / "file")
    assert status == 1 and "No such file or directory" in errors
    status, _, errors = flask("predict", folder, "--output", "/dev/full")
    assert status == 1 and "/dev/full cannot be written: No space left" in errors


def test_unknown_extension_means_text(tmp_path):
    assert Output(None, None).format == "text"
    with Output(tmp_path / "answers.log", None) as output:
        assert output.format == "text"
    with pytest.raises(click.ClickException):
        Output(tmp_path, None)


def test_extension_chooses_lines_or_files(tmp_path):
    formats = {"a": "text", "a.txt": "text", "a.JSON": "jsonl", "a.csv": "csv"}
    for name, format in formats.items():
        with open_output(f"{tmp_path}/{name}", None) as output:
            assert isinstance(output, Output) and output.format == format
    with open_output(f"{tmp_path}/a.log", "csv") as output:
        assert isinstance(output, Output) and output.format == "csv"
    assert open_output(f"{tmp_path}/a.log", None).takes_files
    assert open_output(str(tmp_path), None).takes_files
    assert not open_output(None, None).takes_files
