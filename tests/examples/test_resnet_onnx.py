"""The ONNX example: an untrained ResNet, converted and served without torch."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from model_helpers.image import decode_image
from model_interface.files import Upload
from tests.examples.serving import (
    Example,
    assert_batch_equals_singles,
    assert_is_described,
    run_script,
)
from tests.support.images import BULLDOG, make_image

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
models = pytest.importorskip("torchvision.models")

CONVERT = "resnet_onnx.convert"
IMAGE = ("-F", f"image=@{BULLDOG}")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """Return a ResNet that tells images apart, and the converted file."""
    folder = tmp_path_factory.mktemp("resnet")
    torch.manual_seed(0)
    network = models.resnet18(num_classes=7)
    network.fc.weight.data *= 20
    torch.save(network.state_dict(), folder / "resnet.pth")
    weights = ("--weights", folder / "resnet.pth", "--test-image", BULLDOG)
    file = folder / "model.onnx"
    result = run_script(CONVERT, *weights, "--output", file, "--dynamic-batch")
    assert result.returncode == 0, result.stderr
    assert "same classes" in result.stdout
    return network.eval(), file


@pytest.fixture(scope="module")
def served(resnet):
    with Example("resnet_onnx", resnet[1]) as example:
        yield example


@torch.inference_mode()
def test_converted_network_equals_torch(served, resnet):
    network, _ = resnet
    preprocess = import_module("examples.resnet_onnx.preprocess").preprocess
    pixels = preprocess(decode_image(Upload.from_file(BULLDOG)))
    scores = network(torch.from_numpy(pixels)[None]).softmax(1)[0]
    best = served.json(*IMAGE, "/predict")
    assert list(best) == ["class_id", "confidence", "processing_time"]
    assert best["class_id"] == int(scores.argmax())
    assert best["confidence"] == pytest.approx(float(scores.max()), abs=1e-3)
    assert best["processing_time"] > 0
    top = served.json(*IMAGE, "/predict/top?top_k=3")
    assert list(top) == ["predictions", "processing_time"]
    class_ids = [each["class_id"] for each in top["predictions"]]
    assert class_ids == scores.argsort(descending=True)[:3].tolist()
    assert top["predictions"][0] == {key: best[key] for key in list(best)[:2]}


def test_top_returns_five_classes_by_default(served):
    for field in ((), ("-F", "top_k="), ("-F", "top_k=5")):
        top = served.json(*IMAGE, *field, "/predict/top")
        assert len(top["predictions"]) == 5


def test_top_returns_all_classes_if_there_are_fewer(served):
    top = served.json(*IMAGE, "-F", "top_k=8", "/predict/top")
    assert len(top["predictions"]) == 7


@pytest.mark.parametrize("top_k", ("0", "1001", "-1", "2.5", "many", "9" * 5000))
def test_bad_top_k_is_refused(served, top_k):
    answer = served.json(*IMAGE, "-F", f"top_k={top_k}", "/predict/top")
    assert answer["status"] == 400
    assert answer["detail"].startswith("top_k")


def test_top_k_belongs_to_its_route(served):
    answer = served.json(*IMAGE, "-F", "top_k=3", "/predict")
    assert answer["status"] == 400 and "top_k is unknown" in answer["detail"]


def test_other_routes_are_not_found(served):
    assert served.json("-T", BULLDOG, "/predict/bottom")["status"] == 404


def test_both_routes_share_a_batch(monkeypatch, resnet):
    monkeypatch.setenv("ENDPOINT_MODEL", str(resnet[1]))
    model = import_module("examples.resnet_onnx").Model("cpu")
    calls, run = [], model.session.run
    session = type("Session", (), {"run": lambda _, *a: calls.append(1) or run(*a)})
    model.session = session()
    files = [make_image(64, 48), BULLDOG.read_bytes()]
    uploads = [
        Upload(data, fields=fields, route=route)
        for data in files
        for route, fields in (("", None), ("top", model.routes["top"]()))
    ]
    inputs = [model.decode(upload) for upload in uploads]
    answers = [model.encode(output) for output in model.predict(inputs)]
    assert len(calls) == 1
    assert answers[0]["class_id"] == answers[1]["predictions"][0]["class_id"]
    assert answers[2]["class_id"] == answers[3]["predictions"][0]["class_id"]


@pytest.mark.parametrize("route", ("", "/top?top_k=7"))
def test_batch_equals_single_images(served, tmp_path, route):
    random, files = np.random.default_rng(0), [BULLDOG]
    for number in range(4):
        pixels = random.integers(0, 256, (64 + number, 80, 3), np.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(files[-1])
    assert_batch_equals_singles(served, files, route)


def test_image_one_pixel_wide_takes_little_memory(served, tmp_path):
    assert served.refusal(make_image(1, 40_000), tmp_path / "line") == "200"


def test_server_never_loads_torch(served):
    served.json("-T", BULLDOG, "/predict")
    command = ["pgrep", "-P", str(served.process.pid)]
    (worker,) = subprocess.check_output(command, text=True).split()
    libraries = Path(f"/proc/{worker}/maps").read_text()
    assert "onnxruntime" in libraries and "torch" not in libraries


def test_input_is_described(served):
    assert_is_described(served, field="top_k")


def test_network_for_single_images_is_served_too(monkeypatch, resnet, tmp_path):
    weights, file = tmp_path / "one.safetensors", tmp_path / "one.onnx"
    save_file(torch.load(resnet[1].with_name("resnet.pth")), weights)
    result = run_script(CONVERT, "--weights", weights, "--output", file)
    assert result.returncode == 0, result.stderr
    answers = []
    for each in (file, resnet[1]):
        monkeypatch.setenv("ENDPOINT_MODEL", str(each))
        model = import_module("examples.resnet_onnx").Model("cpu")
        (output,) = model.predict([model.decode(model.example)])
        answers.append((model.max_batch, model.encode(output)["class_id"]))
    (one, class_id), (many, expected) = answers
    assert (one, many, class_id) == (1, 32, expected)


def test_files_of_other_networks_are_refused(tmp_path):
    convert = import_module("examples.resnet_onnx.convert")
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save({"network": {}}, tmp_path / "nested.pth")
    for name in ("other.pth", "nested.pth", "nothing.pth", BULLDOG):
        with pytest.raises(SystemExit) as refused:
            convert.load(tmp_path / name)
        assert refused.value.code.endswith(".")


def test_conversion_that_changes_the_answers_is_not_kept(monkeypatch, tmp_path, resnet):
    convert = import_module("examples.resnet_onnx.convert")
    file, weights = tmp_path / "wrong.onnx", resnet[1].with_name("resnet.pth")
    arguments = ["convert", "--weights", str(weights), "--output", str(file)]
    one, other = np.eye(2), np.eye(2)[::-1].copy()
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(convert, "export", lambda _, output, __: output.touch())
    monkeypatch.setattr(convert, "run_both", lambda *_: (one, other))
    with pytest.raises(SystemExit) as refused:
        convert.main()
    assert "differs from torch" in refused.value.code and not file.exists()
