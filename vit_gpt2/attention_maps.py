"""Images to captions with a map for each word: where in the image the model looked."""

import math
from collections.abc import Iterator
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vit_gpt2.beam_search import Captioner, Images
from vit_gpt2.layers import Network, PackedLinear, attention, split_heads

TILE, LINE_HEIGHT = 224, 20  # pixels: an image in the grid, and the word above it
COLUMNS = 4


class Explanation(NamedTuple):
    """An image (size, size, 3) and the words of its caption, each with its map."""

    image: np.ndarray
    words: list[dict[str, Any]]  # {"word": "dog", "map": 14 rows of 14 numbers}

    @property
    def caption(self) -> str:
        return " ".join(each["word"] for each in self.words)


def explain(captioner: Captioner, tokenizer: Any, images: Images) -> list[Explanation]:
    """Caption the images and return where the model looked; a map sums to one."""
    token_ids = captioner(images)
    maps = attention_maps(captioner.network, images, token_ids[:, :-1])
    words = map(_words, [tokenizer] * len(images), token_ids[:, 1:].tolist(), maps)
    return [Explanation(*pair) for pair in zip(images, words)]


@torch.inference_mode()
def attention_maps(network: Network, images: Images, token_ids: Tensor) -> Tensor:
    """Return the cross-attention from each of `token_ids` (images, n) to the patches.

    The result, (images, n, patches), is the mean over layers and heads. It leaves out
    the state of the class token, which belongs to no patch, and sums to one again.
    """
    device, length = network.wte.device, token_ids.shape[1]
    cross_kv = network.encode(torch.from_numpy(np.stack(images)).to(device))
    hidden = network.wte[token_ids.to(device)] + network.wpe[:length]
    causal_mask = hidden.new_full((length, length), -torch.inf).triu(1)

    def attend(c_attn: PackedLinear, hidden: Tensor) -> Tensor:
        q, k, v = split_heads(c_attn(hidden), 3, cross_kv.shape[3])
        return attention(q, k, v, causal_mask)[0]

    total = hidden.new_zeros((), dtype=torch.float32)
    for layer, kv in zip(network.decoder_layers, cross_kv):
        hidden, weights = layer(hidden, attend, kv, need_weights=True)
        assert weights is not None  # They are needed.
        total = total + weights[..., 1:].float().mean(1)  # (images, n, patches)
    return (total / total.sum(-1, keepdim=True)).cpu()


def _words(tokenizer: Any, token_ids: list[int], maps: Tensor) -> list[dict[str, Any]]:
    """Join tokens to words; the map of a word is the mean over its tokens."""
    end = tokenizer.eos_token_id
    count = token_ids.index(end) if end in token_ids else len(token_ids)
    pieces = [tokenizer.decode([token_id]) for token_id in token_ids[:count]]
    size = math.isqrt(maps.shape[-1])  # patches on a side
    words = []
    for positions in _positions_of_words(pieces):
        word = "".join(pieces[position] for position in positions).strip()
        rows = maps[positions].mean(0).view(size, size).tolist()
        words.append({"word": word, "map": rows})
    return words


def _positions_of_words(pieces: list[str]) -> Iterator[list[int]]:
    """Yield the positions of each word's pieces; a word begins with a space."""
    numbers = list(accumulate(piece.startswith(" ") for piece in pieces))
    for _, group in groupby(range(len(pieces)), numbers.__getitem__):
        yield list(group)


def attention_grid(explanation: Explanation) -> Image.Image:
    """Draw the image once for each word, bright where the model looked."""
    image, words = explanation.image, explanation.words
    height = math.ceil(len(words) / COLUMNS) * (TILE + LINE_HEIGHT)
    grid = Image.new("RGB", (COLUMNS * TILE, height), "white")
    pen = ImageDraw.Draw(grid)
    tile = Image.fromarray(image).resize((TILE, TILE))
    black = Image.new("RGB", tile.size)
    for number, each in enumerate(words):
        left = number % COLUMNS * TILE
        top = number // COLUMNS * (TILE + LINE_HEIGHT)
        weights = np.asarray(each["map"]) / np.max(each["map"])
        mask = Image.fromarray((40 + 215 * weights).astype(np.uint8))
        mask = mask.resize((TILE, TILE), Image.Resampling.BICUBIC)
        lit = Image.composite(tile, black, mask)
        grid.paste(lit, (left, top + LINE_HEIGHT))
        pen.text((left + 4, top + 3), each["word"], "black", font_size=14)
    return grid
