"""What the search is compared with: transformers' own `generate`."""

import pytest
import torch
from torch.nn.functional import pad

from tests.support.gpu import NEEDS_GPU

DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_GPU)]
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
