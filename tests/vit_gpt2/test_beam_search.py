"""The beam search gives the same tokens as transformers' `generate`."""

import copy
from random import Random

import numpy as np
import pytest
import torch
from transformers import VisionEncoderDecoderModel

from demo.scenes import draw, sample
from model_helpers.weights import BUNDLED
from tests.support import random_checkpoint
from tests.vit_gpt2.reference import DEVICES, END, MAX_LENGTH, generate
from vit_gpt2 import beam_search, layers
from vit_gpt2.beam_search import Captioner, build_captioner, supports

load = VisionEncoderDecoderModel.from_pretrained


@pytest.fixture(scope="module")
def scenes():
    randoms = [Random(f"decoding {index}") for index in range(40)]
    return np.stack([np.asarray(draw(sample(random), random)) for random in randoms])


@pytest.fixture(scope="module")
def bundled():
    if not (BUNDLED / "config.json").is_file():
        pytest.skip("The bundled model is not there.")
    return load(BUNDLED, dtype=torch.float32).eval()


def caption_in_batches(captioner, images, size):
    starts = range(0, len(images), size)
    return torch.cat([captioner(images[start : start + size]) for start in starts])


def lengths(tokens):
    """Return the different lengths of captions, up to their end token."""
    ends = tokens[:, 1:] == END
    return {int(row.int().argmax()) if row.any() else MAX_LENGTH for row in ends}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("num_beams", [1, 2, 4, 8])
def test_tokens_equal_generate_in_batches_of_any_size(
    network, images, num_beams, device
):
    network = copy.deepcopy(network).to(device)
    expected = generate(network, images, num_beams)
    captioner = Captioner(network, num_beams)
    assert len(lengths(expected)) > 2
    for size in (1, 3, 8, 33):
        assert torch.equal(caption_in_batches(captioner, images, size), expected)


@pytest.fixture
def gpu_operators(monkeypatch):
    """Choose the operators of a GPU, on the CPU."""
    for module in (layers, beam_search):
        monkeypatch.setattr(module, "is_on_gpu", lambda tensor: True)
    monkeypatch.setattr(layers, "has_onednn_linear", lambda: False)


@pytest.mark.parametrize("num_beams", [1, 2, 4, 8])
def test_operators_of_a_gpu_give_the_same_tokens(
    network, images, bundled, scenes, num_beams, gpu_operators
):
    for model, inputs in ((network, images), (bundled, scenes)):
        expected = generate(model, inputs, num_beams)
        captioner = Captioner(model, num_beams)
        for size in (1, 8, 33):
            tokens = caption_in_batches(captioner, inputs, size)
            assert torch.equal(tokens, expected)


def test_tokens_do_not_depend_on_the_other_images_of_a_batch(network, images):
    order = torch.randperm(33)
    captioner = Captioner(network)
    assert torch.equal(captioner(images[order.numpy()]), captioner(images)[order])


@pytest.mark.parametrize("num_beams", [1, 2, 4, 8])
@pytest.mark.parametrize(
    "options",
    [
        {"length_penalty": 0.0},
        {"length_penalty": 2.0},
        {"length_penalty": -1.0},
        {"early_stopping": True},
        {"early_stopping": True, "length_penalty": 3.0},
        {"eos_token_id": 11, "decoder_start_token_id": 11},
    ],
    ids=str,
)
def test_supported_options_have_the_same_effect(network, images, num_beams, options):
    network = copy.deepcopy(network)
    network.generation_config.update(**options)
    expected = generate(network, images, num_beams)
    assert torch.equal(Captioner(network, num_beams)(images), expected)


def test_projection_between_encoder_and_decoder_is_applied(network, images):
    network = copy.deepcopy(network)
    network.enc_to_dec_proj = torch.nn.Linear(32, 32)
    captioner = Captioner(network)
    assert not torch.equal(captioner(images), generate(network, images))
    with torch.no_grad():  # `generate` has none here; let it change nothing
        network.enc_to_dec_proj.weight.copy_(torch.eye(32))
        network.enc_to_dec_proj.bias.zero_()
    assert torch.equal(captioner(images), generate(network, images))


@pytest.mark.parametrize("num_beams", [1, 4])
def test_layout_of_the_real_checkpoint_is_supported(tmp_path, images, num_beams):
    random_checkpoint.write(tmp_path, **random_checkpoint.SMALL)
    network = load(tmp_path, dtype=torch.float32).eval()
    expected = generate(network, images[:8], num_beams)
    assert torch.equal(Captioner(network, num_beams)(images[:8]), expected)


@pytest.mark.parametrize("num_beams", [1, 2, 4, 8])
def test_tokens_of_the_bundled_model_equal_generate(bundled, scenes, num_beams):
    captioner = Captioner(bundled, num_beams)
    expected = generate(bundled, scenes, num_beams)
    assert len({int((row != 0).sum()) for row in expected}) > 3
    for size in (1, 8, 33):
        assert torch.equal(caption_in_batches(captioner, scenes, size), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_hardly_changes_the_tokens_of_the_bundled_model(
    bundled, scenes, device
):
    if device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU cannot multiply bfloat16")
    network = copy.deepcopy(bundled).to(device, torch.bfloat16)
    tokens, expected = Captioner(network)(scenes), generate(bundled, scenes)
    assert (tokens == expected).all(1).sum() >= 39  # of 40


def test_search_never_reads_a_value_from_the_device(network):
    """Tensors on the device "meta" have shapes but no values: reading one fails."""
    captioner = Captioner(copy.deepcopy(network).to("meta"))
    images = torch.empty(3, 224, 224, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        assert captioner.search(images).shape == (3, MAX_LENGTH)


def test_steps_after_the_end_of_all_captions_change_nothing(network, images):
    captioner = Captioner(network)
    calls, step = [], captioner.network.step
    captioner.network.step = lambda *inputs: calls.append(inputs) or step(*inputs)
    early = caption_in_batches(captioner, images, 1)
    assert len(calls) < 33 * (MAX_LENGTH - 1)
    captioner.can_exit_early = False  # as on a GPU
    assert torch.equal(captioner(images), early)


class FakeGraph:
    """Stands for a CUDA graph: `replay` runs the search again."""

    def __init__(self, captioner, size):
        self.search, self.pixels = captioner.search, captioner.pixels[:size]
        self.tokens = torch.full((size, MAX_LENGTH), -1)

    def replay(self):
        self.tokens.copy_(self.search(self.pixels))


@pytest.fixture
def captured(network, monkeypatch):
    """Return a function that makes a Captioner with graphs of some sizes up to 8."""
    torch.manual_seed(0)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    for name in ("set_device", "graph_pool_handle", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)

    def make(sizes):
        captioner = Captioner(network, max_batch=8)

        def capture_size(size, pool):
            if size not in sizes:
                raise torch.OutOfMemoryError("CUDA out of memory.\nmore lines")
            graph = FakeGraph(captioner, size)
            return graph, graph.tokens

        captioner.capture_size = capture_size
        captioner.capture(image_size=224)
        captioner.pixels.fill_(9)  # rows that no image has been copied to
        return captioner

    return make


@pytest.mark.parametrize("count", [1, 3, 8, 33])
@pytest.mark.parametrize("sizes", [[8, 4, 2, 1], [4, 2], [8], []], ids=str)
def test_batches_of_any_size_fit_the_captured_graphs(
    captured, network, images, sizes, count
):
    captioner = captured(sizes)
    assert list(captioner.graphs) == sizes
    assert torch.equal(captioner(images[:count]), generate(network, images[:count]))


def test_size_that_cannot_be_captured_is_logged_and_shown(captured, caplog):
    assert captured([8, 2, 1]).details == "CUDA graphs for 8, 2, 1 images"
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["No CUDA graph for 4 images: CUDA out of memory."]
    assert captured([]).details == "No CUDA graph"


@pytest.mark.parametrize(
    "options",
    [
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.2},
        {"do_sample": True},
        {"max_new_tokens": 5},
        {"early_stopping": "never"},
        {"eos_token_id": [1, 2]},
    ],
    ids=str,
)
def test_other_options_are_refused(network, options):
    network = copy.deepcopy(network)
    network.generation_config.update(**options)
    assert not supports(network)
    with pytest.raises(ValueError, match="ViT with a GPT-2"):
        Captioner(network)


def test_unsupported_network_is_run_by_generate(network, images):
    network = copy.deepcopy(network)
    network.generation_config.no_repeat_ngram_size = 1
    tokens = build_captioner(network, num_beams=2)(images)
    expected = generate(network, images, num_beams=2)
    assert torch.equal(tokens, expected[:, : tokens.shape[1]])


def test_options_without_effect_are_accepted(network):
    network = copy.deepcopy(network)
    network.generation_config.update(
        **{"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0},
        **{"no_repeat_ngram_size": 0, "min_length": 0, "repetition_penalty": 1.0},
        **{"num_return_sequences": 1, "early_stopping": False, "length_penalty": 1.0},
    )
    assert supports(network)


@pytest.mark.parametrize("name", ["activation_function", "model_type"])
def test_other_architectures_are_refused(network, name):
    network = copy.deepcopy(network)
    setattr(network.decoder.config, name, "another")
    assert not supports(network)
    assert not supports(network.decoder)
