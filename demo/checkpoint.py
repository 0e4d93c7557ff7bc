"""A new, small ViT-GPT2 with the classes and the files of the real checkpoint."""

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    GPT2Config,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from demo.scenes import every_caption

SIDE, PATCHES = 224, 14  # pixels and patches a side
LENGTH = 16  # tokens of a caption, including the start and end tokens
END = "<|endoftext|>"  # the start, end and padding token, as in the real checkpoint

WIDTH, HEADS = 160, 4
ENCODER_LAYERS, DECODER_LAYERS = 4, 3
# The standard deviation of the initial weights. The usual 0.02 is right for a width of
# 768 and makes the start of this training slow.
INITIALIZER_RANGE = 0.05

SPECIAL_IDS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}


def make_tokenizer(folder: Path) -> ByteLevelBPETokenizer:
    """Write a byte-level BPE in which each word of the captions is one token."""
    tokenizer = ByteLevelBPETokenizer()
    captions, options = every_caption(), {"show_progress": False}
    tokenizer.train_from_iterator(captions, 512, special_tokens=[END], **options)
    tokenizer.save_model(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = {f"{role}_token": END for role in ("bos", "eos", "pad", "unk")}
    write(folder / "special_tokens_map.json", names)
    extra = {"add_prefix_space": False, "model_max_length": LENGTH}
    extra["tokenizer_class"] = "GPT2Tokenizer"
    write(folder / "tokenizer_config.json", names | extra)
    return tokenizer


def make_model(tokenizer) -> VisionEncoderDecoderModel:
    """Return a new model whose position embeddings are sines and cosines."""
    parts = encoder_config(), decoder_config(tokenizer.get_vocab_size())
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(*parts)
    config.update({**SPECIAL_IDS, "decoder_start_token_id": 0})
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # On a CPU the backward pass of fused attention is slower in bfloat16.
    config._attn_implementation = "eager" if device == "cpu" else "sdpa"
    model = VisionEncoderDecoderModel(config)
    model.encoder.embeddings.position_embeddings.data[0, 1:] = positions()
    return model.to(device)


def encoder_config() -> ViTConfig:
    return ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=ENCODER_LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        initializer_range=INITIALIZER_RANGE,
    )


def decoder_config(vocab_size: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocab_size,
        n_positions=4 * LENGTH,
        n_embd=WIDTH,
        n_layer=DECODER_LAYERS,
        n_head=HEADS,
        initializer_range=INITIALIZER_RANGE,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        add_cross_attention=True,
        is_decoder=True,
        **SPECIAL_IDS,
    )


def positions() -> torch.Tensor:
    """Return sines and cosines of each patch's row and column, (196, width)."""
    position = torch.arange(PATCHES).float()
    angle = position[:, None] * 20.0 ** -torch.linspace(0, 1, WIDTH // 4)
    line = torch.cat([angle.sin(), angle.cos()], 1)  # (14, width / 2)
    rows = line[:, None].expand(-1, PATCHES, -1)
    columns = line[None].expand(PATCHES, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1) * 0.5


def save(model, folder: Path) -> None:
    """Write the weights as float16 and the files of the real checkpoint."""
    model.half().save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    config = without_versions(config) | {"tie_word_embeddings": False}
    write(folder / "config.json", config)
    settings = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 2,
        "size": SIDE,
    }
    write(folder / "preprocessor_config.json", settings)
    for file in folder.iterdir():
        file.chmod(0o644)  # readable for all users
        if file.suffix == ".json":
            file.write_text(file.read_text().rstrip() + "\n")


def without_versions(config: dict) -> dict:
    return {
        key: without_versions(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in ("transformers_version", "_name_or_path")
    }


def write(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
