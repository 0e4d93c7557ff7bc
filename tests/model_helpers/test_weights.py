"""A model's name to a folder, and sentences for failures."""

import json
import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from model_helpers import weights
from model_helpers.weights import ModelUnavailable, resolve

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
    """Return a folder with a model, which ENDPOINT_MODEL names."""
    monkeypatch.setenv("ENDPOINT_MODEL", str(tmp_path))
    return fill(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return an empty cache, beside a hub that refuses connections."""
    from huggingface_hub import constants

    monkeypatch.delenv("ENDPOINT_MODEL", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


class Hub(BaseHTTPRequestHandler):
    """The few URLs of the hub that a download needs."""

    files = FILES

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.partition("?")[0].partition(f"/resolve/{PINNED[1]}/")[2]
        data = self.files.get(name)
        if "/api/" in self.path:
            siblings = [{"rfilename": name} for name in self.files]
            info = {"id": PINNED[0], "sha": PINNED[1], "siblings": siblings}
            tree = [
                {"type": "file", "path": x, "oid": x, "size": 4} for x in self.files
            ]
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
    """Return an empty cache, beside a hub that has the model."""
    from huggingface_hub import constants

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        path = template[template.index("/{") :]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + path)
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


def refusal() -> str:
    """Return the sentence with which the pinned model is refused."""
    with pytest.raises(ModelUnavailable) as refused:
        resolve(*PINNED)
    sentence = str(refused.value)
    assert "\n" not in sentence and sentence.endswith(weights.HINT)
    return sentence


def test_folder_is_used_as_it_is(folder):
    assert resolve(*PINNED) == (folder.name, None, folder)


@pytest.mark.parametrize("path", ["pets", "./pets/", "..//pets/../pets", "~/pets"])
def test_folder_is_named_by_its_last_part(monkeypatch, tmp_path, path):
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path / "pets")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other" if path.startswith("..") else tmp_path)
    monkeypatch.setenv("ENDPOINT_MODEL", path)
    name, revision, folder = resolve(*PINNED)
    assert (name, revision) == ("pets", None) and folder.samefile(tmp_path / "pets")


def test_baked_folder_has_the_name_of_its_origin(folder):
    (folder / weights.ORIGIN).write_text("someone/captions@abc\n")
    assert resolve(*PINNED) == ("someone/captions", "abc", folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_folder_without_a_necessary_file_is_refused(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match=f"has no .*{missing[-6:]}"):
        resolve(*PINNED)


def test_folder_above_the_model_is_refused_with_the_right_one(monkeypatch, tmp_path):
    below = fill_cache(tmp_path)
    for above in (below.parent, below.parent.parent):
        monkeypatch.setenv("ENDPOINT_MODEL", str(above))
        assert f"in {above} itself but in {below}" in refusal()


@pytest.mark.parametrize(
    "data", [SAFE[:-1], SAFE[:20], b"version https://git-lfs", b""]
)
def test_truncated_weights_are_refused(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    assert "model.safetensors is truncated or a Git LFS pointer" in refusal()


def test_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "second.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "second.safetensors is missing" in refusal()


def test_weights_saved_by_torch_are_accepted(folder):
    torch = pytest.importorskip("torch")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    for zipped in (True, False):
        torch.save({"a": torch.ones(9)}, file, _use_new_zipfile_serialization=zipped)
        assert resolve(*PINNED).folder == folder
    file.write_bytes(b"PK" + file.read_bytes()[2:])
    assert "pytorch_model.bin is truncated" in refusal()


def test_missing_folder_is_not_taken_for_a_name(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "./nowhere")
    assert "There is no folder nowhere" in refusal()


def test_pinned_revision_is_found_in_the_cache_without_the_hub(hub):
    snapshot = fill_cache(hub)
    assert resolve(*PINNED) == (*PINNED, snapshot)


def test_extra_caches_are_searched_after_the_first(hub, tmp_path, monkeypatch):
    extra = (str(tmp_path / "runpod"), str(tmp_path / "workspace"))
    monkeypatch.setattr(weights, "EXTRA_CACHES", extra)
    for cache in (*reversed(extra), hub):
        snapshot = fill_cache(Path(cache))
        assert resolve(*PINNED).folder == snapshot


def test_another_revision_in_a_cache_is_not_used(hub):
    fill_cache(hub).rename(hub / "models--someone--captions" / "snapshots" / "other")
    assert "is not on this machine" in refusal()


def test_unreachable_hub_is_one_sentence_with_a_hint(hub, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else@main")
    sentence = refusal()
    assert "someone/else" in sentence
    assert "ENDPOINT_MODEL" in sentence and "demo" in sentence


def test_partial_download_is_refused_without_the_hub(hub):
    fill_cache(hub, FILES | {"model.safetensors": SAFE[:-2]})
    assert "model.safetensors is truncated" in refusal()


def test_model_is_downloaded_once(full_hub):
    checkpoint = resolve(*PINNED)
    assert checkpoint.folder.is_relative_to(full_hub)
    assert (checkpoint.folder / "model.safetensors").read_bytes() == SAFE
    assert resolve(*PINNED) == checkpoint


# What each library reads beside the weights, and weights of parts of a model.
NEEDED = (
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/a.jinja"),
    *("tokenizer.json", "vocab.txt", "merges.txt", "vocab.bpe", "bpe.codes"),
    *("tokenizer.model", "spiece.model", "source.spm", "qwen.tiktoken"),
    *("modeling_remote.py", "remote/code.py", "open_clip_config.json"),
    *("modules.json", "1_Pooling/config.json", "2_Dense/config.json"),
    *("2_Dense/pytorch_model.bin", "3_Dense/model.safetensors"),
)
NOT_NEEDED = (
    *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot"),
    *("onnx/model.onnx", "openvino/openvino_model.bin", "image.png", "README.md"),
)


def test_all_but_other_weights_is_downloaded(full_hub, monkeypatch):
    files = FILES | dict.fromkeys((*NEEDED, *NOT_NEEDED), b"data")
    monkeypatch.setattr(Hub, "files", files)
    folder = resolve(*PINNED).folder
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in paths}
    assert names == {*FILES, *NEEDED}


def test_revision_of_another_model_is_not_the_pinned_one(full_hub, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else")
    assert resolve(*PINNED)[:2] == ("someone/else", "main")


def test_another_model_is_downloaded_after_one_from_the_cache(full_hub, monkeypatch):
    fill_cache(full_hub)
    resolve(*PINNED)
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else")
    assert resolve(*PINNED).name == "someone/else"


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_full_disk_is_reported(full_hub, monkeypatch):
    full_hub.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", full_hub]
    if os.geteuid() or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip("only root can mount a small disk")
    try:
        monkeypatch.setattr(Hub, "files", FILES | {"model.safetensors": bytes(200_000)})
        assert "No space left" in refusal()
    finally:
        subprocess.check_call(["umount", full_hub])


ODD_NAMES = [
    "@",
    "@b",
    "a/b/c",
    "-",
    "a b",
    "é",
    "x" * 999,
    "~/" + "x" * 300,
    "..",
    "~",
]


@pytest.mark.parametrize("name", [*ODD_NAMES, "/", "/dev/null", "a\u202eb", "demo@x"])
def test_odd_name_of_a_model_is_a_sentence(monkeypatch, name):
    monkeypatch.setenv("ENDPOINT_MODEL", name)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SystemExit) as end:
        weights.resolve("owner/default", "main")
    assert end.value.code == 3 or "\n" not in str(end.value)
    assert end.value.code == 3 or str(end.value).endswith(weights.HINT)
