"""Drawn scenes to tensors for training: images, maps of their cells and tokens.

The shapes use these names: b images, 28 cells a side, 196 patches of four cells each,
16 tokens.
"""

from multiprocessing import Pool
from random import Random

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from demo.checkpoint import LENGTH, PATCHES, SIDE
from demo.colours import COLOURS
from demo.scenes import CELLS, draw_with_maps, every_caption, sample

IGNORED = -100  # a target that cross_entropy skips
LANDSCAPE, PORTRAIT = [(256, 192), (320, 214), (336, 189)], [(192, 256)]  # pixels
SIZES = [(224, 224), (224, 224), (256, 256), *LANDSCAPE, *PORTRAIT]


def draw_data(count, seed, held_out, tokenizer) -> list[torch.Tensor]:
    """Return images (n, 224, 224, 3), two maps (n, 28, 28) and tokens (n, 16)."""
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    class_maps, colour_maps = np.empty((2, count, CELLS, CELLS), np.uint8)
    tokens = np.zeros((count, LENGTH), np.int16)
    jobs = ((f"{seed} {index}", held_out) for index in range(count))
    with Pool() as pool:
        drawings = pool.imap(draw_one, jobs, chunksize=16)
        for index, (caption, *arrays) in enumerate(tqdm(drawings, seed, count)):
            images[index], class_maps[index], colour_maps[index] = arrays
            ids = tokenizer.encode(caption).ids
            tokens[index, 1 : len(ids) + 1] = ids
    arrays = images, class_maps, colour_maps, tokens
    return [torch.from_numpy(each) for each in arrays]


def draw_one(job: tuple[str, bool]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """Return a caption, its image as the model's input size, and the two maps."""
    seed, held_out = job
    random = Random(seed)
    scene = sample(random, held_out)
    drawing = draw_with_maps(scene, random, random.choice(SIZES))
    image = drawing.image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    maps = (drawing.class_map, drawing.colour_map)
    return scene.caption, np.array(image), *(each.astype(np.uint8) for each in maps)


class Vocabulary:
    """The tokens of all captions, those of colours, and the tokens after mirroring."""

    def __init__(self, tokenizer) -> None:
        used = {
            token for text in every_caption() for token in tokenizer.encode(text).ids
        }
        colours = [tokenizer.encode(f" {name}").ids[0] for name in COLOURS]
        left, right = (
            tokenizer.encode(f" {side}").ids[0] for side in ("left", "right")
        )
        self.all = torch.tensor(sorted(used))
        self.colours = torch.tensor(colours)
        self.mirrored = torch.arange(tokenizer.get_vocab_size())
        self.mirrored[left], self.mirrored[right] = right, left


def augmented(images, class_maps, colour_maps, tokens, vocabulary, grey: float):
    """Mirror, shift and relight images at random; normalise as for the model.

    `grey` is the share of images that lose their colour; their colours are no targets.
    Returns pixels (b, 3, 224, 224), tokens (b, 16), targets (b, 15) and the labels of
    the cells in each patch (b, 2, 196, 4).
    """
    count = len(images)
    labels = torch.stack([class_maps, colour_maps], 1).long()  # (b, 2, 28, 28)
    tokens = tokens.long()
    mirror = torch.rand(count) < 0.5
    images[mirror] = images[mirror].flip(2)
    labels[mirror] = labels[mirror].flip(3)
    tokens[mirror] = vocabulary.mirrored[tokens[mirror]]
    shifts = torch.randint(-1, 2, (2,)).tolist()  # in cells
    rows, columns = (shifted(CELLS, shift) for shift in shifts)
    labels = labels[:, :, rows][..., columns]
    rows, columns = (shifted(SIDE, shift * SIDE // CELLS) for shift in shifts)
    pixels = relit(images[:, rows][:, :, columns])
    targets, colourless = next_tokens(tokens), torch.rand(count) < grey
    pixels[colourless] = pixels[colourless].mean(1, keepdim=True)
    labels[colourless, 1] = IGNORED
    colours = torch.isin(targets, vocabulary.colours)
    targets[colourless[:, None] & colours] = IGNORED
    return pixels, tokens, targets, by_patch(labels)


def relit(images: torch.Tensor) -> torch.Tensor:
    """Turn bytes (b, 224, 224, 3) into pixels (b, 3, 224, 224) in random light."""
    count = len(images)
    gain = 1 + 0.15 * torch.randn(count, 1, 1, 1).clamp(-2, 2)
    lift = 0.08 * torch.randn(count, 1, 1, 1)
    tint = 0.03 * torch.randn(count, 3, 1, 1)
    pixels = images.permute(0, 3, 1, 2).float()
    return pixels.mul_(gain / 127.5).add_(lift + tint - gain).clamp_(-1, 1)


def shifted(count: int, shift: int) -> torch.Tensor:
    """Return indices (count,) that shift a row and repeat its last element."""
    return (torch.arange(count) + shift).clamp(0, count - 1)


def by_patch(labels: torch.Tensor) -> torch.Tensor:
    """Group cells (b, 2, 28, 28) by patch: (b, 2, 196, 4)."""
    labels = labels.unflatten(3, (PATCHES, -1)).unflatten(2, (PATCHES, -1))
    return labels.transpose(3, 4).flatten(4).flatten(2, 3)


def next_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """Return the targets (b, 15) of tokens (b, 16); those after the end are ignored."""
    targets = tokens[:, 1:].clone()
    ended = (targets == 0).cumsum(1) > 1
    return targets.masked_fill(ended, IGNORED)
