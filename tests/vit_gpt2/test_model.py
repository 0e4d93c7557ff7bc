"""The captioner gives what transformers' own classes give, on a random checkpoint."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, VisionEncoderDecoderModel

from endpoint.model import Model
from model_interface.files import Upload
from tests.support import random_checkpoint
from tests.support.images import make_image
from tests.support.server import Server


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A narrow checkpoint with the layout of the real one."""
    folder = tmp_path_factory.mktemp("checkpoint")
    random_checkpoint.write(folder, **random_checkpoint.SMALL)
    return folder


@pytest.fixture
def model(folder, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", str(folder))
    # With random weights many tokens are almost equally likely: bfloat16 changes them.
    monkeypatch.setattr("endpoint.model.fast_dtype", lambda device: torch.float32)
    return Model("cpu")


def noise(seed: int, width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3))
    image = Image.fromarray(pixels.astype(np.uint8))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def as_png(image: Image.Image) -> Upload:
    file = io.BytesIO()
    image.save(file, "PNG")
    return Upload(file.getvalue())


def test_checkpoint_has_the_layout_of_the_real_one(folder):
    names = {file.name for file in folder.iterdir()}
    assert names == {
        *("config.json", "preprocessor_config.json", "pytorch_model.bin"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("vocab.json", "merges.txt"),
    }
    vocabulary = AutoTokenizer.from_pretrained(folder)
    assert len(vocabulary) == random_checkpoint.VOCABULARY


def test_real_layout_loads_without_a_message(model, caplog, capfd):
    Model("cpu")  # `model` has set ENDPOINT_MODEL
    assert caplog.text == "" and capfd.readouterr() == ("", "")


def test_captions_equal_those_of_generate(folder, model):
    images = [noise(seed, 320, 240) for seed in range(3)]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    network = VisionEncoderDecoderModel.from_pretrained(folder).eval()
    tokens = network.generate(
        processor(images=images, return_tensors="pt").pixel_values,
        max_length=16,
        num_beams=4,
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    captions = tokenizer.batch_decode(tokens, skip_special_tokens=True)
    inputs = [model.decode(as_png(image)) for image in images]
    assert model.predict(inputs) == [caption.strip() for caption in captions]


def test_pixels_equal_those_of_the_image_processor(folder, model):
    image = noise(0, 640, 427)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    expected = processor(images=image, return_tensors="np").pixel_values[0]
    pixels = model.decode(as_png(image)).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(pixels - expected).max() < 1e-5


def test_batch_equals_its_images_one_by_one(model):
    inputs = [model.decode(as_png(noise(seed, 200, 300))) for seed in range(5)]
    assert model.predict(inputs) == [model.predict([image])[0] for image in inputs]


def test_answer_is_a_caption(model):
    assert model.encode("a dog") == {"caption": "a dog"}


def test_real_layout_is_served_without_a_warning(folder, tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(make_image())
    with Server("gunicorn", ENDPOINT_MODEL=folder) as server:
        server.wait_for(200)
        caption = server.curl("-F", f"file=@{file}", "/")
        log = server.log.lower()
    assert len(caption.split()) >= 1
    for word in ("unexpected", "mask", "deprecat", "error"):
        assert word not in log
    assert log.count("warning") == log.count("no gpu")
