"""Random numbers to a checkpoint like nlpconnect/vit-gpt2-image-captioning.

`python -m tests.support.random_checkpoint FOLDER` writes a narrow checkpoint for tests
(22 MB). With `--full` it has the real size (239,195,904 parameters, 982 MB), for
benchmarks. The names of files and tensors, the legacy buffers and the configuration
equal those of revision dc68f91. The weights come from a seed and the vocabulary is made
up, so the captions are nonsense.
"""

import argparse
import itertools
import json
import string
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

VOCABULARY = 50257
END = VOCABULARY - 1
END_TOKEN = "<|endoftext|>"
FULL = {"width": 768, "layers": 12, "heads": 12, "positions": 1024}
SMALL = {"width": 32, "layers": 2, "heads": 2, "positions": 1024}
Tensors = Iterator[tuple[str, torch.Tensor]]


def write(folder: Path, width: int, layers: int, heads: int, positions: int) -> None:
    """Write all files of the checkpoint to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    tensors = dict(encoder(width, layers)) | dict(decoder(width, layers, positions))
    torch.save(tensors, folder / "pytorch_model.bin")
    write_json(folder / "config.json", config(width, layers, heads, positions))
    write_json(folder / "preprocessor_config.json", PREPROCESSOR)
    write_tokenizer(folder)


def linear(name: str, outputs: int, inputs: int) -> Tensors:
    """Yield a weight (outputs, inputs) and a bias."""
    yield f"{name}.weight", torch.randn(outputs, inputs) * 0.02
    yield f"{name}.bias", torch.randn(outputs) * 0.02


def conv1d(name: str, inputs: int, outputs: int) -> Tensors:
    """Yield the transposed weight (inputs, outputs) and the bias of GPT-2's Conv1D."""
    yield f"{name}.weight", torch.randn(inputs, outputs) * 0.02
    yield f"{name}.bias", torch.randn(outputs) * 0.02


def layer_norm(name: str, width: int) -> Tensors:
    yield f"{name}.weight", torch.ones(width)
    yield f"{name}.bias", torch.zeros(width)


def encoder(width: int, layers: int) -> Tensors:
    """Yield the ViT's tensors."""
    patches = "encoder.embeddings.patch_embeddings.projection"
    yield "encoder.embeddings.cls_token", torch.randn(1, 1, width) * 0.02
    yield "encoder.embeddings.position_embeddings", torch.randn(1, 197, width) * 0.02
    yield f"{patches}.weight", torch.randn(width, 3, 16, 16) * 0.02
    yield f"{patches}.bias", torch.zeros(width)
    for layer in range(layers):
        name = f"encoder.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            yield from linear(f"{name}.attention.attention.{part}", width, width)
        yield from linear(f"{name}.attention.output.dense", width, width)
        yield from linear(f"{name}.intermediate.dense", 4 * width, width)
        yield from linear(f"{name}.output.dense", width, 4 * width)
        yield from layer_norm(f"{name}.layernorm_before", width)
        yield from layer_norm(f"{name}.layernorm_after", width)
    yield from layer_norm("encoder.layernorm", width)
    yield from linear("encoder.pooler.dense", width, width)


def decoder(width: int, layers: int, positions: int) -> Tensors:
    """Yield GPT-2's tensors; lm_head is tied to wte and therefore not in the file."""
    # Ten times as large as GPT-2's: smaller ones make all tokens equally likely.
    yield "decoder.transformer.wte.weight", torch.randn(VOCABULARY, width) * 0.2
    yield "decoder.transformer.wpe.weight", torch.randn(positions, width) * 0.02
    mask = torch.ones(positions, positions, dtype=torch.uint8).tril()[None, None]
    for layer in range(layers):
        name = f"decoder.transformer.h.{layer}"
        yield from conv1d(f"{name}.attn.c_attn", width, 3 * width)
        yield from conv1d(f"{name}.attn.c_proj", width, width)
        yield from conv1d(f"{name}.crossattention.c_attn", width, 2 * width)
        yield from conv1d(f"{name}.crossattention.q_attn", width, width)
        yield from conv1d(f"{name}.crossattention.c_proj", width, width)
        yield from conv1d(f"{name}.mlp.c_fc", width, 4 * width)
        yield from conv1d(f"{name}.mlp.c_proj", 4 * width, width)
        for part in ("ln_1", "ln_2", "ln_cross_attn"):
            yield from layer_norm(f"{name}.{part}", width)
        for part in ("attn", "crossattention"):
            yield f"{name}.{part}.bias", mask.clone()
            yield f"{name}.{part}.masked_bias", torch.tensor(-1e4)
    yield from layer_norm("decoder.transformer.ln_f", width)


def vit_config(width: int, layers: int, heads: int) -> dict:
    return {
        "model_type": "vit",
        "architectures": ["ViTModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": True,
    }


def gpt2_config(width: int, layers: int, heads: int, positions: int) -> dict:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "n_positions": positions,
        "n_ctx": positions,
        "vocab_size": VOCABULARY,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "add_cross_attention": True,
        "is_decoder": True,
        "tie_word_embeddings": True,
        "max_length": 20,
        "num_beams": 1,
        "bos_token_id": END,
        "eos_token_id": END,
    }


def config(width: int, layers: int, heads: int, positions: int) -> dict:
    """Return the content of config.json."""
    return {
        "model_type": "vision-encoder-decoder",
        "architectures": ["VisionEncoderDecoderModel"],
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "decoder_start_token_id": END,
        "bos_token_id": END,
        "eos_token_id": END,
        "pad_token_id": END,
        "torch_dtype": "float32",
        "encoder": vit_config(width, layers, heads),
        "decoder": gpt2_config(width, layers, heads, positions),
    }


PREPROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}


def merges() -> list[tuple[str, str]]:
    """Return 50,000 merges, as many as GPT-2 has: words of up to four letters."""
    pairs = []
    for length in itertools.count(1):
        for start in ("", "\u0120"):  # \u0120 stands for a space before the word
            for word in itertools.product(string.ascii_lowercase, repeat=length):
                pairs.append((start + "".join(word[:-1]), word[-1]))
        pairs = [pair for pair in pairs if pair[0]]  # A single letter is a token.
        if len(pairs) >= END - 256:
            return pairs[: END - 256]


def write_tokenizer(folder: Path) -> None:
    """Write the five files of GPT-2's tokenizer, with a made-up vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = merges()
    tokens = [*letters, *("".join(pair) for pair in pairs), END_TOKEN]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_TOKEN])
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    specials = dict.fromkeys(names, END_TOKEN)
    options = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    write_json(folder / "special_tokens_map.json", specials)
    write_json(folder / "tokenizer_config.json", specials | options)


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    write(arguments.folder, **(FULL if arguments.full else SMALL))
