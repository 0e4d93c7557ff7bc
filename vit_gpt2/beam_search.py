"""Images to the tokens of their captions: beam search in fixed shapes.

The tokens are those of transformers' `generate`. But an image's cross-attention keys
are computed once for its beams, none is copied when beams change places, and no step
waits for an answer from the device, so that on CUDA a whole search is one graph.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationConfig, VisionEncoderDecoderModel

from vit_gpt2.layers import Network, normalize

Images = Sequence[np.ndarray]  # uint8, (side, side, 3) each
NEVER = -1e9  # the score of what must lose, as transformers has it
# Settings of `generate` that the search follows, that only sampling reads, and others
# with the value that changes nothing.
FOLLOWED = {"bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id"}
FOLLOWED |= {"early_stopping", "length_penalty", "max_length", "num_beams", "use_cache"}
UNREAD = {"temperature", "top_k", "top_p", "typical_p", "transformers_version"}
NEUTRAL = {"num_beam_groups": 1, "num_return_sequences": 1, "repetition_penalty": 1.0}


def supports(network: nn.Module) -> bool:
    """Tell whether a Captioner can stand in for the network's `generate`."""
    if not isinstance(network, VisionEncoderDecoderModel):
        return False
    vit, gpt2 = network.encoder.config, network.decoder.config
    return (
        (vit.model_type, vit.hidden_act) == ("vit", "gelu")
        and (gpt2.model_type, gpt2.activation_function) == ("gpt2", "gelu_new")
        and gpt2.scale_attn_weights
        and not gpt2.scale_attn_by_inverse_layer_idx
        and follows(network.generation_config)
    )


def follows(settings: GenerationConfig) -> bool:
    """Tell whether nothing is set that would make `generate` choose other tokens."""
    return (
        settings.early_stopping in (None, True, False)
        and isinstance(settings.eos_token_id, int)
        and not any(
            value and value != NEUTRAL.get(name)
            for name, value in settings.to_diff_dict().items()
            if name not in FOLLOWED | UNREAD and not name.startswith("_")
        )
    )


def captioner_for(network: nn.Module, beams: int = 4, length: int = 16, most: int = 32):
    """Return a Captioner or, for a network it cannot take, the same by `generate`."""
    if supports(network):
        return Captioner(network, beams, length, most)
    return partial(generate, network, beams, length)


@torch.inference_mode()
def generate(network: nn.Module, beams: int, length: int, images: Images) -> Tensor:
    """Return tokens (images, at most length) by transformers' own search."""
    pixels = normalize(torch.from_numpy(np.stack(images)).to(network.device))
    outputs = network.encoder(pixels.to(network.dtype))
    ones = torch.ones(outputs[0].shape[:2], dtype=torch.long, device=network.device)
    return network.generate(
        encoder_outputs=outputs,
        # Without masks it warns that it cannot tell padding from the end.
        attention_mask=ones,
        decoder_attention_mask=ones[:, :1],
        max_length=length,
        num_beams=beams,
    )


class Beams:
    """The state of transformers' `_beam_search`, all of it on the device."""

    def __init__(self, images: int, beams: int, length: int, settings, device) -> None:
        self.end, self.early = settings.eos_token_id, settings.early_stopping
        penalty = settings.length_penalty
        self.penalty = 1.0 if penalty is None else penalty
        shape, padding = (images, beams), settings.pad_token_id or self.end
        self.tokens = torch.full((*shape, length), padding, device=device)
        self.tokens[..., 0].fill_(settings.decoder_start_token_id)
        self.scores = torch.full(shape, NEVER, device=device)
        self.hypotheses, self.finals = self.tokens.clone(), self.scores.clone()
        self.scores[:, 0].zero_()  # All begin alike: the first stands for them.
        self.open = torch.ones(images, 1, dtype=torch.bool, device=device)

    def advance(self, logits: Tensor, length: int) -> Tensor:
        """Take logits (images, beams, words), return the new beams' parents."""
        beams, vocabulary = logits.shape[1:]
        scores = F.log_softmax(logits, -1, dtype=torch.float32) + self.scores[..., None]
        # A beam can end in one way only: of twice as many, enough go on.
        scores, chosen = scores.flatten(1).topk(2 * beams)  # (images, 2 * beams)
        parents, words = chosen // vocabulary, chosen % vocabulary
        tokens = pick(self.tokens, parents)  # (images, 2 * beams, length)
        tokens[..., length] = words
        ended = (words == self.end) | (length + 1 == tokens.shape[-1])
        finals = scores / length**self.penalty + ~(ended & self.open) * NEVER
        self.keep(tokens[:, :beams], finals[:, :beams])
        self.scores, alive = (scores + ended * NEVER).topk(beams)
        self.tokens = pick(tokens, alive)
        # transformers' `_check_early_stop_heuristic`: can the best become a hypothesis?
        worst = self.finals.amin(1, keepdim=True)  # NEVER while one is missing
        self.open &= self.scores[:, :1] / length**self.penalty > worst
        if self.early:
            self.open &= worst <= NEVER
        return pick(parents, alive)  # (images, beams)

    def keep(self, tokens: Tensor, finals: Tensor) -> None:
        """Keep the best hypotheses, as `_update_finished_beams` does."""
        finals = torch.cat([self.finals, finals], 1)  # (images, 2 * beams)
        self.finals, best = finals.topk(tokens.shape[1])
        self.hypotheses = pick(torch.cat([self.hypotheses, tokens], 1), best)


def pick(rows: Tensor, indices: Tensor) -> Tensor:
    """Take (images, m, ...) of (images, n, ...) by indices (images, m)."""
    indices = indices.view(*indices.shape, *[1] * (rows.ndim - 2))
    return rows.take_along_dim(indices, 1)


class Captioner:
    """Beam search with a network that `supports` accepts, where it is, as it is."""

    @torch.inference_mode()  # Outside it, weights would remember what they came from.
    def __init__(self, network, beams: int = 4, length: int = 16, most: int = 32):
        if not supports(network):
            raise ValueError("Captioner takes a ViT with a GPT-2 and known settings.")
        self.beams, self.length, self.most = beams, length, most
        self.settings, self.network = network.generation_config, Network(network)
        # Elsewhere the question would wait for the device.
        self.may_stop = network.device.type == "cpu"
        self.graphs = {}  # by images
        if network.device.type == "cuda":
            self.capture(network.encoder.config.image_size, network.device)

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """Return tokens (images, length) of uint8 images (side, side, 3)."""
        if not self.graphs:
            return self.search(torch.from_numpy(np.stack(images)))
        starts = range(0, len(images), self.most)
        return torch.cat([self.replay(images[i : i + self.most]) for i in starts])

    def replay(self, images: Images) -> Tensor:
        """Run the smallest graph that holds them; what else it holds is ignored."""
        count = len(images)
        np.stack(images, out=self.pinned[:count].numpy())
        self.pixels[:count].copy_(self.pinned[:count], non_blocking=True)
        graph, tokens = self.graphs[min(size for size in self.graphs if size >= count)]
        graph.replay()
        return tokens[:count].to("cpu", copy=True)  # waits: the buffers are free again

    def capture(self, side: int, device: torch.device) -> None:
        """Capture the search of `most` images, of half as many, and so on to one.

        They share memory: no two run at once and none reads what another left there
        (pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
        """
        shape = self.most, side, side, 3
        self.pinned = torch.zeros(shape, dtype=torch.uint8).pin_memory()
        self.pixels = self.pinned.to(device)
        torch.cuda.set_device(device)  # for the stream of the capture
        pool = torch.cuda.graph_pool_handle()
        for size in (self.most >> power for power in range(self.most.bit_length())):
            images, graph = self.pixels[:size], torch.cuda.CUDAGraph()
            self.search(images)  # Kernels load at their first use, which must be here.
            # The context waits for that; other threads need not keep from CUDA.
            with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
                self.graphs[size] = graph, self.search(images)

    def search(self, images: Tensor) -> Tensor:
        """Return tokens (images, length) of uint8 images (images, side, side, 3)."""
        shared = self.network.encode(images)
        layers, _, count, heads, _, size = shared.shape
        beams = Beams(count, self.beams, self.length, self.settings, images.device)
        # A key stays in the slot of its step and beam. When beams change places, they
        # take along only which of their image's slots they see.
        slots = self.length * self.beams  # one step more: CUDA wants multiples of 8
        own = shared.new_zeros(layers, 2, count, heads, slots, size)
        seen = shared.new_full((count, self.beams, slots), -torch.inf)
        for step in range(self.length - 1):
            start, stop = step * self.beams, (step + 1) * self.beams
            seen[..., start:stop].diagonal(dim1=1, dim2=2).zero_()
            # Up to the next multiple of four steps, because a CPU keeps kernels for
            # every length: they took 250 MB more.
            stop = (step // 4 + 1) * 4 * self.beams
            state = seen[:, None, :, :stop], own[..., :stop, :], shared
            logits = self.network.step(beams.tokens[..., step], step, *state)
            seen = pick(seen, beams.advance(logits, step + 1))
            if self.may_stop and not beams.open.any():
                break
        return beams.hypotheses[:, 0]
