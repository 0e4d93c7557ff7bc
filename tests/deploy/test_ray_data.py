"""deploy/ray_data.py on two nodes: every input once, whatever is killed."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from endpoint import create_app
from model_interface.fields import NoFields, Values
from model_interface.files import Upload
from tests.support.buckets import s3_server
from tests.support.images import make_image
from tests.support.ray_cluster import RayCluster
from tests.support.server import ROOT, SCRIPTS
from tests.support.tables import read_rows, write_parquet, write_shard
from tools.predict_parts import read_parts
from tools.predict_storage import save

for package in ("ray.data", "pyarrow"):
    pytest.importorskip(package, reason="needs make extras GROUP=deploy")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
IMAGES, BROKEN = 600, 6
MODEL = {"ENDPOINT_MODULE": "tests.support.fake_model", "ENDPOINT_MAX_BATCH": "8"}


@pytest.fixture(scope="module")
def cluster():
    with s3_server() as environment:
        cluster = object.__new__(RayCluster)
        try:
            cluster.__init__(**MODEL, **environment, FAKE_SECONDS="0.1")  # a batch
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same images, some of them broken, as files, as Parquet and as a tar."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "files").mkdir()
    for width in range(100, 100 + IMAGES):
        (folder / "files" / f"{width}.png").write_bytes(make_image(width, 8))
    for width in range(150, 150 + BROKEN):
        (folder / "files" / f"{width}.png").write_bytes(b"no image")
    files = sorted((folder / "files").iterdir())
    parquet = write_parquet(folder / "table.parquet", files)
    return [folder / "files", parquet, write_shard(folder / "shard.tar", files)]


def predict(sources, output):
    """Return the rows that `flask predict` writes, and those that it cannot."""
    command = [SCRIPTS / "flask", "predict", *sources, "--output", output]
    environment = os.environ | MODEL
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    failed = [
        line.split(": ", 1)
        for line in done.stderr.splitlines()
        if line.startswith("/") and ": " in line
    ]
    return read_rows(output), {name: sentence for name, sentence in failed}


def wait_for_parts(folder, count, process):
    deadline = time.monotonic() + 300
    while len(list(folder.glob("*.parquet"))) < count:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_worker_and_killed_job_change_no_answer(cluster, sources, tmp_path):
    target = tmp_path / "answers"
    job = cluster.start(*sources, target)
    wait_for_parts(target, 1, job)
    os.kill(cluster.processes("Predictor")[0], signal.SIGKILL)
    wait_for_parts(target, 2, job)
    job.kill()
    job.wait()
    assert len(read_rows(target)) < 3 * IMAGES
    job = cluster.start(*sources, target, "--resume", stderr=subprocess.PIPE, text=True)
    summary = job.communicate()[1]
    assert job.returncode == 1, summary
    assert f"{3 * BROKEN} failed: Not a supported image" in summary

    rows = read_rows(target)
    assert len(rows) == len({row["input"] for row in rows}) == 3 * IMAGES
    answered, failed = predict(sources, tmp_path / "expected.parquet")
    assert [row for row in rows if not row["error"]] == answered
    assert {row["input"]: row["error"] for row in rows if row["error"]} == failed


def test_bucket_holds_sources_and_answers(cluster, sources):
    files = sorted(sources[0].iterdir())[:100]
    for path in (*files, sources[2]):
        save(f"s3://bucket/in/{path.name}", path.read_bytes())
    target = "s3://bucket/answers.jsonl"
    job = cluster.start("s3://bucket/in", target, stderr=subprocess.PIPE, text=True)
    summary = job.communicate()[1]
    assert job.returncode == 1 and f"{2 * BROKEN} failed: Not a supp" in summary
    rows = dict(row for part in read_parts(target) for row in part)
    names = [f"s3://bucket/in/{path.name}" for path in files]
    assert len(rows) == len(files) + IMAGES and rows.keys() >= set(names)
    assert sum(map(bool, rows.values())) == 2 * BROKEN
    again = cluster.start("s3://bucket/in", target, stderr=subprocess.PIPE, text=True)
    assert "s3://bucket/answers.jsonl has answers" in again.communicate()[1]
    assert again.returncode == 2


PROCESSOR = """
    class Model:
        def __init__(self, device): self.words = ["no", "one"]
        def decode(self, upload): return self.words[len(upload.data)]
        def predict(self, words): return words
        def encode(self, word): return {"word": word}
"""


def test_decode_that_needs_init_is_left_to_the_loaded_model(model_file, monkeypatch):
    ray_data = importlib.import_module("deploy.ray_data")
    monkeypatch.setenv("ENDPOINT_MODULE", model_file(PROCESSOR).stem)
    monkeypatch.setattr(ray_data, "get_app", create_app)
    monkeypatch.setattr(ray_data, "get_object", lambda names: names)
    job = ray_data.Job("/", None, Values(), frozenset(), "")
    upload = Upload(b"1", "text/plain", NoFields())
    sent = ray_data.unpack(ray_data.Decoder(job).submit(upload))
    assert (sent.data, sent.media_type) == (upload.data, upload.media_type)
