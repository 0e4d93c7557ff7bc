"""The layers of transformers' ViT and GPT-2, for the beams of an image together.

Their weights laid out for speed: side by side where they share an input, and on a CPU
in oneDNN's own order.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CPU = Path("/proc/cpuinfo")


def fast_dtype(device: str) -> torch.dtype:
    """Return bfloat16 where the chip multiplies it by itself, else float32."""
    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif CPU.exists():
        # torch 2.10 has no public way to ask.
        native = {"avx512_bf16", "amx_bf16"} & set(CPU.read_text().split())
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def normalize(images: Tensor) -> Tensor:
    """Turn bytes (images, side, side, 3) into -1 to 1, (images, 3, side, side)."""
    return images.permute(0, 3, 1, 2) / 127.5 - 1


class Linear:
    """One or more linear layers side by side."""

    def __init__(self, *layers: nn.Module) -> None:
        # GPT-2's Conv1D is a Linear that keeps its matrix transposed.
        weights = [x.weight if isinstance(x, nn.Linear) else x.weight.T for x in layers]
        self.weight = torch.cat(weights)  # (outputs, inputs)
        biases = [x.bias for x in layers if x.bias is not None]
        self.bias = torch.cat(biases) if biases else None
        self.packed = self.weight.is_cpu and torch.backends.mkldnn.is_available()
        self.packed &= "AVX" in torch.backends.cpu.get_cpu_capability()
        if self.packed:
            # Else each call reorders: 2 times as long for 4 rows in bfloat16, 1.1 for
            # 788. In float32 it would call MKL, on AMD 2.3 times as long for any.
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight)

    def __call__(self, inputs: Tensor, gelu: str = "") -> Tensor:
        """Map (..., inputs) to (..., outputs), then through a GELU if one is named."""
        if self.packed:
            post = "gelu" if gelu else "none", [], gelu
            linear = torch.ops.mkldnn._linear_pointwise
            return linear(inputs, self.weight, self.bias, *post)
        outputs = F.linear(inputs, self.weight, self.bias)
        return F.gelu(outputs, approximate=gelu) if gelu else outputs


def split(joined: Tensor, parts: int, heads: int) -> Tensor:
    """Turn (images, n, parts * width) into (parts, images, heads, n, size)."""
    return joined.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask=None) -> Tensor:
    """Attend over (images, heads, n, size), return the heads as (images, n, width)."""
    if queries.is_cpu and queries.dtype == torch.bfloat16:
        # The fused kernel takes 2.4 times as long as these products in bfloat16 for
        # 197 keys, in float32 it is the faster.
        queries, keys, values = (x.contiguous() for x in (queries, keys, values))
        scores = queries * queries.shape[-1] ** -0.5 @ keys.mT
        scores = scores if mask is None else scores + mask
        attended = scores.softmax(-1) @ values
    else:
        attended = F.scaled_dot_product_attention(queries, keys, values, mask)
    return attended.transpose(1, 2).flatten(2)


class EncoderLayer:
    """transformers' ViTLayer."""

    def __init__(self, layer: nn.Module, heads: int) -> None:
        self.heads = heads
        self.before, self.after = layer.layernorm_before, layer.layernorm_after
        # Their names differ between versions of transformers, their order does not.
        linears = [part for part in layer.modules() if isinstance(part, nn.Linear)]
        self.inward, self.outward = Linear(*linears[:3]), Linear(linears[3])
        self.rise, self.fall = Linear(linears[4]), Linear(linears[5])

    def __call__(self, hidden: Tensor) -> Tensor:  # (images, states, width)
        parts = split(self.inward(self.before(hidden)), 3, self.heads)
        hidden = hidden + self.outward(attend(*parts))
        return hidden + self.fall(self.rise(self.after(hidden), "none"))


class DecoderLayer:
    """transformers' GPT2Block for one token of each beam."""

    def __init__(self, layer: nn.Module, heads: int) -> None:
        self.heads, attention, cross = heads, layer.attn, layer.crossattention
        self.norms = layer.ln_1, layer.ln_cross_attn, layer.ln_2
        self.inward, self.outward = Linear(attention.c_attn), Linear(attention.c_proj)
        self.cross = Linear(cross.c_attn)
        self.question, self.answer = Linear(cross.q_attn), Linear(cross.c_proj)
        self.rise, self.fall = Linear(layer.mlp.c_fc), Linear(layer.mlp.c_proj)

    def share(self, states: Tensor) -> Tensor:
        """Return keys and values for all beams, (2, images, heads, states, size)."""
        return split(self.cross(states), 2, self.heads)

    def __call__(self, hidden: Tensor, start: int, mask, own, shared) -> Tensor:
        """Return hidden (images, beams, width), its keys and values put into own."""
        first, second, third = self.norms
        parts = split(self.inward(first(hidden)), 3, self.heads)
        own[..., start : start + hidden.shape[1], :] = parts[1:]
        hidden = hidden + self.outward(attend(parts[0], *own, mask))
        parts = split(self.question(second(hidden)), 1, self.heads)
        hidden = hidden + self.answer(attend(parts[0], *shared))
        return hidden + self.fall(self.rise(third(hidden), "tanh"))


class Network:
    """A VisionEncoderDecoderModel of ViT and GPT-2, where and in the dtype it is."""

    def __init__(self, network: nn.Module) -> None:
        vit, gpt2 = network.encoder, network.decoder.transformer
        self.embed, self.vit_norm = vit.embeddings, vit.layernorm
        heads = vit.config.num_attention_heads
        (layers,) = (part for part in vit.modules() if isinstance(part, nn.ModuleList))
        self.vit = [EncoderLayer(layer, heads) for layer in layers]
        self.bridge = getattr(network, "enc_to_dec_proj", nn.Identity())
        self.words, self.places = gpt2.wte.weight, gpt2.wpe.weight
        self.gpt2 = [DecoderLayer(layer, gpt2.config.n_head) for layer in gpt2.h]
        self.gpt2_norm, self.head = gpt2.ln_f, Linear(network.decoder.lm_head)

    def encode(self, images: Tensor) -> Tensor:
        """Return keys and values, (layers, 2, images, heads, states, size)."""
        pixels = normalize(images).to(self.words.dtype)
        hidden = self.embed(pixels)  # (images, states, width)
        for layer in self.vit:
            hidden = layer(hidden)
        hidden = self.bridge(self.vit_norm(hidden))
        return torch.stack([layer.share(hidden) for layer in self.gpt2])

    def step(self, tokens: Tensor, place: int, mask, own, shared) -> Tensor:
        """Return logits (images, beams, words) after tokens (images, beams)."""
        hidden = F.embedding(tokens, self.words) + self.places[place]
        start = place * tokens.shape[1]
        for layer, *keys in zip(self.gpt2, own, shared):
            hidden = layer(hidden, start, mask, *keys)  # (images, beams, width)
        return self.head(self.gpt2_norm(hidden))
