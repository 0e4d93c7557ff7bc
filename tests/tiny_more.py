"""Tiny checkpoints for the examples of this folder's second half, made in seconds."""

from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertTokenizer,
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

GOOD, BAD = ("good", "fine", "great"), ("bad", "poor", "awful")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "it", "is", *GOOD, *BAD)


def sentiment(folder: Path) -> Path:
    """A DistilBERT that has learned by heart which of its six words are good."""
    torch.manual_seed(0)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = DistilBertTokenizer(str(folder / "vocab.txt"), model_max_length=32)
    config = DistilBertConfig(
        vocab_size=len(WORDS),
        max_position_embeddings=32,
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=32,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    network = DistilBertForSequenceClassification(config)
    tokens = tokenizer([f"it is so {word}" for word in GOOD + BAD], return_tensors="pt")
    labels = torch.tensor([1] * len(GOOD) + [0] * len(BAD))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        network(**tokens, labels=labels).loss.backward()
        optimizer.step()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def transcribe(folder: Path) -> Path:
    """A Whisper of random weights, which says some words to any sound."""
    torch.manual_seed(0)
    folder.mkdir()
    spoken = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>")
    control = ("<|translate|>", "<|transcribe|>", "<|notimestamps|>")
    bytes_only = ByteLevelBPETokenizer()
    bytes_only.train_from_iterator(["a b c"], 256)
    bytes_only.save_model(str(folder))
    tokenizer = WhisperTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        additional_special_tokens=[*spoken[1:], *control],
    )
    number = {name: tokenizer.convert_tokens_to_ids(name) for name in spoken + control}
    letters = tokenizer.convert_tokens_to_ids([*"abcdefghijklmnopqrstuvwxyz"])
    silent = set(range(len(tokenizer))) - {*letters, number[spoken[0]]}
    extractor = WhisperFeatureExtractor(feature_size=8)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    ends = {f"{role}_token_id": number[spoken[0]] for role in ("bos", "eos", "pad")}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=8,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=32,
        decoder_start_token_id=number[spoken[1]],
        init_std=0.3,
        **ends,
    )
    network = WhisperForConditionalGeneration(config)
    network.generation_config = GenerationConfig(
        decoder_start_token_id=number[spoken[1]],
        is_multilingual=True,
        lang_to_id={"<|en|>": number["<|en|>"], "<|fr|>": number["<|fr|>"]},
        task_to_id={name[2:-2]: number[name] for name in control[:2]},
        no_timestamps_token_id=number[control[2]],
        max_length=32,
        suppress_tokens=sorted(silent),
        begin_suppress_tokens=[number[spoken[0]]],
        **ends,
    )
    network.save_pretrained(folder)
    return folder
