"""Drawn scenes as tensors: pictures, what their cells show, the tokens to say."""

from multiprocessing import Pool
from random import Random

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from demo.checkpoint import LENGTH, PATCHES, SIDE
from demo.painting import COLOURS
from demo.scenes import CELLS, every_caption, picture, sample

WIDE, HIGH = [(256, 192), (320, 214), (336, 189)], [(192, 256)]  # pixels
SIZES = [(224, 224), (224, 224), (256, 256), *WIDE, *HIGH]


def drawn(count, seed, held_out, tokenizer) -> list[torch.Tensor]:
    """Pictures (n, 224, 224, 3), kinds and tints (n, 28, 28), tokens (n, 16)."""
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    kinds, tints = np.empty((2, count, CELLS, CELLS), np.uint8)
    tokens = np.zeros((count, LENGTH), np.int16)
    jobs = ((f"{seed} {index}", held_out) for index in range(count))
    with Pool() as pool:
        shown = pool.imap(draw_one, jobs, chunksize=16)
        for index, (caption, *arrays) in enumerate(tqdm(shown, seed, count)):
            images[index], kinds[index], tints[index] = arrays
            ids = tokenizer.encode(caption).ids
            tokens[index, 1 : len(ids) + 1] = ids
    return [torch.from_numpy(each) for each in (images, kinds, tints, tokens)]


def draw_one(job: tuple[str, bool]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """A caption, its picture as the image processor resizes it, kinds and tints."""
    seed, held_out = job
    random = Random(seed)
    shown = picture(sample(random, held_out), random, random.choice(SIZES))
    image = shown.image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    labels = (each.astype(np.uint8) for each in (shown.kinds, shown.tints))
    return shown.scene.caption, np.array(image), *labels


class Words:
    """The tokens that captions are made of, and what mirrors and grey do to them."""

    def __init__(self, tokenizer) -> None:
        said = {
            token for text in every_caption() for token in tokenizer.encode(text).ids
        }
        colours = [tokenizer.encode(f" {name}").ids[0] for name in COLOURS]
        left, right = (
            tokenizer.encode(f" {side}").ids[0] for side in ("left", "right")
        )
        self.all = torch.tensor(sorted(said))
        self.colours = torch.tensor(colours)
        self.mirrored = torch.arange(tokenizer.get_vocab_size())
        self.mirrored[left], self.mirrored[right] = right, left


def varied(images, kinds, tints, tokens, words: Words, grey: float):
    """Normalise as the image processor does; mirror, shift and relight at random.

    Gives pixels (b, 3, 224, 224), tokens and those to say (b, 16 and 15), labels.
    """
    count = len(images)
    labels = torch.stack([kinds, tints], 1).long()  # (b, 2, 28, 28)
    tokens = tokens.long()
    mirror = torch.rand(count) < 0.5
    images[mirror] = images[mirror].flip(2)
    labels[mirror] = labels[mirror].flip(3)
    tokens[mirror] = words.mirrored[tokens[mirror]]
    shifts = torch.randint(-1, 2, (2,)).tolist()  # of whole cells
    rows, columns = (shifted(CELLS, shift) for shift in shifts)
    labels = labels[:, :, rows][..., columns]
    rows, columns = (shifted(SIDE, shift * SIDE // CELLS) for shift in shifts)
    pixels = relit(images[:, rows][:, :, columns])
    targets, colourless = endings(tokens), torch.rand(count) < grey
    pixels[colourless] = pixels[colourless].mean(1, keepdim=True)
    labels[colourless, 1] = -100
    targets[colourless[:, None] & torch.isin(targets, words.colours)] = -100
    return pixels, tokens, targets, by_patch(labels)


def relit(images: torch.Tensor) -> torch.Tensor:
    """Bytes (b, 224, 224, 3) to pixels (b, 3, 224, 224) in -1..1, in another light."""
    count = len(images)
    gain = 1 + 0.15 * torch.randn(count, 1, 1, 1).clamp(-2, 2)
    lift = 0.08 * torch.randn(count, 1, 1, 1)
    tint = 0.03 * torch.randn(count, 3, 1, 1)
    pixels = images.permute(0, 3, 1, 2).float()
    return pixels.mul_(gain / 127.5).add_(lift + tint - gain).clamp_(-1, 1)


def shifted(count: int, shift: int) -> torch.Tensor:
    """Indices that move a row, its last element repeated, (count,)."""
    return (torch.arange(count) + shift).clamp(0, count - 1)


def by_patch(labels: torch.Tensor) -> torch.Tensor:
    """Cells (b, 2, 28, 28) to the four of each patch, (b, 2, 196, 4)."""
    labels = labels.unflatten(3, (PATCHES, -1)).unflatten(2, (PATCHES, -1))
    return labels.transpose(3, 4).flatten(4).flatten(2, 3)


def endings(tokens: torch.Tensor) -> torch.Tensor:
    """The tokens to say, up to the first end; what follows it does not count."""
    targets = tokens[:, 1:].clone()
    ended = (targets == 0).cumsum(1) > 1
    return targets.masked_fill(ended, -100)
