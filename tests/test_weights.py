"""A name to a folder, and the sentences where there is none."""

import pytest

from endpoint import weights

PINNED = ("someone/captions", "0123456789" * 4)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache, and a hub that refuses connections."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    return tmp_path / "hub"


def test_demo_is_the_bundled_model(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "demo")
    assert weights.find(*PINNED) == ("demo", None, weights.BUNDLED)


def test_folder_is_taken_as_it_is(monkeypatch, folder):
    monkeypatch.setenv("ENDPOINT_MODEL", str(folder))
    assert weights.find(*PINNED) == (str(folder), None, folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_folder_that_lacks_a_file_is_refused_by_name(monkeypatch, folder, missing):
    monkeypatch.setenv("ENDPOINT_MODEL", str(folder))
    (folder / missing).unlink()
    with pytest.raises(weights.Unavailable, match=f"has no .*{missing[-6:]}"):
        weights.find(*PINNED)


def test_folder_that_is_not_there_is_not_taken_for_a_name(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "./nowhere")
    with pytest.raises(weights.Unavailable, match="There is no folder nowhere"):
        weights.find(*PINNED)


def test_pinned_revision_is_found_in_the_cache(monkeypatch, hub):
    monkeypatch.delenv("ENDPOINT_MODEL", raising=False)
    snapshot = hub / "models--someone--captions" / "snapshots" / PINNED[1]
    snapshot.mkdir(parents=True)
    for name in ("config.json", "pytorch_model.bin"):
        (snapshot / name).write_text("{}")
    assert weights.find(*PINNED) == (*PINNED, snapshot)


def test_unreachable_hub_is_one_sentence_with_the_way_out(monkeypatch, hub):
    monkeypatch.setenv("ENDPOINT_MODEL", "someone/else@main")
    with pytest.raises(weights.Unavailable) as refusal:
        weights.find(*PINNED)
    sentence = str(refusal.value)
    assert "someone/else" in sentence and "\n" not in sentence
    assert "ENDPOINT_MODEL" in sentence and "demo" in sentence


def test_pins_are_read_without_importing_the_model():
    from endpoint import model

    source = weights.Path(model.__file__)
    assert weights._pinned(source) == (model.CHECKPOINT, model.REVISION)
