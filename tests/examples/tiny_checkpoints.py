"""Tiny checkpoints of the classes that the examples load, made in seconds.

Those of the image examples are random. The text and the speech classifier are trained
until they know their few words.
"""

from pathlib import Path

import numpy as np
import torch
import transformers as hub
from tokenizers import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel

WIDTH = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
NARROW = {**WIDTH, "num_hidden_layers": 2}
WIDE_RANGE = {"initializer_range": 0.2}  # With 0.02 all images get the same answer.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # tokens


def classify_vit(folder: Path) -> None:
    config = hub.ViTConfig(**NARROW, **WIDE_RANGE, patch_size=32, num_labels=5)
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
    vocabulary = {token: token_id for token_id, token in enumerate(tokens)}
    tokenizer = hub.CLIPTokenizer(vocabulary, [], model_max_length=77)
    tokenizer.save_pretrained(folder)


def caption_blip(folder: Path) -> None:
    words = (*SPECIAL, *"a red blue dog cat on".split())
    ends = {"bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    text = {**NARROW, **WIDE_RANGE, **ends, "vocab_size": len(words)}
    vision = {**NARROW, **WIDE_RANGE, "image_size": 384, "patch_size": 64}
    config = hub.BlipConfig(text_config=text, vision_config=vision)
    write(folder, hub.BlipForConditionalGeneration, config, hub.BlipImageProcessorPil())
    vocabulary = {word: token_id for token_id, word in enumerate(words)}
    hub.BertTokenizer(vocabulary).save_pretrained(folder)


def detect(folder: Path) -> None:
    backbone = hub.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    decoder = {"decoder_layers": 1, "decoder_ffn_dim": 64, "decoder_attention_heads": 2}
    config = hub.RTDetrConfig(
        backbone_config=backbone,
        d_model=32,
        encoder_hidden_dim=32,
        encoder_ffn_dim=64,
        encoder_attention_heads=2,
        encoder_in_channels=[16, 16, 16],
        decoder_in_channels=[32, 32, 32],
        num_queries=9,
        num_labels=5,
        initializer_bias_prior_prob=0.5,  # Otherwise no box is confident enough.
        **decoder,
        **WIDE_RANGE,
    )
    write(folder, hub.RTDetrForObjectDetection, config, hub.RTDetrImageProcessorPil())


def segment(folder: Path) -> None:
    config = hub.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=5,
        **WIDE_RANGE,
    )
    processor = hub.SegformerImageProcessorPil()
    write(folder, hub.SegformerForSemanticSegmentation, config, processor)


def embed(folder: Path) -> None:
    config = hub.Dinov2Config(**NARROW, **WIDE_RANGE, image_size=518)
    processor = hub.BitImageProcessorPil(size={"shortest_edge": 256})
    write(folder, hub.Dinov2Model, config, processor)


def write(folder: Path, network: type, config: object, processor: object) -> None:
    """Save a network of seeded random weights and its image processor."""
    torch.manual_seed(0)
    network(config).eval().save_pretrained(folder)
    processor.save_pretrained(folder)


GOOD, BAD = ("good", "fine", "great"), ("bad", "poor", "awful")


def sentiment(folder: Path) -> None:
    """Write a DistilBERT that knows which of its six adjectives are positive."""
    torch.manual_seed(0)
    words = (*SPECIAL, "so", "it", "is", *GOOD, *BAD)
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = hub.DistilBertTokenizer(str(folder / "vocab.txt"), model_max_length=32)
    config = hub.DistilBertConfig(
        vocab_size=len(words),
        max_position_embeddings=32,
        dim=16,
        n_layers=1,
        n_heads=2,
        hidden_dim=32,
        id2label={0: "NEGATIVE", 1: "POSITIVE"},
        label2id={"NEGATIVE": 0, "POSITIVE": 1},
    )
    network = hub.DistilBertForSequenceClassification(config)
    tokens = tokenizer([f"it is so {word}" for word in GOOD + BAD], return_tensors="pt")
    labels = torch.tensor([1] * len(GOOD) + [0] * len(BAD))
    train(network, 60, 0.01, **tokens, labels=labels)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(network: torch.nn.Module, steps: int, lr: float, **batch: object) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr)
    for _ in range(steps):
        optimizer.zero_grad()
        network(**batch).loss.backward()
        optimizer.step()


END, START = "<|endoftext|>", "<|startoftranscript|>"
ENGLISH, FRENCH = "<|en|>", "<|fr|>"
TRANSLATE, TRANSCRIBE = "<|translate|>", "<|transcribe|>"
NO_TIMESTAMPS = "<|notimestamps|>"
WHISPER = (END, START, ENGLISH, FRENCH, TRANSLATE, TRANSCRIBE, NO_TIMESTAMPS)


def tone(pitch: float, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    return np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate) / 2


def transcribe(folder: Path) -> None:
    """Write a Whisper for two seconds of sound that calls a tone "low" or "high"."""
    torch.manual_seed(0)
    processor = whisper_processor(folder)
    ids = dict(zip(WHISPER, processor.tokenizer.convert_tokens_to_ids(WHISPER)))
    special = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ids[END])
    special["decoder_start_token_id"] = ids[START]
    network = whisper(vocab_size=len(processor.tokenizer), **special)
    network.generation_config = hub.GenerationConfig(
        is_multilingual=True,
        lang_to_id={name: ids[name] for name in (ENGLISH, FRENCH)},
        task_to_id={"translate": ids[TRANSLATE], "transcribe": ids[TRANSCRIBE]},
        no_timestamps_token_id=ids[NO_TIMESTAMPS],
        max_length=16,
        **special,
    )
    train(network, 100, 0.005, **tones_and_labels(processor, ids))
    network.save_pretrained(folder)


def whisper(**options: int) -> hub.WhisperForConditionalGeneration:
    config = hub.WhisperConfig(
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
        **options,
    )
    return hub.WhisperForConditionalGeneration(config)


def whisper_processor(folder: Path) -> hub.WhisperProcessor:
    """Write and return a processor whose tokens are single letters."""
    letters = ByteLevelBPETokenizer()
    letters.train_from_iterator(["a"], 256)
    letters.save_model(str(folder))
    tokenizer = hub.WhisperTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        additional_special_tokens=list(WHISPER[1:]),
    )
    extractor = hub.WhisperFeatureExtractor(feature_size=8, chunk_length=2)
    processor = hub.WhisperProcessor(extractor, tokenizer)
    processor.save_pretrained(folder)
    return processor


def tones_and_labels(processor: hub.WhisperProcessor, ids: dict[str, int]) -> dict:
    """Return low and high tones with the tokens of their names."""
    names = {150: "low", 200: "low", 300: "low"}
    names |= {1500: "high", 2000: "high", 3000: "high"}
    sounds = [tone(pitch) for pitch in names]
    features = processor(sounds, sampling_rate=16_000, return_tensors="pt")
    prompt = [ids[ENGLISH], ids[TRANSCRIBE], ids[NO_TIMESTAMPS]]
    labels = []
    for name in names.values():
        letters = processor.tokenizer.convert_tokens_to_ids([*name])
        ignored = [-100] * (len("high") - len(name))
        labels.append([*prompt, *letters, ids[END], *ignored])
    return {**features, "labels": torch.tensor(labels)}


CHAT = (
    "{% for message in messages %}User:{% for part in message['content'] %}"
    "{{ '<image>' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}Assistant:"
)
IMAGE_TOKENS = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")


def letter_tokenizer(special: dict | tuple) -> hub.PreTrainedTokenizerFast:
    """Return a tokenizer whose tokens are single letters and special ones."""
    letters = ByteLevelBPETokenizer()
    letters.train_from_iterator(["a"], 256)
    return hub.PreTrainedTokenizerFast(
        tokenizer_object=letters._tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=special if isinstance(special, dict) else [*special],
    )


def vision_language(folder: Path) -> None:
    """Write an Idefics3, which SmolVLM is, for 512 by 512 pixels."""
    tokenizer = letter_tokenizer((*IMAGE_TOKENS, "<global-img>"))
    ids = {"pad_token_id": tokenizer.pad_token_id}
    ids |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": 5}
    text = {**NARROW, **WIDE_RANGE, **ids, "num_key_value_heads": 1}
    text |= {"model_type": "llama", "vocab_size": len(tokenizer)}
    config = hub.Idefics3Config(
        text_config=text,
        vision_config={**NARROW, **WIDE_RANGE, "image_size": 512, "patch_size": 64},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=4,
        **ids,
    )
    images = hub.Idefics3ImageProcessorPil(
        size={"longest_edge": 2048}, max_image_size={"longest_edge": 512}
    )
    processor = hub.Idefics3Processor(
        images, tokenizer, image_seq_len=4, chat_template=CHAT
    )
    write(folder, hub.Idefics3ForConditionalGeneration, config, processor)


def florence2(folder: Path) -> None:
    tokenizer = letter_tokenizer({"image_token": "<image>"})
    tokenizer.add_tokens([f"<loc_{n}>" for n in range(1000)])
    ids = {"pad_token_id": tokenizer.pad_token_id}
    ids |= {"bos_token_id": tokenizer.bos_token_id}
    ids |= {"eos_token_id": tokenizer.eos_token_id}
    ids |= {"decoder_start_token_id": tokenizer.eos_token_id}
    text = {"model_type": "bart", "vocab_size": len(tokenizer), "d_model": 32, **ids}
    text |= {"max_position_embeddings": 1024, "init_std": 0.2}
    for part in ("encoder", "decoder"):
        text |= {f"{part}_layers": 1, f"{part}_attention_heads": 2}
        text[f"{part}_ffn_dim"] = 64
    vision = {"embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2]}
    vision |= {"num_groups": [1, 1, 2, 2], "depths": [1, 1, 1, 1]}
    config = hub.Florence2Config(
        text_config=text,
        vision_config={**vision, **WIDE_RANGE, "projection_dim": 32},
        image_token_id=tokenizer.image_token_id,
        **ids,
    )
    images = hub.CLIPImageProcessorPil(
        size={"height": 768, "width": 768}, do_center_crop=False
    )
    images.image_seq_length = 577
    parts = {"pure_text": {}, "description_with_bboxes": {}}
    processor = hub.Florence2Processor(images, tokenizer, post_processor_config=parts)
    write(folder, hub.Florence2ForConditionalGeneration, config, processor)


def depth(folder: Path) -> None:
    stages = ["stage1", "stage2"]
    backbone = hub.Dinov2Config(
        **NARROW,
        **WIDE_RANGE,
        image_size=518,
        patch_size=14,
        out_features=stages,
        reshape_hidden_states=False,
    )
    config = hub.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        reassemble_factors=[2, 1],
        neck_hidden_sizes=[8, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        **WIDE_RANGE,
    )
    processor = hub.DPTImageProcessorPil(
        size={"height": 518, "width": 518},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
    )
    write(folder, hub.DepthAnythingForDepthEstimation, config, processor)


def super_resolution(folder: Path) -> None:
    sizes = {"embed_dim": 12, "depths": [2], "num_heads": [2], "upscale": 2}
    config = hub.Swin2SRConfig(**sizes, **WIDE_RANGE)
    processor = hub.Swin2SRImageProcessorPil()
    write(folder, hub.Swin2SRForImageSuperResolution, config, processor)


def rerank(folder: Path) -> None:
    words = (*SPECIAL, "who", "barks", "?", "a", "dog", "cat", "sleeps", "the", "moon")
    vocabulary = {word: token_id for token_id, word in enumerate(words)}
    tokenizer = hub.BertTokenizer(vocabulary, model_max_length=64)
    config = hub.BertConfig(
        **NARROW, **WIDE_RANGE, vocab_size=len(words), num_labels=1, type_vocab_size=2
    )
    write(folder, hub.BertForSequenceClassification, config, tokenizer)
