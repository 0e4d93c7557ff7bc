"""Trains the small captioner that ships with the repository: `python -m demo.train`.

A ViT and a GPT-2 with cross-attention, the classes and file layout of the real
checkpoint, learn the drawn world of `demo/scenes.py` in about an hour and a half
on four busy cores. It knows that world only: photographs need the real weights.
"""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from tqdm import trange

from demo.batches import Words, drawn, endings, varied
from demo.checkpoint import PATCHES, WIDTH, make_model, make_tokenizer, save
from demo.scenes import KINDS, TINTS

BATCH = 32  # pictures
PEAK = 1.2e-3  # learning rate after the warm-up, which then falls as a cosine
PEAK_INSIDE = 5e-3  # the same for the matrices inside the layers
DECAY = 0.05  # of weights
WARM_UP = 0.03  # of all steps
KEPT = 98  # of 196 patches: twice as many steps a minute
NOISE = 0.33  # of the decoder's input tokens, so that it looks instead of guessing
CHECK = 500  # steps between two looks at pictures kept apart
CHECKED = 256  # pictures of either sort


@dataclass(frozen=True)
class Round:
    """Some steps on pictures of their own, from a warm-up down to a rate of zero."""

    steps: int
    whole: float  # from this share of the steps on, all patches instead of KEPT
    peak: float  # of the learning rates, as a share
    grey: float  # share of pictures without colour, whose colours nobody asks for
    blind: bool  # the decoder is never told the colours that it said
    before: float  # share of the weights before the round in those after it


# the later ones break what the first learns by heart: no cat wears a blue sweater
ROUNDS = [
    Round(steps=10_000, whole=0.85, peak=1.0, grey=0.0, blind=False, before=0.0),
    Round(steps=5_000, whole=0.0, peak=0.5, grey=0.2, blind=True, before=0.0),
    Round(steps=2_600, whole=0.0, peak=0.3, grey=0.2, blind=True, before=0.25),
    Round(steps=6_000, whole=0.0, peak=0.3, grey=0.2, blind=True, before=0.25),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small captioner.")
    parser.add_argument("--pictures", type=int, default=36_000, help="in each round")
    parser.add_argument("--shorter", type=int, default=1, help="divides all steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "model")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(options.output)
    seed = f"train {options.seed}"
    checks = {
        name: drawn(CHECKED, f"{seed} {name}", name == "held out", tokenizer)
        for name in ("seen", "held out")
    }
    model, words = make_model(tokenizer), Words(tokenizer)
    curves: dict[str, list] = {name: [] for name in ("caption", "patches", *checks)}
    for number, each in enumerate(ROUNDS):
        data = drawn(options.pictures, f"{seed} {number}", False, tokenizer)
        steps = each.steps // options.shorter
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        train(model, data, checks, replace(each, steps=steps), words, curves)
        for name, weight in model.state_dict().items():
            weight.lerp_(before[name], each.before)
    save(model, options.output)
    plot(curves, options.output.parent / "training.png")


def train(model, data, checks, plan: Round, words: Words, curves) -> None:
    """One round: teach captions, and what each patch shows; the curves grow."""
    # the head is only a teacher: it is never saved
    head = torch.nn.Linear(WIDTH, 4 * (len(KINDS) + len(TINTS))).to(model.device)
    parameters = [*model.parameters(), *head.parameters()]
    optimizers, schedules = make_optimizers(model, head, plan)
    batches = shuffled(len(data[0]))
    for step in (bar := trange(1, plan.steps + 1, desc="training")):
        index = next(batches)
        pictures = varied(*(array[index] for array in data), words, plan.grey)
        kept = KEPT if step <= plan.whole * plan.steps else PATCHES**2
        losses = lesson(model, head, *pictures, words, kept, plan.blind)
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for each in (*optimizers, *schedules):
            each.step()
        model.zero_grad()
        head.zero_grad()
        for name, loss in zip(("caption", "patches"), losses):
            curves[name].append(loss.item())
        if step % CHECK == 0 or step == plan.steps:
            shares = {name: accuracy(model, check) for name, check in checks.items()}
            for name, share in shares.items():
                curves[name].append((len(curves["caption"]), share))
            bar.set_postfix({name: f"{share:.1%}" for name, share in shares.items()})


def make_optimizers(model, head, plan: Round) -> tuple[list, list]:
    """Muon for the matrices inside the layers, AdamW for all else; their schedules."""
    inside, others, vectors = [], [], []
    for name, each in [*model.named_parameters(), *head.named_parameters()]:
        in_layer = ".layer" in name or ".h." in name
        kind = vectors if each.ndim < 2 else inside if in_layer else others
        kind.append(each)
    groups = [{"params": others, "weight_decay": DECAY}]
    groups += [{"params": vectors, "weight_decay": 0.0}]
    muon = {
        "lr": PEAK_INSIDE * plan.peak,
        "weight_decay": DECAY,
        "adjust_lr_fn": "match_rms_adamw",
    }
    optimizers = [torch.optim.AdamW(groups, PEAK * plan.peak, betas=(0.9, 0.97))]
    optimizers += [torch.optim.Muon(inside, **muon)]
    by_step = torch.optim.lr_scheduler.LambdaLR
    return optimizers, [
        by_step(each, lambda step: rate(step / plan.steps)) for each in optimizers
    ]


def shuffled(count: int):
    """Batches of indices without end; every picture comes before any comes again."""
    while True:
        yield from torch.randperm(count).split(BATCH)


def rate(done: float) -> float:
    """The learning rate as a share of its peak."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))


def lesson(model, head, pixels, tokens, targets, labels, words, kept: int, blind):
    """The loss of the captions and the loss of the patches, on `kept` patches each."""
    device, count, inputs = model.device, len(pixels), tokens[:, :-1]
    chosen = torch.rand(count, PATCHES**2).topk(kept).indices
    noisy = torch.rand(inputs.shape) < NOISE
    noisy |= torch.isin(inputs, words.colours) & blind
    noisy[:, 0] = False
    chance = words.all[torch.randint(len(words.all), inputs.shape)]
    inputs = torch.where(noisy, chance, inputs)
    labels = labels.gather(2, chosen[:, None, :, None].expand(-1, 2, -1, 4))
    seen = torch.cat([chosen.new_zeros(count, 1), chosen + 1], 1)[..., None].to(device)

    def drop(_module, _inputs, output):
        return output.gather(1, seen.expand(-1, -1, output.shape[-1]))

    hook = model.encoder.embeddings.register_forward_hook(drop)
    with torch.autocast(device.type, torch.bfloat16):
        states = model.encoder(pixels.to(device)).last_hidden_state
        logits = decode(model, inputs.to(device), states)  # (b, 15, vocabulary)
        guesses = head(states[:, 1:])
    hook.remove()
    caption = F.cross_entropy(logits.float().transpose(1, 2), targets.to(device))
    return caption, patches_loss(guesses.float(), *labels.to(device).unbind(1))


def patches_loss(guesses, kinds, tints) -> torch.Tensor:
    """How wrong the teacher is about the four cells of each patch, (b, kept, 4)."""
    guesses = guesses.unflatten(2, (4, -1)).permute(0, 3, 1, 2)  # (b, names, kept, 4)
    guesses = guesses.split([len(KINDS), len(TINTS)], 1)
    return F.cross_entropy(guesses[0], kinds) + F.cross_entropy(guesses[1], tints)


def decode(model, tokens, states) -> torch.Tensor:
    """The decoder's logits, (b, length, vocabulary)."""
    return model.decoder(
        input_ids=tokens, encoder_hidden_states=states, use_cache=False
    ).logits


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
