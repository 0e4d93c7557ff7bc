"""Buckets as sources and as output of `flask predict`, and places that are none."""

import pytest

from tests.support.buckets import s3_server
from tests.support.tables import write_parquet, write_shard
from tools import predict_storage
from tools.predict_storage import save

pytest.importorskip("pyarrow", reason="needs make extras GROUP=tables")


@pytest.fixture
def files(folder):
    return sorted(folder.glob("*.png"))


def test_bucket_holds_sources_and_answers(flask, files, tmp_path):
    shard = write_shard(tmp_path / "a.tar", files)
    table = write_parquet(tmp_path / "a.parquet", files)
    predict_storage._connect.cache_clear()  # of the server of an earlier test
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


def test_places_that_cannot_be_used_are_a_sentence(flask, files, tmp_path):
    status, _, errors = flask("predict", "none://bucket/in")
    assert status == 1 and "none://bucket/in cannot be used: " in errors
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "answers.parquet"
    status, _, errors = flask("predict", files[0], "--output", output)
    assert status == 1 and "answers.parquet cannot be used: " in errors
    assert len(errors.splitlines()) == 2
