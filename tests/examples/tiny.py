"""Checkpoints of the image examples' classes, made of random numbers on the spot."""

from pathlib import Path

import torch
import transformers as hub
from tokenizers.pre_tokenizers import ByteLevel

WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
NARROW = {**WIDTH, "num_hidden_layers": 2}
LIVELY = {"initializer_range": 0.2}  # At 0.02 all pictures would look the same.
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"a red blue dog cat on".split())


def classify_vit(folder: Path) -> None:
    config = hub.ViTConfig(**NARROW, **LIVELY, patch_size=32, num_labels=5)
    write(folder, hub.ViTForImageClassification, config, hub.ViTImageProcessorPil())


def zero_shot_clip(folder: Path) -> None:
    letters = sorted(ByteLevel.alphabet())
    ends = [f"{letter}</w>" for letter in letters]
    tokens = [*letters, *ends, "<|startoftext|>", "<|endoftext|>"]
    last = len(tokens) - 1
    text = {**NARROW, "vocab_size": len(tokens), "eos_token_id": last}
    text |= {"bos_token_id": last - 1, "pad_token_id": last}
    config = hub.CLIPConfig(
        text_config=text,
        vision_config={**NARROW, "patch_size": 32},
        projection_dim=16,
        initializer_factor=10.0,
    )
    write(folder, hub.CLIPModel, config, hub.CLIPImageProcessorPil())
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = hub.CLIPTokenizer(vocabulary, [], model_max_length=77)
    tokenizer.save_pretrained(folder)


def caption_blip(folder: Path) -> None:
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**NARROW, **LIVELY, **ends, "vocab_size": len(WORDS)}
    vision = {**NARROW, **LIVELY, "image_size": 384, "patch_size": 64}
    config = hub.BlipConfig(text_config=text, vision_config=vision)
    write(folder, hub.BlipForConditionalGeneration, config, hub.BlipImageProcessorPil())
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    hub.BertTokenizer(vocabulary).save_pretrained(folder)


def detect(folder: Path) -> None:
    backbone = hub.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = hub.RTDetrConfig(
        backbone_config=backbone,
        d_model=32,
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        encoder_in_channels=[16, 16, 16],
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=64,
        decoder_attention_heads=2,
        decoder_layers=1,
        num_queries=9,
        num_labels=5,
        initializer_bias_prior_prob=0.5,  # Then some boxes pass the threshold.
        **LIVELY,
    )
    write(folder, hub.RTDetrForObjectDetection, config, hub.RTDetrImageProcessorPil())


def segment(folder: Path) -> None:
    config = hub.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=5,
        **LIVELY,
    )
    processor = hub.SegformerImageProcessorPil()
    write(folder, hub.SegformerForSemanticSegmentation, config, processor)


def embed(folder: Path) -> None:
    config = hub.Dinov2Config(**NARROW, **LIVELY, image_size=518)
    processor = hub.BitImageProcessorPil(size={"shortest_edge": 256})
    write(folder, hub.Dinov2Model, config, processor)


def write(folder: Path, network: type, config: object, processor: object) -> None:
    """Save a network of seeded random weights and its image processor."""
    torch.manual_seed(0)
    network(config).eval().save_pretrained(folder)
    processor.save_pretrained(folder)
