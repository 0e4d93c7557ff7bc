"""transformers' ViT and GPT-2 with weights that are laid out for speed.

Linear layers that share an input become one. On a CPU, weights are stored in the order
in which oneDNN reads them. Attributes have the names they have in the checkpoint.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY_MULTIPLE = 384  # On a GPU, the rows of lm_head are padded to a multiple.


def normalize(images: Tensor) -> Tensor:
    """Scale uint8 (images, size, size, 3) to -1..1, (images, 3, size, size)."""
    return images.permute(0, 3, 1, 2) / 127.5 - 1


def is_on_gpu(tensor: Tensor) -> bool:
    """Return whether to use the operators that are fast on a GPU."""
    return tensor.is_cuda


def has_onednn_linear() -> bool:
    """Return whether torch can run linear layers by oneDNN on this CPU.

    Both operators are private: where a version of torch lacks them, F.linear runs.
    """
    return (
        torch.backends.mkldnn.is_available()
        and "AVX" in torch.backends.cpu.get_cpu_capability()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


class PackedLinear:
    """One or more linear layers with the same input, joined into one."""

    def __init__(self, *layers: Any, multiple: int = 1) -> None:
        """Join the layers; pad their outputs to a multiple, with a bias of -inf."""
        # GPT-2 has Conv1D layers: linear layers whose weight is transposed.
        weights = [x.weight if isinstance(x, nn.Linear) else x.weight.T for x in layers]
        self.weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        biases = [x.bias for x in layers if x.bias is not None]
        self.bias: Any = torch.cat(biases) if biases else None
        self.pad(-len(self.weight) % multiple)
        self.is_packed = self.weight.is_cpu and has_onednn_linear()
        if self.is_packed:
            # F.linear would reorder the weight in each call: in bfloat16 that takes
            # 2 times as long for 4 rows and 1.1 times as long for 788. In float32 it
            # would call MKL, which takes 2.3 times as long on AMD.
            reorder = torch.ops.mkldnn._reorder_linear_weight
            self.weight = reorder(self.weight.contiguous())

    def pad(self, count: int) -> None:
        """Add outputs that are always -inf."""
        if count:
            outputs = len(self.weight)
            bias = self.weight.new_zeros(outputs) if self.bias is None else self.bias
            self.bias = F.pad(bias, (0, count), value=-math.inf)
            self.weight = F.pad(self.weight, (0, 0, 0, count))

    def __call__(
        self, inputs: Tensor, gelu: str = "", out: Tensor | None = None
    ) -> Tensor:
        """Map (..., inputs) to (..., outputs).

        `gelu` applies GELU to the result: "none" is exact, "tanh" approximate. `out`
        is the tensor (rows, outputs) to write to, for inputs that are (rows, inputs).
        """
        if self.is_packed:
            name = "gelu" if gelu else "none"
            linear = torch.ops.mkldnn._linear_pointwise
            return linear(inputs, self.weight, self.bias, name, [], gelu)
        if out is not None:
            return torch.addmm(self.bias, inputs, self.weight.T, out=out)
        if gelu == "tanh" and self.weight.is_cuda:
            # cuBLAS applies this GELU in the kernel of the matrix product.
            factors = inputs.flatten(0, -2), self.weight.T
            rows = torch._addmm_activation(self.bias, *factors, use_gelu=True)
            return rows.view(*inputs.shape[:-1], -1)
        outputs = F.linear(inputs, self.weight, self.bias)
        return F.gelu(outputs, approximate=gelu) if gelu else outputs


def split_heads(joined: Tensor, parts: int, num_heads: int) -> Tensor:
    """Split (images, n, parts * width) to (parts, images, heads, n, head_dim)."""
    return joined.unflatten(-1, (parts, num_heads, -1)).permute(2, 0, 3, 1, 4)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend over (images, heads, n, head_dim); return (images, n, width) and weights.

    The weights, (images, heads, n, keys), are None unless they are needed: the fused
    kernel does not return them.
    """
    weights = None
    if need_weights or (q.is_cpu and q.dtype == torch.bfloat16):
        # In bfloat16 on a CPU, the fused kernel takes 2.4 times as long as these two
        # products for 197 keys. In float32 the fused kernel is faster.
        q, k, v = (x.contiguous() for x in (q, k, v))
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        weights = (scores if mask is None else scores + mask).softmax(-1)
        attended = weights @ v
    else:
        attended = F.scaled_dot_product_attention(q, k, v, mask)
    return attended.transpose(1, 2).flatten(2), weights


class EncoderLayer:
    """transformers' ViTLayer."""

    def __init__(self, layer: Any, num_heads: int) -> None:
        self.num_heads = num_heads
        self.layernorm_before = layer.layernorm_before
        self.layernorm_after = layer.layernorm_after
        # Versions of transformers differ in the names of these layers, but all have
        # them in this order: query, key, value, output of attention, MLP.
        linears = [part for part in layer.modules() if isinstance(part, nn.Linear)]
        self.qkv, self.proj = PackedLinear(*linears[:3]), PackedLinear(linears[3])
        self.fc1, self.fc2 = PackedLinear(linears[4]), PackedLinear(linears[5])

    def __call__(self, hidden: Tensor) -> Tensor:
        """Map (images, states, width) to the same shape."""
        joined = self.qkv(self.layernorm_before(hidden))
        q, k, v = split_heads(joined, 3, self.num_heads)
        hidden = hidden + self.proj(attention(q, k, v)[0])
        return hidden + self.fc2(self.fc1(self.layernorm_after(hidden), "none"))


# Self-attention over past tokens, whose cache it extends: it maps GPT-2's c_attn and
# hidden states (images, n, width) to attended states of the same shape.
Attend = Callable[[PackedLinear, Tensor], Tensor]


class DecoderLayer:
    """transformers' GPT2Block; its caller keeps the keys and values of past tokens."""

    def __init__(self, layer: Any, num_heads: int) -> None:
        self.num_heads = num_heads
        self.ln_1, self.ln_2 = layer.ln_1, layer.ln_2
        self.ln_cross_attn = layer.ln_cross_attn
        self.c_attn = PackedLinear(layer.attn.c_attn)
        self.c_proj = PackedLinear(layer.attn.c_proj)
        self.q_attn = PackedLinear(layer.crossattention.q_attn)
        self.kv_attn = PackedLinear(layer.crossattention.c_attn)
        self.cross_proj = PackedLinear(layer.crossattention.c_proj)
        self.c_fc = PackedLinear(layer.mlp.c_fc)
        self.mlp_proj = PackedLinear(layer.mlp.c_proj)

    def cross_kv(self, encoder_states: Tensor) -> Tensor:
        """Return an image's keys and values: (2, images, heads, states, head_dim)."""
        return split_heads(self.kv_attn(encoder_states), 2, self.num_heads)

    def __call__(
        self,
        hidden: Tensor,
        attend: Attend,
        cross_kv: Tensor,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the new hidden states and, if needed, the cross-attention's weights.

        `hidden` is (images, n, width).
        """
        attended = attend(self.c_attn, self.ln_1(hidden))
        hidden = hidden + self.c_proj(attended)
        (q,) = split_heads(self.q_attn(self.ln_cross_attn(hidden)), 1, self.num_heads)
        k, v = cross_kv
        attended, weights = attention(q, k, v, need_weights=need_weights)
        hidden = hidden + self.cross_proj(attended)
        hidden = hidden + self.mlp_proj(self.c_fc(self.ln_2(hidden), "tanh"))
        return hidden, weights


class Network:
    """A VisionEncoderDecoderModel of a ViT and a GPT-2, in its dtype, on its device."""

    def __init__(self, network: Any) -> None:
        vit, gpt2 = network.encoder, network.decoder.transformer
        num_heads = vit.config.num_attention_heads
        (layers,) = (part for part in vit.modules() if isinstance(part, nn.ModuleList))
        self.embeddings, self.layernorm = vit.embeddings, vit.layernorm
        self.encoder_layers = [EncoderLayer(layer, num_heads) for layer in layers]
        # It exists only if the encoder and the decoder differ in width.
        self.enc_to_dec_proj = getattr(network, "enc_to_dec_proj", nn.Identity())
        num_heads = gpt2.config.n_head
        self.wte, self.wpe = gpt2.wte.weight, gpt2.wpe.weight
        self.decoder_layers = [DecoderLayer(layer, num_heads) for layer in gpt2.h]
        multiple = VOCABULARY_MULTIPLE if is_on_gpu(self.wte) else 1
        self.ln_f = gpt2.ln_f
        self.lm_head = PackedLinear(network.decoder.lm_head, multiple=multiple)

    def encode(self, images: Tensor) -> Tensor:
        """Return the keys and values of every decoder layer's cross-attention.

        Maps uint8 (images, size, size, 3) to (layers, 2, images, heads, states,
        head_dim).
        """
        hidden = self.embeddings(normalize(images).to(self.wte.dtype))
        for layer in self.encoder_layers:
            hidden = layer(hidden)  # (images, states, width)
        hidden = self.enc_to_dec_proj(self.layernorm(hidden))
        return torch.stack([layer.cross_kv(hidden) for layer in self.decoder_layers])

    def step(
        self,
        input_ids: Tensor,
        position: int,
        attend: Callable[[int, PackedLinear, Tensor], Tensor],
        cross_kv: Tensor,
    ) -> Tensor:
        """Return logits (images, beams, vocabulary) after tokens (images, beams).

        `attend` is the self-attention of the layer whose number it takes.
        """
        hidden = F.embedding(input_ids, self.wte) + self.wpe[position]
        for number, (layer, kv) in enumerate(zip(self.decoder_layers, cross_kv)):
            hidden, _ = layer(hidden, partial(attend, number), kv)
        return self.lm_head(self.ln_f(hidden))  # (images, beams, vocabulary)
