"""What the search is compared with: transformers' own `generate`."""

import pytest
import torch
from torch.nn.functional import pad


def gpu_problem() -> str:
    """Return why no values can be computed on a GPU here, or ""."""
    if not torch.cuda.is_available():
        return "there is no GPU"
    computes = torch.ones(3, device="cuda").sum().item() == 3
    return "" if computes else "the GPU is a stub, which computes no values"


SKIP_GPU = pytest.mark.skipif(bool(gpu_problem()), reason=gpu_problem())
DEVICES = ["cpu", pytest.param("cuda", marks=SKIP_GPU)]
MAX_LENGTH = 16
START, END, PADDING = 3, 29, 5  # tokens of the small random network


@torch.inference_mode()
def generate(network, images, num_beams=4):
    """Return transformers' tokens (images, MAX_LENGTH)."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    ones = torch.ones(len(images), 197, dtype=torch.long, device=network.device)
    tokens = network.generate(
        pixels.to(network.device, network.dtype),
        attention_mask=ones,
        decoder_attention_mask=ones[:, :1],
        max_length=MAX_LENGTH,
        num_beams=num_beams,
    ).cpu()
    padding = network.generation_config.pad_token_id
    return pad(tokens, (0, MAX_LENGTH - tokens.shape[1]), value=padding)
