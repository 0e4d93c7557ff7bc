"""Drawn scenes to the bundled model, by training it: `python -m demo.train`.

The model is a ViT and a GPT-2 with cross-attention, with the classes and the files of
the real checkpoint. Training takes about an hour and a half on four cores. The model
knows only the drawn world of `demo/scenes.py`: photographs need the real weights.
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

from demo.batches import IGNORED, Vocabulary, augmented, draw_data, next_tokens
from demo.checkpoint import PATCHES, WIDTH, make_model, make_tokenizer, save
from demo.scenes import CELL_COLOURS, CLASSES

BATCH = 32  # images
PEAK = 1.2e-3  # learning rate after the warm-up; it then falls like a cosine
MUON_PEAK = 5e-3  # the same for the matrices inside the layers
WEIGHT_DECAY = 0.05
WARM_UP = 0.03  # share of the steps
KEPT_PATCHES = 98  # of 196: this doubles the number of steps in the same time
# Share of the decoder's input tokens that are replaced at random. With right tokens
# only, the decoder would guess the next word from the last ones and not look.
TOKEN_NOISE = 0.33
CHECK_EVERY = 500  # steps
CHECK_COUNT = 256  # images of each kind: seen and held out


@dataclass(frozen=True)
class Round:
    """A part of the training with its own images and its own learning rate schedule."""

    steps: int
    peak: float  # factor of both learning rates
    all_patches_from: float = 0.0  # share of the steps with KEPT_PATCHES only
    grey: float = 0.2  # share of grey images, whose colours are no targets
    hide_colours: bool = True  # replace all colour words in the decoder's input
    average: float = 0.25  # share of the earlier weights in those after the round


# The later rounds undo what the first one learns by heart, such as that no cat wears a
# blue sweater.
ROUNDS = [
    Round(10_000, 1.0, all_patches_from=0.85, grey=0, hide_colours=False, average=0),
    Round(5_000, 0.5, average=0),
    Round(2_600, 0.3),
    Round(6_000, 0.3),
]


def main() -> None:
    options = parse()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(options.output)
    seed = f"train {options.seed}"
    checks = {
        name: draw_data(CHECK_COUNT, f"{seed} {name}", name == "held out", tokenizer)
        for name in ("seen", "held out")
    }
    model, vocabulary = make_model(tokenizer), Vocabulary(tokenizer)
    curves: dict[str, list] = {name: [] for name in ("caption", "patches", *checks)}
    for number, plan in enumerate(ROUNDS):
        data = draw_data(options.images, f"{seed} {number}", False, tokenizer)
        plan = replace(plan, steps=plan.steps // options.shorter)
        earlier = {name: weight.clone() for name, weight in model.state_dict().items()}
        train(model, data, checks, plan, vocabulary, curves)
        for name, weight in model.state_dict().items():
            weight.lerp_(earlier[name], plan.average)
    save(model, options.output)
    plot(curves, options.output.parent / "training.png")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the bundled model.")
    parser.add_argument("--images", type=int, default=36_000, help="in each round")
    parser.add_argument("--shorter", type=int, default=1, help="divide all steps by it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "model")
    return parser.parse_args()


def train(model, data, checks, plan: Round, vocabulary: Vocabulary, curves) -> None:
    """Train for one round and append the losses and accuracies to the curves.

    A linear head also learns what each patch shows, which teaches the encoder. It is
    not saved.
    """
    head = torch.nn.Linear(WIDTH, 4 * (len(CLASSES) + len(CELL_COLOURS)))
    head = head.to(model.device)
    optimizers, schedules = make_optimizers(model, head, plan)
    batches = shuffled(len(data[0]))
    for step in (bar := trange(1, plan.steps + 1, desc="training")):
        index = next(batches)
        batch = augmented(*(array[index] for array in data), vocabulary, plan.grey)
        few = step <= plan.all_patches_from * plan.steps
        kept = KEPT_PATCHES if few else PATCHES**2
        losses = batch_losses(model, head, *batch, vocabulary, kept, plan.hide_colours)
        update(model, head, losses, optimizers + schedules)
        for name, loss in zip(("caption", "patches"), losses):
            curves[name].append(loss.item())
        if step % CHECK_EVERY == 0 or step == plan.steps:
            shares = {name: accuracy(model, check) for name, check in checks.items()}
            for name, share in shares.items():
                curves[name].append((len(curves["caption"]), share))
            bar.set_postfix({name: f"{share:.1%}" for name, share in shares.items()})


def update(model, head, losses, optimizers_and_schedules: list) -> None:
    sum(losses).backward()
    parameters = [*model.parameters(), *head.parameters()]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for each in optimizers_and_schedules:
        each.step()
    model.zero_grad()
    head.zero_grad()


def make_optimizers(model, head, plan: Round) -> tuple[list, list]:
    """Return Muon for the matrices inside the layers and AdamW for the rest."""
    inside, others, vectors = [], [], []
    for name, each in [*model.named_parameters(), *head.named_parameters()]:
        in_layer = ".layer" in name or ".h." in name
        group = vectors if each.ndim < 2 else inside if in_layer else others
        group.append(each)
    groups = [{"params": others, "weight_decay": WEIGHT_DECAY}]
    groups += [{"params": vectors, "weight_decay": 0.0}]
    muon = {
        "lr": MUON_PEAK * plan.peak,
        "weight_decay": WEIGHT_DECAY,
        "adjust_lr_fn": "match_rms_adamw",
    }
    optimizers = [torch.optim.AdamW(groups, PEAK * plan.peak, betas=(0.9, 0.97))]
    optimizers += [torch.optim.Muon(inside, **muon)]
    by_step = torch.optim.lr_scheduler.LambdaLR
    return optimizers, [
        by_step(each, lambda step: rate(step / plan.steps)) for each in optimizers
    ]


def shuffled(count: int):
    """Yield batches of indices without end; each epoch has all of them once."""
    while True:
        yield from torch.randperm(count).split(BATCH)


def rate(progress: float) -> float:
    """Return the learning rate as a share of its peak."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))


def batch_losses(model, head, pixels, tokens, targets, labels, vocabulary, kept, hide):
    """Return the loss of the captions and the loss of the patches.

    The encoder sees `kept` patches of each image. With `hide`, random tokens replace
    the colour words in the decoder's input.
    """
    device, count = model.device, len(pixels)
    chosen = torch.rand(count, PATCHES**2).topk(kept).indices
    inputs = noisy(tokens[:, :-1], vocabulary, hide).to(device)
    labels = labels.gather(2, chosen[:, None, :, None].expand(-1, 2, -1, 4))
    states = torch.cat([chosen.new_zeros(count, 1), chosen + 1], 1)  # 0 is for [CLS]
    states = states[..., None].to(device)

    def keep(_module, _inputs, output):
        return output.gather(1, states.expand(-1, -1, output.shape[-1]))

    hook = model.encoder.embeddings.register_forward_hook(keep)
    with torch.autocast(device.type, torch.bfloat16):
        encoded = model.encoder(pixels.to(device)).last_hidden_state
        logits = decode(model, inputs, encoded)  # (b, 15, vocabulary)
        guesses = head(encoded[:, 1:])
    hook.remove()
    caption = F.cross_entropy(logits.float().transpose(1, 2), targets.to(device))
    return caption, patches_loss(guesses.float(), *labels.to(device).unbind(1))


def noisy(tokens, vocabulary: Vocabulary, hide_colours: bool) -> torch.Tensor:
    """Replace tokens at random, but not the first one."""
    replaced = torch.rand(tokens.shape) < TOKEN_NOISE
    replaced |= torch.isin(tokens, vocabulary.colours) & hide_colours
    replaced[:, 0] = False
    random = vocabulary.all[torch.randint(len(vocabulary.all), tokens.shape)]
    return torch.where(replaced, random, tokens)


def patches_loss(guesses, classes, colours) -> torch.Tensor:
    """Return the loss of the head for the four cells of each patch, (b, kept, 4)."""
    guesses = guesses.unflatten(2, (4, -1)).permute(0, 3, 1, 2)  # (b, names, kept, 4)
    guesses = guesses.split([len(CLASSES), len(CELL_COLOURS)], 1)
    return F.cross_entropy(guesses[0], classes) + F.cross_entropy(guesses[1], colours)


def decode(model, tokens, states) -> torch.Tensor:
    """Return the decoder's logits, (b, length, vocabulary)."""
    return model.decoder(
        input_ids=tokens, encoder_hidden_states=states, use_cache=False
    ).logits


@torch.no_grad()
def accuracy(model, data) -> float:
    """Return the share of captions whose every next token is predicted right."""
    right = 0
    for images, _, _, tokens in zip(*(array.split(BATCH) for array in data)):
        pixels = images.to(model.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        tokens = tokens.to(model.device).long()
        states = model.encoder(pixels).last_hidden_state
        predicted = decode(model, tokens[:, :-1], states).argmax(-1)
        targets = next_tokens(tokens)
        right += ((predicted == targets) | (targets == IGNORED)).all(1).sum().item()
    return right / len(data[0])


def plot(curves: dict[str, list], path: Path) -> None:
    """Draw the losses and the accuracies by step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="tight")
    for name in ("caption", "patches"):
        smoothed = np.convolve(curves[name], np.ones(50) / 50, "valid")
        left.plot(smoothed, label=name)
    left.set(xlabel="steps", ylabel="loss, mean of 50 steps", yscale="log")
    for name in ("seen", "held out"):
        right.plot(*zip(*curves[name]), label=f"{name} combinations")
    right.set(xlabel="steps", ylabel="exact-match captions", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
