"""Tiny checkpoints for the examples of this folder's second half, made in seconds."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
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

SPOKEN = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>")
CONTROL = ("<|translate|>", "<|transcribe|>", "<|notimestamps|>")
SAID_FIRST = ("<|en|>", "<|transcribe|>", "<|notimestamps|>")


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


def tone(pitch: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate) / 2


def transcribe(folder: Path) -> Path:
    """A Whisper that has learned to call a tone low or high, and hears two seconds."""
    torch.manual_seed(0)
    folder.mkdir()
    processor, number = _speech(folder)
    ends = {f"{role}_token_id": number[SPOKEN[0]] for role in ("bos", "eos", "pad")}
    start = {"decoder_start_token_id": number[SPOKEN[1]]}
    config = WhisperConfig(
        vocab_size=len(processor.tokenizer),
        num_mel_bins=8,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=100,
        max_target_positions=16,
        **start,
        **ends,
    )
    network = WhisperForConditionalGeneration(config)
    network.generation_config = GenerationConfig(
        is_multilingual=True,
        lang_to_id={name: number[name] for name in ("<|en|>", "<|fr|>")},
        task_to_id={
            name: number[f"<|{name}|>"] for name in ("translate", "transcribe")
        },
        no_timestamps_token_id=number["<|notimestamps|>"],
        max_length=16,
        **start,
        **ends,
    )
    _learn(network, processor, [number[name] for name in SAID_FIRST])
    network.save_pretrained(folder)
    return folder


def _speech(folder: Path) -> tuple[WhisperProcessor, dict[str, int]]:
    """A processor whose words are single letters, and its special tokens' numbers."""
    letters = ByteLevelBPETokenizer()
    letters.train_from_iterator(["a"], 256)
    letters.save_model(str(folder))
    tokenizer = WhisperTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        additional_special_tokens=[*SPOKEN[1:], *CONTROL],
    )
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    processor = WhisperProcessor(extractor, tokenizer)
    processor.save_pretrained(folder)
    names = SPOKEN + CONTROL
    return processor, dict(zip(names, tokenizer.convert_tokens_to_ids(names)))


def _learn(network, processor: WhisperProcessor, first: list[int]) -> None:
    said = [(pitch, "low") for pitch in (150, 200, 300)]
    said += [(pitch, "high") for pitch in (1500, 2000, 3000)]
    sounds = [tone(pitch) for pitch, _ in said]
    heard = processor(sounds, sampling_rate=16_000, return_tensors="pt")
    end = network.config.eos_token_id
    words = [processor.tokenizer.convert_tokens_to_ids([*word]) for _, word in said]
    longest = max(map(len, words))
    ignored = [[-100] * (longest - len(word)) for word in words]
    labels = [first + word + [end] + rest for word, rest in zip(words, ignored)]
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for _ in range(100):
        optimizer.zero_grad()
        network(heard.input_features, labels=torch.tensor(labels)).loss.backward()
        optimizer.step()


def stripes(data: Path) -> None:
    """Draw a folder of upright stripes and one of level ones, 60 pictures each."""
    chance = np.random.default_rng(0)
    for name in ("level", "upright"):
        (data / name).mkdir()
        for number in range(60):
            wave = np.sin(
                np.arange(48) * chance.uniform(0.3, 0.9) + chance.uniform(0, 6)
            )
            light = np.broadcast_to(128 + 100 * wave, (48, 48))
            noisy = (light + chance.normal(0, 10, light.shape)).clip(0, 255)
            noisy = noisy.T if name == "level" else noisy
            image = Image.fromarray(noisy.astype(np.uint8))
            image.save(data / name / f"{number}.png")
