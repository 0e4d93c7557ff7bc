"""`flask bake` with small checkpoints, and with the bundled model."""

import io
import json
import zipfile
from random import Random

import pytest

from model_interface.files import Upload

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint like the hub's, with a head that repeats the embeddings."""
    from tests.support.random_checkpoint import SMALL, write

    folder = tmp_path_factory.mktemp("hub") / "checkpoint"
    write(folder, **SMALL)
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    tensors["decoder.lm_head.weight"] = tensors["decoder.transformer.wte.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder


def write_checkpoint(folder, **tensors):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"torch_dtype": "float32"}')
    safetensors.save_file(tensors, folder / "model.safetensors")
    return folder


def test_baked_folder_holds_each_weight_once_and_no_pickle(flask, checkpoint, tmp_path):
    status, output, _ = flask("bake", tmp_path / "baked", "--model", checkpoint)
    assert (status, output.count("bfloat16")) == (0, 1)
    files = {file.name for file in (tmp_path / "baked").iterdir()}
    kept = {file.name for file in checkpoint.iterdir()} - {"pytorch_model.bin"}
    assert files == kept | {"model.safetensors", "origin"}
    assert (tmp_path / "baked" / "origin").read_text() == "checkpoint\n"
    tensors = safetensors.load_file(tmp_path / "baked" / "model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.bfloat16"}
    assert not any(name.endswith((".attn.bias", "masked_bias")) for name in tensors)
    assert "decoder.lm_head.weight" not in tensors
    assert "decoder.transformer.h.0.attn.c_attn.bias" in tensors


def test_baked_files_are_readable_by_everybody(flask, checkpoint, tmp_path):
    flask("bake", tmp_path / "baked", "--model", checkpoint)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "baked").iterdir()}
    assert modes == {0o644} and (tmp_path / "baked").stat().st_mode & 0o777 == 0o755


def test_all_files_but_other_weights_are_copied(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    copied = {
        "chat_template.jinja",
        "merges.txt",
        "vocab.bpe",
        "tokenizer.model",
        "source.spm",
        "modeling.py",
        "remote/code.py",
        "chat_template.json",
        "modules.json",
        "1_Pooling/config.json",
        "additional_chat_templates/tools.jinja",
    }
    left = {
        "pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "model.safetensors.index.json",
        "onnx/model.onnx",
        "openvino/openvino_model.bin",
        "checkpoint-500/model.safetensors",
        ".cache/lock",
    }
    for name in copied | left:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    (source / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    assert flask("bake", tmp_path / "baked", "--model", source)[0] == 0
    paths = (tmp_path / "baked").rglob("*")
    files = {str(path.relative_to(tmp_path / "baked")) for path in paths}
    folders = {"1_Pooling", "additional_chat_templates", "remote", "onnx", "openvino"}
    assert files == copied | folders | {"config.json", "model.safetensors", "origin"}


def test_weights_of_a_part_in_a_subfolder_are_baked_too(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    part = write_checkpoint(source / "2_Dense", linear=torch.ones(3))
    (part / "config.json").write_text('{"in_features": 3}')
    flask("bake", tmp_path / "baked", "--model", source, "--dtype", "float16")
    baked = tmp_path / "baked" / "2_Dense"
    linear = safetensors.load_file(baked / "model.safetensors")["linear"]
    assert (linear.tolist(), linear.dtype) == ([1, 1, 1], torch.float16)
    assert json.loads((baked / "config.json").read_text()) == {"in_features": 3}
    config = json.loads((tmp_path / "baked" / "config.json").read_text())
    assert config == {"torch_dtype": "float16"}


def test_folder_of_timm_is_baked(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    config = '{"architecture": "resnet18", "num_classes": 2}'
    (source / "config.json").write_text(config)
    assert flask("bake", tmp_path / "baked", "--model", source)[0] == 0
    assert (tmp_path / "baked" / "config.json").read_text() == config
    tensors = safetensors.load_file(tmp_path / "baked" / "model.safetensors")
    assert tensors["weight"].dtype == torch.bfloat16


def test_weights_without_config_are_baked_under_their_name(flask, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    weights = {"weight": torch.ones(2)}
    safetensors.save_file(weights, source / "open_clip_model.safetensors")
    (source / "open_clip_config.json").write_text("{}")
    assert flask("bake", tmp_path / "baked", "--model", source)[0] == 0
    files = {file.name for file in (tmp_path / "baked").iterdir()}
    names = {"open_clip_config.json", "open_clip_model.safetensors", "origin"}
    assert files == names
    assert (tmp_path / "baked" / "origin").read_text() == "source\n"


def test_folder_of_sentence_transformers_is_baked(flask, tmp_path):
    source = tmp_path / "source"
    part = source / "0_StaticEmbedding"
    part.mkdir(parents=True)
    safetensors.save_file({"embedding": torch.ones(2)}, part / "model.safetensors")
    (part / "tokenizer.json").write_text("{}")
    (source / "modules.json").write_text("[]")
    assert flask("bake", tmp_path / "baked", "--model", source)[0] == 0
    baked = tmp_path / "baked" / "0_StaticEmbedding"
    assert (baked / "tokenizer.json").is_file()
    tensors = safetensors.load_file(baked / "model.safetensors")
    assert tensors["embedding"].dtype == torch.bfloat16


def test_single_shard_gets_the_name_that_needs_no_index(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    shard = "model-00001-of-00001.safetensors"
    (source / "model.safetensors").rename(source / shard)
    index = json.dumps({"weight_map": {"weight": shard}})
    (source / "model.safetensors.index.json").write_text(index)
    assert flask("bake", tmp_path / "baked", "--model", source)[0] == 0
    [file] = (tmp_path / "baked").glob("*.safetensors")
    assert file.name == "model.safetensors"


def test_weights_of_several_files_become_one(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    safetensors.save_file({"second": torch.arange(2)}, source / "more.safetensors")
    flask("bake", tmp_path / "baked", "--model", source)
    [file] = (tmp_path / "baked").glob("*.safetensors")
    tensors = safetensors.load_file(file)
    assert tensors.keys() == {"weight", "second"}
    assert tensors["second"].dtype == torch.int64


def test_weights_that_share_memory_can_be_baked_in_their_own_type(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    (source / "model.safetensors").unlink()
    shared = torch.ones(2)
    torch.save({"one": shared, "other": shared}, source / "pytorch_model.bin")
    options = "--model", source, "--dtype", "float32"
    assert flask("bake", tmp_path / "baked", *options)[0] == 0


@pytest.mark.attack(6)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_are_not_finite_are_refused(flask, tmp_path, value):
    bad = {name: torch.tensor([1, value]) for name in "abcde"}
    source = write_checkpoint(tmp_path / "source", good=torch.ones(2), **bad)
    options = "--model", source, "--dtype", "float16"
    status, _, errors = flask("bake", tmp_path / "to" / "baked", *options)
    sentence = "has weights that are not finite in float16: a, b, c and 2 more."
    assert status == 1 and sentence in errors
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.attack(6)
def test_missing_weights_are_refused(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    index = {"weight_map": {"weight": "model.safetensors", "b": "second.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    status, *output = flask("bake", tmp_path / "to" / "baked", "--model", source)
    assert status == 1 and "second.safetensors is missing" in "".join(output)
    assert not (tmp_path / "to").exists()


def test_failed_baking_leaves_nothing(flask, tmp_path):
    bad = write_checkpoint(tmp_path / "bad", weight=torch.ones(2))
    (bad / "model.safetensors").unlink()
    with zipfile.ZipFile(bad / "pytorch_model.bin", "w") as file:
        file.writestr("none", "")
    status, _, errors = flask("bake", tmp_path / "to" / "baked", "--model", bad)
    assert status == 1 and "pytorch_model.bin cannot be read as weights" in errors
    assert list((tmp_path / "to").iterdir()) == []


def test_folder_can_be_baked_into_itself(flask, tmp_path):
    source = write_checkpoint(tmp_path / "source", weight=torch.ones(2))
    assert flask("bake", source / "baked", "--model", source)[0] == 0
    files = sorted(path.name for path in (source / "baked").iterdir())
    assert files == ["config.json", "model.safetensors", "origin"]


def test_folder_with_files_is_not_overwritten(flask, folder):
    status, _, errors = flask("bake", folder, "--model", "demo")
    assert status == 1 and "is not empty" in errors


def test_model_file_that_names_no_model_needs_the_option(flask, tmp_path):
    status, _, errors = flask("bake", tmp_path / "baked")
    assert status == 1 and "names no model itself: name one with --model." in errors


def test_baked_bundled_model_gives_the_same_captions(flask, tmp_path, monkeypatch):
    from demo.scenes import draw, sample
    from endpoint.model import Model

    captions, random = [], Random(1)
    files = [io.BytesIO() for _ in range(8)]
    for file in files:
        draw(sample(random), random).save(file, "PNG")
    assert flask("bake", tmp_path / "baked", "--model", "demo")[0] == 0
    for name in ("demo", tmp_path / "baked"):
        monkeypatch.setenv("ENDPOINT_MODEL", str(name))
        model = Model("cpu")
        images = [model.decode(Upload(file.getvalue())) for file in files]
        captions.append(model.predict(images))
        assert model.name == "demo"
    assert captions[0] == captions[1] and len(set(captions[0])) > 4
