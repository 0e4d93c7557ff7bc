"""Parquet, tar shards and buckets as sources and as output of `flask predict`."""

import json

import pytest

from endpoint import create_app
from tests.support.buckets import s3_server
from tests.support.images import make_image
from tests.support.tables import read_rows, write_parquet, write_shard
from tools.predict_storage import save

pa = pytest.importorskip("pyarrow", reason="needs make extras GROUP=tables")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def files(folder):
    return sorted(folder.glob("*.png"))


def sizes(lines):
    return dict(line.split("\t") for line in lines.splitlines())


def test_rows_of_parquet_are_inputs(flask, files, tmp_path):
    path = write_parquet(tmp_path / "images.parquet", files)
    status, lines, _ = flask("predict", path)
    assert status == 0 and sizes(lines) == {
        f"{path}:{number}": f"{29 + number} by 8" for number in range(1, 11)
    }


def test_images_of_a_shard_are_inputs(flask, files, tmp_path):
    path = write_shard(tmp_path / "images.tar", files)
    status, lines, _ = flask("predict", path)
    assert status == 0 and sizes(lines) == {
        f"{path}/{file.name}": f"{file.stem} by 8" for file in files
    }


def test_column_may_hold_paths_or_structs(flask, files, tmp_path):
    paths = tmp_path / "paths.parquet"
    parquet.write_table(pa.table({"path": [str(file) for file in files]}), paths)
    status, lines, _ = flask("predict", paths, "--column", "path")
    assert status == 0
    assert sizes(lines) == {str(file): f"{file.stem} by 8" for file in files}
    structs = [{"bytes": files[0].read_bytes(), "path": "30.png"}, None]
    parquet.write_table(pa.table({"image": structs}), paths)
    status, lines, errors = flask("predict", paths)
    assert (status, lines) == (1, f"{paths}:1\t30 by 8\n")
    assert f"{paths}:2: image holds no file, URL or path, but NoneType." in errors


def test_what_cannot_be_read_is_a_sentence(flask, folder, files, tmp_path):
    path = write_parquet(tmp_path / "images.parquet", files)
    status, _, errors = flask("predict", path, "--column", "url")
    assert status == 1 and f"{path}: It has no column url, but image." in errors
    for name in ("broken.parquet", "broken.tar"):
        (tmp_path / name).write_text("no table")
        status, _, errors = flask("predict", tmp_path / name)
        assert status == 1 and f"{name}: It cannot be read: " in errors


def test_places_that_cannot_be_used_are_a_sentence(flask, files, tmp_path):
    status, _, errors = flask("predict", "none://bucket/in")
    assert status == 1 and "none://bucket/in cannot be used: " in errors
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "answers.parquet"
    status, _, errors = flask("predict", files[0], "--output", output)
    assert status == 1 and "answers.parquet cannot be used: " in errors
    assert len(errors.splitlines()) == 2


def test_file_in_a_table_has_the_limit_of_an_upload(files, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MAX_UPLOAD_MB", "0.001")
    runner = create_app("tests.support.fake_model").test_cli_runner()
    (tmp_path / "large.png").write_bytes(bytes(1001))
    for write, name in ((write_parquet, "a.parquet"), (write_shard, "a.tar")):
        path = write(tmp_path / name, [*files, tmp_path / "large.png"])
        result = runner.invoke(args=["predict", str(path)])
        assert len(result.stdout.splitlines()) == 10
        assert "It has over 1,000 bytes." in result.stderr


def test_parquet_is_continued(flask, folder, files, tmp_path):
    output = tmp_path / "answers.parquet"
    assert flask("predict", *files[:4], "--output", output)[0] == 0
    (folder / "31.png").unlink()
    (folder / "odd\udcff.png").write_bytes(make_image(9, 9))
    assert (
        "8 done, 0 failed, 3 done before"
        in flask("predict", folder, "--output", output)[2]
    )
    rows = read_rows(output)
    assert len(rows) == len({row["input"] for row in rows}) == 12
    assert rows[0] == {"input": str(files[0]), "caption": "30 by 8", "error": None}
    assert rows[-1]["input"] == f"{folder}/odd\\xff.png"


VALUES = """
    import json

    class Model:
        accepts = "text/plain"

        def __init__(self, device): pass
        def decode(self, upload): return upload.data.decode()
        def predict(self, texts): return texts
        def encode(self, text): return json.loads(text)
"""


def test_columns_have_one_type_each(flask, tmp_path, model_file):
    app = create_app(model_file(VALUES).stem)
    answers = [
        {"score": 0.5, "words": ["a", "b"], "mixed": 1},
        {"score": 1.5, "words": [], "mixed": "one"},
        {"score": None, "words": [1], "mixed": {"one": 1}},
    ]
    path, output = tmp_path / "texts.parquet", tmp_path / "answers.parquet"
    texts = [json.dumps(answer) for answer in answers]
    parquet.write_table(pa.table({"text": texts}), path)
    options = "predict", path, "--column", "text", "--output", output
    assert flask(*options, app=app)[0] == 0
    rows = read_rows(output)
    assert [row["score"] for row in rows] == [0.5, 1.5, None]
    assert [row["words"] for row in rows] == ['["a", "b"]', "[]", "[1]"]
    assert [row["mixed"] for row in rows] == ["1", '"one"', '"{\\"one\\": 1}"']


def test_shards_are_equal_parts_of_the_whole(flask, folder):
    whole = flask("predict", folder)[1]
    parts = [flask("predict", folder, "--shard", f"{part}/3")[1] for part in (1, 2, 3)]
    assert "".join(parts) == whole
    assert [len(part.splitlines()) for part in parts] == [3, 4, 4]
    for wrong in ("0/3", "4/3", "3", "a/b", "1/0"):
        status, _, errors = flask("predict", folder, "--shard", wrong)
        assert status == 2 and f"--shard {wrong} is not like 3/16" in errors


def test_bucket_holds_sources_and_answers(flask, files, tmp_path):
    shard = write_shard(tmp_path / "a.tar", files)
    table = write_parquet(tmp_path / "a.parquet", files)
    with s3_server():
        for path in (*files[:3], shard, table):
            save(f"s3://bucket/in/{path.name}", path.read_bytes())
        options = "--output", "s3://bucket/out"
        status, _, errors = flask("predict", "s3://bucket/in", *options)
        assert status == 0 and "23 done, 0 failed" in errors
        status, _, errors = flask("predict", "s3://bucket/in/*.png", *options)
        assert status == 0 and "0 done, 0 failed, 3 done before" in errors
        names = "s3://bucket/in/30.png", "s3://bucket/none.png"
        status, lines, errors = flask("predict", *names)
        assert (status, lines) == (1, f"{names[0]}\t30 by 8\n")
        assert f"{names[1]}: Path does not exist" in errors
