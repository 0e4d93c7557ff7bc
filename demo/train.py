"""Trains the small captioner that ships with the repository: `python -m demo.train`.

A ViT and a GPT-2 with cross-attention, the classes and file layout of the real
checkpoint, learn the drawn world of `demo/scenes.py` in about forty minutes on four
cores, or a few on a GPU. It knows that world only: photographs need the real weights.
"""

import argparse
import math
from multiprocessing import Pool
from pathlib import Path
from random import Random

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm import tqdm, trange

from demo.checkpoint import LENGTH, SIDE, WIDTH, make_model, make_tokenizer, save
from demo.scenes import KINDS, PATCHES, TINTS, picture, sample

BATCH = 64  # pictures
PEAK = 1.5e-3  # learning rate after the warm-up, which then falls as a cosine
WARM_UP = 0.03  # of all steps
WHOLE = 0.85  # from this share of the steps on, all patches instead of KEPT
KEPT = 98  # of 196 patches: twice as many steps a minute
NOISE = 0.33  # of the decoder's input tokens, so that it looks instead of guessing
CHECK = 400  # steps between two looks at pictures kept apart
CHECKED = 256  # pictures of either sort

WIDE, HIGH = [(256, 192), (320, 214), (336, 189)], [(192, 256)]  # pixels
SIZES = [(224, 224), (224, 224), (256, 256), *WIDE, *HIGH]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small captioner.")
    parser.add_argument("--steps", type=int, default=7500, help="of 64 pictures")
    parser.add_argument("--pictures", type=int, default=36_000, help="drawn beforehand")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "model")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(options.output)
    seed = f"train {options.seed}"
    data = drawn(options.pictures, seed, False, tokenizer)
    checks = {
        name: drawn(CHECKED, f"{seed} {name}", name == "held out", tokenizer)
        for name in ("seen", "held out")
    }
    model = make_model(tokenizer)
    curves = train(model, data, checks, options.steps, tokenizer)
    save(model, options.output)
    plot(curves, Path(__file__).parent / "training.png")


def drawn(count, seed, held_out, tokenizer) -> list[torch.Tensor]:
    """Pictures (n, 224, 224, 3), kinds and tints (n, 14, 14), tokens (n, 16)."""
    images = torch.empty(count, SIDE, SIDE, 3, dtype=torch.uint8)
    kinds, tints = torch.empty(2, count, PATCHES, PATCHES, dtype=torch.uint8)
    tokens = torch.zeros(count, LENGTH, dtype=torch.int16)
    jobs = ((f"{seed} {index}", held_out) for index in range(count))
    with Pool() as pool:
        shown = pool.imap(draw_one, jobs, chunksize=16)
        for index, row in enumerate(tqdm(shown, f"drawing, {seed}", count)):
            caption, *arrays = row
            for target, array in zip((images, kinds, tints), arrays):
                target[index] = torch.from_numpy(array)
            ids = tokenizer.encode(caption).ids
            tokens[index, 1 : len(ids) + 1] = torch.tensor(ids)
    return [images, kinds, tints, tokens]


def draw_one(job: tuple[str, bool]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """A caption, its picture as the image processor resizes it, kinds and tints."""
    seed, held_out = job
    random = Random(seed)
    shown = picture(sample(random, held_out), random, random.choice(SIZES))
    image = shown.image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    labels = (each.astype(np.uint8) for each in (shown.kinds, shown.tints))
    return shown.scene.caption, np.array(image), *labels


def train(model, data, checks, steps, tokenizer) -> dict[str, list]:
    """Teach captions, and what each patch shows; returns the curves."""
    device = model.device
    # only a teacher: it is never saved
    head = torch.nn.Linear(WIDTH, len(KINDS) + len(TINTS)).to(device)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer, schedule = make_optimizer(parameters, steps)
    words, swap = data[3].unique().to(device), swapped_sides(tokenizer).to(device)
    curves: dict[str, list] = {name: [] for name in ("caption", "patches", *checks)}
    batches = shuffled(len(data[0]))
    for step in (bar := trange(1, steps + 1, desc="training")):
        index = next(batches)
        pictures = varied(*(array[index].to(device) for array in data), swap)
        kept = KEPT if step <= WHOLE * steps else PATCHES**2
        losses = lesson(model, head, *pictures, words, kept)
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        for name, loss in zip(("caption", "patches"), losses):
            curves[name].append(loss.item())
        if step % CHECK == 0 or step == steps:
            shares = {name: accuracy(model, check) for name, check in checks.items()}
            for name, share in shares.items():
                curves[name].append((step, share))
            bar.set_postfix({name: f"{share:.1%}" for name, share in shares.items()})
    return curves


def make_optimizer(parameters, steps: int):
    """AdamW that decays matrices only, and its schedule."""
    matrices = [each for each in parameters if each.ndim > 1]
    others = [each for each in parameters if each.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.05}]
    groups += [{"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, PEAK, betas=(0.9, 0.97))
    by_step = torch.optim.lr_scheduler.LambdaLR
    return optimizer, by_step(optimizer, lambda step: rate(step / steps))


def shuffled(count: int):
    """Batches of indices without end; every picture comes before any comes again."""
    while True:
        yield from torch.randperm(count).split(BATCH)


def rate(done: float) -> float:
    """The learning rate as a share of its peak."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))


def swapped_sides(tokenizer) -> torch.Tensor:
    """For each token, the one that a mirrored picture calls for."""
    swap = torch.arange(tokenizer.get_vocab_size())
    left, right = (tokenizer.encode(f" {side}").ids[0] for side in ("left", "right"))
    swap[left], swap[right] = right, left
    return swap


def varied(images, kinds, tints, tokens, swap):
    """Normalise as the image processor does; mirror, shift and relight at random."""
    count, device = len(images), images.device
    labels = torch.stack([kinds, tints], 1).long()  # (b, 2, 14, 14)
    tokens = tokens.long()
    mirror = torch.rand(count, device=device) < 0.5
    images[mirror] = images[mirror].flip(2)
    labels[mirror] = labels[mirror].flip(3)
    tokens[mirror] = swap[tokens[mirror]]
    rows, columns = (
        (torch.arange(SIDE, device=device) + shift).clamp(0, SIDE - 1)
        for shift in torch.randint(-7, 8, (2,)).tolist()
    )
    images = images[:, rows][:, :, columns]
    gain = 1 + 0.15 * torch.randn(count, 1, 1, 1, device=device).clamp(-2, 2)
    lift = 0.08 * torch.randn(count, 1, 1, 1, device=device)
    tint = 0.03 * torch.randn(count, 3, 1, 1, device=device)
    pixels = images.permute(0, 3, 1, 2).float()  # (b, 3, 224, 224)
    pixels = pixels.mul_(gain / 127.5).add_(lift + tint - gain).clamp_(-1, 1)
    return pixels, tokens, labels.flatten(2)


def lesson(model, head, images, tokens, labels, words, kept: int):
    """The loss of the captions and the loss of the patches, on `kept` patches each."""
    count, device = len(images), images.device
    chosen = torch.rand(count, PATCHES**2, device=device).topk(kept).indices

    def drop(_module, _inputs, output):
        index = torch.cat([chosen.new_zeros(count, 1), chosen + 1], 1)
        return output.gather(1, index[..., None].expand(-1, -1, output.shape[-1]))

    hook = model.encoder.embeddings.register_forward_hook(drop)
    with torch.autocast(device.type, torch.bfloat16):
        states = model.encoder(images).last_hidden_state  # (b, 1 + kept, width)
        inputs, targets = tokens[:, :-1], endings(tokens)
        noisy = torch.rand(inputs.shape, device=device) < NOISE
        noisy[:, 0] = False
        chance = words[torch.randint(len(words), inputs.shape, device=device)]
        logits = decode(model, torch.where(noisy, chance, inputs), states)
        guesses = head(states[:, 1:]).transpose(1, 2)  # (b, kinds + tints, kept)
    hook.remove()
    kinds, tints = labels.gather(2, chosen[:, None].expand(-1, 2, -1)).unbind(1)
    guesses = guesses.float().split([len(KINDS), len(TINTS)], 1)
    patches = F.cross_entropy(guesses[0], kinds) + F.cross_entropy(guesses[1], tints)
    return F.cross_entropy(logits.float().transpose(1, 2), targets), patches


def decode(model, tokens, states) -> torch.Tensor:
    """The decoder's logits, (b, length, vocabulary)."""
    return model.decoder(
        input_ids=tokens, encoder_hidden_states=states, use_cache=False
    ).logits


def endings(tokens: torch.Tensor) -> torch.Tensor:
    """The tokens to say, up to the first end; what follows it does not count."""
    targets = tokens[:, 1:].clone()
    ended = (targets == 0).cumsum(1) > 1
    return targets.masked_fill(ended, -100)


@torch.no_grad()
def accuracy(model, data) -> float:
    """The share of captions of which every token is right, told the ones before it."""
    right = 0
    for images, _, _, tokens in zip(*(array.split(BATCH) for array in data)):
        pixels = images.to(model.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        tokens = tokens.to(model.device).long()
        states = model.encoder(pixels).last_hidden_state
        said = decode(model, tokens[:, :-1], states).argmax(-1)
        targets = endings(tokens)
        right += ((said == targets) | (targets == -100)).all(1).sum().item()
    return right / len(data[0])


def plot(curves: dict[str, list], path: Path) -> None:
    """Loss and exact captions over the steps."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="tight")
    for name in ("caption", "patches"):
        smoothed = np.convolve(curves[name], np.ones(50) / 50, "valid")
        left.plot(smoothed, label=name)
    left.set(xlabel="steps", ylabel="loss, mean of 50 steps", yscale="log")
    for name in ("seen", "held out"):
        right.plot(*zip(*curves[name]), label=f"{name} combinations")
    right.set(xlabel="steps", ylabel="captions right, word for word", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
