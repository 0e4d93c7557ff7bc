"""Where the model looked: a caption's words, each with its map of the picture."""

import math
from itertools import accumulate, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vit_gpt2.layers import Network, attend, split

TILE, LINE = 224, 20  # pixels: a picture on the sheet and the word above it
COLUMNS = 4


class Asked(NamedTuple):
    """A picture (224, 224, 3) whose caption shall be explained."""

    image: np.ndarray


class Explained(NamedTuple):
    caption: str
    words: list[dict[str, Any]]
    image: np.ndarray


def on_request(plain: type) -> type:
    """Let a captioner explain the captions for which one asks, all others as before."""
    return type(plain.__name__, (Explaining, plain), {})


class Explaining:
    """What lies before a captioner's own methods."""

    fields = {"explain": "Anything, to be told where the model looked."}

    def decode(self, upload):
        image = super().decode(upload)
        return Asked(image) if upload.fields.get("explain") else image

    def batch_key(self, image):
        return type(image)

    def predict(self, images):
        if not isinstance(images[0], Asked):
            return super().predict(images)
        images = [asked.image for asked in images]
        explained = explain(self.search, self.tokenizer, images)
        captions = (" ".join(each["word"] for each in words) for words in explained)
        return list(map(Explained, captions, explained, images))

    def encode(self, output):
        if not isinstance(output, Explained):
            return super().encode(output)
        return super().encode(output.caption) | {"words": output.words}

    def draw(self, output):
        return sheet(output) if isinstance(output, Explained) else None


def explain(search, tokenizer, images) -> list[list[dict[str, Any]]]:
    """Return each picture's words, each with a map of 14 x 14 that sums to one."""
    tokens = search(images)
    maps = attention(search.network, images, tokens[:, :-1])
    return [_words(tokenizer, *pair) for pair in zip(tokens[:, 1:].tolist(), maps)]


@torch.inference_mode()
def attention(network: Network, images: list[np.ndarray], tokens: Tensor) -> Tensor:
    """Return the map of the patches behind each next token, (images, n, patches).

    It is the cross-attention at tokens (images, n): the mean over layers and heads,
    without the state that stands for the whole picture, scaled to sum to one.
    """
    device, length = network.words.device, tokens.shape[1]
    shared = network.encode(torch.from_numpy(np.stack(images)).to(device))
    hidden = network.words[tokens.to(device)] + network.places[:length]
    later = hidden.new_full((length, length), -torch.inf).triu(1)
    maps = 0
    for layer, (keys, values) in zip(network.gpt2, shared):
        first, second, third = layer.norms
        parts = split(layer.inward(first(hidden)), 3, layer.heads)
        hidden = hidden + layer.outward(attend(*parts, later))
        queries = split(layer.question(second(hidden)), 1, layer.heads)[0]
        scores = queries * queries.shape[-1] ** -0.5 @ keys.mT
        weights = scores.softmax(-1)  # (images, heads, n, states)
        seen = (weights @ values).transpose(1, 2).flatten(2)
        hidden = hidden + layer.answer(seen)
        hidden = hidden + layer.fall(layer.rise(third(hidden), "tanh"))
        maps = maps + weights[..., 1:].float().mean(1)
    return (maps / maps.sum(-1, keepdim=True)).cpu()


def _words(tokenizer, tokens: list[int], maps: Tensor) -> list[dict[str, Any]]:
    end = tokenizer.eos_token_id
    count = tokens.index(end) if end in tokens else len(tokens)
    pieces = [tokenizer.decode([token]) for token in tokens[:count]]
    # A word is a piece that begins with a space and those without one after it.
    numbers = list(accumulate(piece.startswith(" ") for piece in pieces))
    side = math.isqrt(maps.shape[-1])
    words = []
    for _, group in groupby(range(count), numbers.__getitem__):
        places = list(group)
        word = "".join(pieces[place] for place in places).strip()
        rows = maps[places].mean(0).view(side, side).tolist()
        words.append({"word": word, "map": rows})
    return words


def sheet(explained: Explained) -> Image.Image:
    """Draw the picture once for each word, bright where the model looked."""
    rows = math.ceil(len(explained.words) / COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    picture = Image.fromarray(explained.image).resize((TILE, TILE))
    for number, each in enumerate(explained.words):
        left, top = number % COLUMNS * TILE, number // COLUMNS * (TILE + LINE)
        weights = np.asarray(each["map"]) / np.max(each["map"])
        bright = Image.fromarray((40 + 215 * weights).astype(np.uint8))
        bright = bright.resize((TILE, TILE), Image.Resampling.BICUBIC)
        dark = Image.new("RGB", picture.size)
        sheet.paste(Image.composite(picture, dark, bright), (left, top + LINE))
        pen.text((left + 4, top + 3), each["word"], "black", font_size=14)
    return sheet
