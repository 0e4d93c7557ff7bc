"""Parquet files and tar shards as sources of `flask predict`."""

import tarfile

import pytest

from endpoint import create_app
from tests.support.tables import write_parquet, write_shard

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


def test_links_in_a_shard_are_inputs(flask, files, tmp_path):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(files[0], "30.png")
        for kind, name, target in (
            (tarfile.LNKTYPE, "a.png", "30.png"),
            (tarfile.LNKTYPE, "b.png", "a.png"),
            (tarfile.SYMTYPE, "c.png", "30.png"),
            (tarfile.SYMTYPE, "d.png", "missing.png"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    status, lines, errors = flask("predict", path)
    assert status == 1
    names = ("30.png", "a.png", "b.png", "c.png")
    assert sizes(lines) == {f"{path}/{name}": "30 by 8" for name in names}
    assert f"{path}/d.png: It is a link to a file that is not in the tar." in errors


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
    assert (
        f"{paths}:2: The column image holds NoneType, not a file, URL or path."
        in errors
    )


def test_what_cannot_be_read_is_a_sentence(flask, folder, files, tmp_path):
    path = write_parquet(tmp_path / "images.parquet", files)
    status, _, errors = flask("predict", path, "--column", "url")
    assert (
        status == 1
        and f"{path}: It has no column url; its columns are image." in errors
    )
    for name in ("broken.parquet", "broken.tar"):
        (tmp_path / name).write_text("no table")
        status, _, errors = flask("predict", tmp_path / name)
        assert status == 1 and f"{name}: It cannot be read: " in errors


def test_file_in_a_table_has_the_limit_of_an_upload(files, tmp_path, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MAX_UPLOAD_MB", "0.001")
    runner = create_app("tests.support.fake_model").test_cli_runner()
    (tmp_path / "large.png").write_bytes(bytes(1001))
    for write, name in ((write_parquet, "a.parquet"), (write_shard, "a.tar")):
        path = write(tmp_path / name, [*files, tmp_path / "large.png"])
        result = runner.invoke(args=["predict", str(path)])
        assert len(result.stdout.splitlines()) == 10
        assert "It has over 1,000 bytes." in result.stderr
