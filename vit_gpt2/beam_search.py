"""Images to the tokens of their captions: beam search whose shapes never change.

It returns the same tokens as transformers' `generate` and is faster for three reasons:
- The cross-attention keys and values of an image are computed once for all its beams.
- On a CPU, keys and values stay where they are when beams are reordered.
- No step waits for a result from the device, so that CUDA can capture the whole search
  as one graph, of few kernels.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, VisionEncoderDecoderModel

from vit_gpt2.layers import (
    VOCABULARY_MULTIPLE,
    Network,
    PackedLinear,
    attention,
    is_on_gpu,
    normalize,
    split_heads,
)

log = logging.getLogger(__name__)

Images = Sequence[np.ndarray]  # uint8, (size, size, 3) each
NEG_INF = -1e9  # transformers' score for a beam that must not be chosen
# Options of `generate`: those that Captioner supports, those that only sampling reads,
# and those that change nothing at the value given here.
SUPPORTED = {"bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id"}
SUPPORTED |= {"early_stopping", "length_penalty", "max_length", "num_beams"}
IGNORED = {"temperature", "top_k", "top_p", "typical_p", "transformers_version"}
NOOP_DEFAULTS = {
    "num_beam_groups": 1,
    "num_return_sequences": 1,
    "repetition_penalty": 1.0,
    "use_cache": True,
}


def supports(network: Any) -> bool:
    """Return whether a Captioner gives the same tokens as the network's `generate`."""
    if not isinstance(network, VisionEncoderDecoderModel):
        return False
    vit, gpt2 = network.encoder.config, network.decoder.config
    return (
        (vit.model_type, vit.hidden_act) == ("vit", "gelu")
        and (gpt2.model_type, gpt2.activation_function) == ("gpt2", "gelu_new")
        and gpt2.scale_attn_weights
        and not gpt2.scale_attn_by_inverse_layer_idx
        and supports_options(network.generation_config)
    )


def supports_options(config: GenerationConfig) -> bool:
    """Return whether no option would make `generate` choose other tokens."""
    return (
        config.early_stopping in (None, True, False)
        and isinstance(config.eos_token_id, int)
        and not any(
            value and value != NOOP_DEFAULTS.get(name)
            for name, value in config.to_diff_dict().items()
            if name not in SUPPORTED | IGNORED and not name.startswith("_")
        )
    )


def build_captioner(
    network: Any, num_beams: int = 4, max_length: int = 16, max_batch: int = 32
) -> "Captioner | Generator":
    """Return a Captioner, or a Generator if the network is unsupported."""
    if supports(network):
        return Captioner(network, num_beams, max_length, max_batch)
    return Generator(network, num_beams, max_length)


class Generator:
    """transformers' own beam search, for any network."""

    details = "transformers' generate"

    def __init__(self, network: Any, num_beams: int, max_length: int) -> None:
        self.network, self.num_beams, self.max_length = network, num_beams, max_length

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """Map images to tokens (images, at most max_length)."""
        network = self.network
        pixels = normalize(torch.from_numpy(np.stack(images)).to(network.device))
        outputs = network.encoder(pixels.to(network.dtype))
        ones = torch.ones(outputs[0].shape[:2], dtype=torch.long, device=network.device)
        tokens: Tensor = network.generate(
            encoder_outputs=outputs,
            # Without masks, transformers warns that padding and end are the same token.
            attention_mask=ones,
            decoder_attention_mask=ones[:, :1],
            max_length=self.max_length,
            num_beams=self.num_beams,
        )
        return tokens


class Beams:
    """The state of transformers' `_beam_search`, whose names and steps it keeps."""

    def __init__(
        self,
        images: int,
        num_beams: int,
        max_length: int,
        config: GenerationConfig,
        device: torch.device,
    ) -> None:
        self.num_beams, self.max_length = num_beams, max_length
        self.eos_token_id: int = config.eos_token_id
        self.early_stopping = bool(config.early_stopping)
        penalty = config.length_penalty
        self.length_penalty: float = 1.0 if penalty is None else penalty
        size = (images, num_beams, max_length)
        padding = config.pad_token_id or self.eos_token_id
        self.running_sequences = torch.full(size, padding, device=device)
        self.running_sequences[..., 0].fill_(config.decoder_start_token_id)
        self.running_beam_scores = torch.full(size[:2], NEG_INF, device=device)
        self.sequences = self.running_sequences.clone()  # the best finished ones
        self.beam_scores = self.running_beam_scores.clone()
        # All beams start alike, so only the first may be continued.
        self.running_beam_scores[:, 0].zero_()
        # False once no running sequence of an image can beat its finished ones.
        self.can_improve = torch.ones(images, 1, dtype=torch.bool, device=device)

    def step(self, logits: Tensor, length: int) -> Tensor:
        """Add a token to each beam; return which beam each of them continues.

        `logits` is (images, beams, vocabulary), the result (images, beams). `length` is
        the number of tokens that the beams have.
        """
        log_probs, parents, token_ids = self.best_continuations(logits)
        sequences = gather_beams(self.running_sequences, parents)
        sequences[..., length] = token_ids
        is_finished = token_ids == self.eos_token_id
        if length + 1 == self.max_length:
            is_finished.fill_(True)
        scores = log_probs / length**self.length_penalty
        self.update_finished(sequences, scores, is_finished)
        # `_get_running_beams_for_next_iteration`
        running_log_probs = torch.add(log_probs, is_finished, alpha=NEG_INF)
        self.running_beam_scores, kept = running_log_probs.topk(self.num_beams)
        self.running_sequences = gather_beams(sequences, kept)
        self.check_early_stop(length)
        return parents.gather(1, kept)

    def best_continuations(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log probabilities, parents and tokens, each (images, 2 * beams).

        This is `_get_top_k_continuations`. A beam has one continuation that ends it, so
        that at least half of these go on. They are among the best of each beam.
        """
        count = 2 * self.num_beams
        best = best_tokens(logits, count)
        log_probs = F.log_softmax(logits, -1, dtype=torch.float32).gather(-1, best)
        log_probs = log_probs + self.running_beam_scores[..., None]
        log_probs, indices = log_probs.flatten(1).topk(count)
        return log_probs, indices // count, best.flatten(1).gather(1, indices)

    def update_finished(
        self, sequences: Tensor, scores: Tensor, is_finished: Tensor
    ) -> None:
        """Keep the best finished sequences, as `_update_finished_beams` does."""
        cannot_finish = ~(is_finished & self.can_improve)
        scores = torch.add(scores, cannot_finish, alpha=NEG_INF)
        scores = torch.cat([self.beam_scores, scores[:, : self.num_beams]], 1)
        sequences = torch.cat([self.sequences, sequences[:, : self.num_beams]], 1)
        self.beam_scores, best = scores.topk(self.num_beams)
        self.sequences = gather_beams(sequences, best)

    def check_early_stop(self, length: int) -> None:
        """Update `can_improve`, as `_check_early_stop_heuristic` does."""
        best_running = self.running_beam_scores[:, :1] / length**self.length_penalty
        # NEG_INF until there are num_beams finished sequences.
        worst_finished = self.beam_scores.amin(1, keepdim=True)
        self.can_improve &= best_running > worst_finished
        if self.early_stopping:
            self.can_improve &= worst_finished <= NEG_INF


def best_tokens(logits: Tensor, count: int) -> Tensor:
    """Return the best `count` tokens of each beam: (images, beams, count)."""
    if not is_on_gpu(logits):
        return logits.topk(count).indices
    # On a GPU, topk takes 22 kernels for rows as long as the vocabulary and one or two
    # for short ones: the best of each part, and then the best of these.
    parts = logits.unflatten(-1, (-1, VOCABULARY_MULTIPLE))
    scores, token_ids = parts.topk(count, sorted=False)
    best = scores.flatten(-2).topk(count).indices
    token_ids = token_ids.flatten(-2).gather(-1, best)
    return torch.add(token_ids, best // count, alpha=VOCABULARY_MULTIPLE)


def gather_beams(tensor: Tensor, indices: Tensor) -> Tensor:
    """Select from (images, n, size) by indices (images, m): (images, m, size)."""
    return tensor.gather(1, indices[..., None].expand(-1, -1, tensor.shape[2]))


class SlotCache:
    """The keys and values of the decoder's self-attention on a CPU: they never move.

    At each step, every beam writes to a new slot. All beams of an image can read all
    its slots; the mask of a beam opens those of its own tokens. When beams are
    reordered, only the masks move.
    """

    def __init__(self, cross_kv: Tensor, num_beams: int, max_length: int) -> None:
        layers, _, images, self.heads, _, head_dim = cross_kv.shape
        self.num_beams = num_beams
        slots = max_length * num_beams  # The last step needs none, see `stop` below.
        self.kv = cross_kv.new_zeros(layers, 2, images, self.heads, slots, head_dim)
        self.mask = cross_kv.new_full((images, num_beams, slots), -torch.inf)

    def extend(self, step: int) -> None:
        """Open a new slot for each beam."""
        self.new = slice(step * self.num_beams, (step + 1) * self.num_beams)
        self.mask[..., self.new].diagonal(dim1=1, dim2=2).zero_()
        # The length grows by four steps at a time: oneDNN keeps kernels for each
        # length, which would take 250 MB more for every step.
        self.stop = (step // 4 + 1) * 4 * self.num_beams

    def attend(self, layer: int, c_attn: PackedLinear, hidden: Tensor) -> Tensor:
        """Attend in a layer: (images, beams, width) to the same shape."""
        qkv = split_heads(c_attn(hidden), 3, self.heads)
        self.kv[layer, ..., self.new, :] = qkv[1:]
        k, v = self.kv[layer, ..., : self.stop, :]
        return attention(qkv[0], k, v, self.mask[:, None, :, : self.stop])[0]

    def reorder(self, parents: Tensor) -> None:
        """Give each beam (images, beams) the past of its parent."""
        self.mask = gather_beams(self.mask, parents)


class RowCache:
    """The keys and values of the decoder's self-attention on a GPU: one row a beam.

    When beams are reordered, one kernel copies the rows of all layers. In exchange, no
    attention needs a mask, and c_attn writes its results where they stay: this takes
    three kernels fewer in each layer and step.
    """

    def __init__(self, cross_kv: Tensor, num_beams: int, max_length: int) -> None:
        layers, _, images, self.heads, _, head_dim = cross_kv.shape
        self.head_dim, rows = head_dim, images * num_beams
        # Reordering copies from one of these two to the other. The queries lie beside
        # the keys and values, because c_attn returns all three.
        shape = (2, max_length - 1, layers, rows, 3 * self.heads * head_dim)
        self.qkv, self.spare = cross_kv.new_empty(shape)
        first_rows = torch.arange(0, rows, num_beams, device=cross_kv.device)
        self.first_rows = first_rows[:, None]

    def extend(self, step: int) -> None:
        """Begin a step."""
        self.step = step

    def attend(self, layer: int, c_attn: PackedLinear, hidden: Tensor) -> Tensor:
        """Attend in a layer: (images, beams, width) to the same shape."""
        c_attn(hidden.flatten(0, 1), out=self.qkv[self.step, layer])
        past = self.qkv[: self.step + 1, layer]  # (steps, rows, 3 * width)
        past = past.unflatten(-1, (3, self.heads, self.head_dim))
        q, k, v = past.permute(2, 1, 3, 0, 4)  # (rows, heads, steps, head_dim)
        return attention(q[..., -1:, :], k, v)[0].view(hidden.shape)

    def reorder(self, parents: Tensor) -> None:
        """Give each beam (images, beams) the past of its parent."""
        rows = (parents + self.first_rows).flatten()
        used = slice(self.step + 1)
        torch.index_select(self.qkv[used], 2, rows, out=self.spare[used])
        self.qkv, self.spare = self.spare, self.qkv


class Captioner:
    """Beam search with a network that `supports` accepts."""

    @torch.inference_mode()  # Autograd would keep the original weights in memory.
    def __init__(
        self,
        network: Any,
        num_beams: int = 4,
        max_length: int = 16,
        max_batch: int = 32,
    ) -> None:
        if not supports(network):
            raise ValueError("Captioner takes a ViT with a GPT-2 and known settings.")
        self.num_beams, self.max_length = num_beams, max_length
        self.max_batch, self.device = max_batch, network.device
        self.config, self.network = network.generation_config, Network(network)
        # On a GPU, reading whether all captions are finished would wait for the GPU.
        self.can_exit_early = self.device.type == "cpu"
        self.graphs: dict[int, tuple[Any, Tensor]] = {}  # batch size to graph, tokens
        self.details = ""  # about the graphs, for `GET /health`
        if self.device.type == "cuda":
            self.capture(network.encoder.config.image_size)

    @torch.inference_mode()
    def __call__(self, images: Images) -> Tensor:
        """Map images to tokens (images, max_length) on the CPU."""
        if not self.graphs:
            pixels = torch.from_numpy(np.stack(images))
            return self.search(pixels.to(self.device)).cpu()
        most = max(self.graphs)
        starts = range(0, len(images), most)
        batches = [images[start : start + most] for start in starts]
        return torch.cat([self.replay(batch) for batch in batches])

    def replay(self, images: Images) -> Tensor:
        """Run the smallest graph that holds the images; ignore its other rows."""
        count = len(images)
        np.stack(images, out=self.pinned[:count].numpy())
        self.pixels[:count].copy_(self.pinned[:count], non_blocking=True)
        graph, tokens = self.graphs[min(size for size in self.graphs if size >= count)]
        graph.replay()
        # The copy waits for the graph; after it, all buffers can be used again.
        return tokens[:count].to("cpu", copy=True)

    def capture(self, image_size: int) -> None:
        """Capture the search as a CUDA graph for max_batch images, half as many, ... 1.

        A size that cannot be captured, for want of memory or on a card that does not
        support it, is left out. Without any graph, the search runs operator by
        operator.
        """
        shape = (self.max_batch, image_size, image_size, 3)
        self.pinned = torch.zeros(shape, dtype=torch.uint8).pin_memory()
        self.pixels = self.pinned.to(self.device)
        torch.cuda.set_device(self.device)  # Streams are made on the current device.
        # cuDNN would build a plan for each shape, which takes 15 s on Hopper.
        torch.backends.cuda.enable_cudnn_sdp(False)
        # The graphs can share memory because only one runs at a time and none reads the
        # results of another (pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
        pool = torch.cuda.graph_pool_handle()
        for power in range(self.max_batch.bit_length()):
            size = self.max_batch >> power
            try:
                self.graphs[size] = self.capture_size(size, pool)
            except RuntimeError as error:
                log.warning("No CUDA graph for %d images: %s", size, first_line(error))
            torch.cuda.empty_cache()
        sizes = ", ".join(map(str, self.graphs))
        self.details = f"CUDA graphs for {sizes} images" if sizes else "No CUDA graph"

    def capture_size(self, size: int, pool: Any) -> tuple[Any, Tensor]:
        """Return a graph of the search for `size` images, and its tokens."""
        images, graph = self.pixels[:size], torch.cuda.CUDAGraph()
        # CUDA loads a kernel at its first use, which must not be captured.
        self.search(images)
        # The context waits for that search. Other threads may use CUDA meanwhile.
        with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
            return graph, self.search(images)

    def search(self, images: Tensor) -> Tensor:
        """Map uint8 (images, size, size, 3) to tokens (images, max_length)."""
        cross_kv = self.network.encode(images)
        options = (self.num_beams, self.max_length)
        beams = Beams(len(images), *options, self.config, images.device)
        cache = (RowCache if is_on_gpu(images) else SlotCache)(cross_kv, *options)
        for step in range(self.max_length - 1):
            cache.extend(step)
            token_ids = beams.running_sequences[..., step]
            logits = self.network.step(token_ids, step, cache.attend, cross_kv)
            cache.reorder(beams.step(logits, step + 1))
            if self.can_exit_early and not beams.can_improve.any():
                break
        return beams.sequences[:, 0]


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
