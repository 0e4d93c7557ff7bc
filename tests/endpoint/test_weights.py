"""A name to a folder, and the sentences where there is none."""

import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from endpoint import weights

PINNED = ("someone/captions", "0123456789" * 4)
TENSORS = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
SAFE = len(TENSORS).to_bytes(8, "little") + TENSORS + b"1234"
FILES = {"config.json": b"{}", "model.safetensors": SAFE}


def fill(folder, files=FILES):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def fill_cache(cache, files=FILES):
    return fill(cache / "models--someone--captions" / "snapshots" / PINNED[1], files)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", str(tmp_path))
    return fill(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and a hub that refuses connections."""
    from huggingface_hub import constants

    monkeypatch.delenv("ENDPOINT_MODEL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


class Hub(BaseHTTPRequestHandler):
    """The few addresses of the hub that a download asks."""

    files = FILES

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.partition("?")[0].rpartition("/")[2]
        data = self.files.get(name)
        if "/api/" in self.path:
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": PINNED[0], "sha": PINNED[1], "siblings": siblings}
            tree = [{"type": "file", "path": x, "oid": x, "size": 4} for x in FILES]
            data = json.dumps(tree if "/tree/" in self.path else info).encode()
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("ETag", f'"{name}"')
        self.send_header("X-Repo-Commit", PINNED[1])
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def full_hub(hub, monkeypatch):
    """A hub that has the model."""
    from huggingface_hub import constants

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        path = template[template.index("/{") :]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + path)
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


def refusal() -> str:
    with pytest.raises(weights.Unavailable) as refused:
        weights.find(*PINNED)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_demo_is_the_bundled_model(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "demo")
    assert weights.find(*PINNED) == ("demo", None, weights.BUNDLED)


def test_folder_is_taken_as_it_is(folder):
    assert weights.find(*PINNED) == (str(folder), None, folder)


def test_baked_folder_tells_what_it_came_from(folder):
    (folder / weights.ORIGIN).write_text("someone/captions@abc\n")
    assert weights.find(*PINNED) == ("someone/captions", "abc", folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_folder_that_lacks_a_file_is_refused_by_name(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(weights.Unavailable, match=f"has no .*{missing[-6:]}"):
        weights.find(*PINNED)


def test_folder_above_the_model_is_refused_with_the_right_one(monkeypatch, tmp_path):
    below = fill_cache(tmp_path)
    for above in (below.parent, below.parent.parent):
        monkeypatch.setenv("ENDPOINT_MODEL", str(above))
        assert f"name {below}" in refusal()


@pytest.mark.parametrize(
    "data", [SAFE[:-1], SAFE[:20], b"version https://git-lfs", b""]
)
def test_weights_that_are_cut_off_are_refused(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    assert "model.safetensors is cut off" in refusal()


def test_shard_that_is_missing_is_named(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "second.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "second.safetensors is missing" in refusal()


def test_weights_as_torch_saves_them_are_whole(folder):
    torch = pytest.importorskip("torch")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    for zipped in (True, False):
        torch.save({"a": torch.ones(9)}, file, _use_new_zipfile_serialization=zipped)
        assert weights.find(*PINNED).folder == folder
    file.write_bytes(b"PK" + file.read_bytes()[2:])
    assert "pytorch_model.bin is cut off" in refusal()


def test_folder_that_is_not_there_is_not_taken_for_a_name(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "./nowhere")
    assert "There is no folder nowhere" in refusal()


def test_pinned_revision_is_found_in_the_cache_without_the_hub(hub):
    from huggingface_hub import is_offline_mode

    snapshot = fill_cache(hub)
    assert weights.find(*PINNED) == (*PINNED, snapshot)
    assert os.environ["HF_HUB_OFFLINE"] == "1" and is_offline_mode()


def test_volumes_are_searched_after_the_cache(hub, tmp_path, monkeypatch):
    volumes = (str(tmp_path / "runpod"), str(tmp_path / "workspace"))
    monkeypatch.setattr(weights, "VOLUMES", volumes)
    for cache in (*reversed(volumes), hub):
        snapshot = fill_cache(weights.Path(cache))
        assert weights.find(*PINNED).folder == snapshot


def test_another_revision_in_a_cache_is_not_taken(hub):
    fill_cache(hub).rename(hub / "models--someone--captions" / "snapshots" / "other")
    assert "is not on this machine" in refusal()


def test_unreachable_hub_is_one_sentence_with_the_way_out(hub, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else@main")
    sentence = refusal()
    assert "someone/else" in sentence
    assert "ENDPOINT_MODEL" in sentence and "demo" in sentence


def test_partial_download_without_the_hub_is_told(hub):
    fill_cache(hub, FILES | {"model.safetensors": SAFE[:-2]})
    assert "is partial, model.safetensors is cut off" in refusal()


def test_model_is_downloaded_once_and_then_found(full_hub):
    checkpoint = weights.find(*PINNED)
    assert checkpoint.folder.is_relative_to(full_hub)
    assert (checkpoint.folder / "model.safetensors").read_bytes() == SAFE
    assert weights.find(*PINNED) == checkpoint


def test_download_follows_a_model_that_was_found(full_hub, monkeypatch):
    fill_cache(full_hub)
    weights.find(*PINNED)
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else")
    assert weights.find(*PINNED).name == "someone/else"


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_full_disk_is_told(full_hub, monkeypatch):
    full_hub.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full_hub]
    if os.geteuid() or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip("a small disk can be mounted by root only")
    try:
        monkeypatch.setattr(Hub, "files", FILES | {"model.safetensors": bytes(200_000)})
        assert "The disk is full" in refusal()
    finally:
        subprocess.check_call(["umount", full_hub])


def test_pins_are_read_without_importing_the_model():
    from endpoint import model

    source = weights.Path(model.__file__)
    assert weights.pinned(source) == (model.CHECKPOINT, model.REVISION)
