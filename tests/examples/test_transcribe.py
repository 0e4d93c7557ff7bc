"""The speech example, served with a tiny model that calls tones low or high."""

import base64
import json
from pathlib import Path

import pytest
import torch

from model_interface.files import Upload
from tests.examples.serving import (
    PAGE,
    assert_batch_equals_singles,
    assert_is_described,
    assert_log_is_quiet,
    serve,
)
from tests.examples.tiny_checkpoints import tone

soundfile = pytest.importorskip("soundfile")


def record(file: Path, pitch: float, seconds=1.0, rate=16_000, channels=1) -> Path:
    """Write a tone to a file and return the file."""
    samples = tone(pitch, seconds, rate)[:, None].repeat(channels, 1)
    soundfile.write(file, samples, rate)
    return file


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve("transcribe", tmp_path_factory.mktemp("transcribe")) as example:
        yield example


@pytest.mark.parametrize("kind", ("wav", "flac", "ogg"))
@pytest.mark.parametrize("rate", (8_000, 16_000, 44_100, 48_000))
def test_audio_of_any_rate_is_transcribed(served, tmp_path, kind, rate):
    low = record(tmp_path / f"low.{kind}", 220, rate=rate, channels=2)
    high = record(tmp_path / f"high.{kind}", 2200, rate=rate)
    assert served.predict(low, high, accept=()) == "low\nhigh\n"


def test_audio_can_be_sent_in_any_form(served, tmp_path):
    file, body = record(tmp_path / "a.wav", 200), tmp_path / "body.json"
    text = base64.b64encode(file.read_bytes()).decode()
    body.write_text(json.dumps({"audio": text}))
    requests = [
        ("-F", f"audio=@{file}"),
        ("-T", file),
        ("--json", f"@{body}"),
        ("--data-binary", f"@{file}"),
    ]
    for arguments in requests:
        assert served.json(*arguments, "/predict") == {"text": "low"}


def test_batch_equals_single_recordings(served, tmp_path):
    pitches = (180, 2500, 1700, 250)
    files = [record(tmp_path / f"{x}.flac", x, x / 2000) for x in pitches]
    assert_batch_equals_singles(served, files)


def test_audio_is_transcribed_in_bfloat16(served, tmp_path, monkeypatch):
    from examples import transcribe

    monkeypatch.setattr(transcribe, "fast_dtype", lambda device: torch.bfloat16)
    monkeypatch.setenv("ENDPOINT_MODEL", str(served.model))
    model = transcribe.Model("cpu")
    assert model.network.dtype == torch.bfloat16
    tones = [record(tmp_path / f"{pitch}.wav", pitch) for pitch in (220, 2200)]
    inputs = [model.decode(Upload(tone.read_bytes())) for tone in tones]
    answers = [model.encode(text)["text"] for text in model.predict(inputs)]
    assert answers == ["low", "high"]


def test_bad_audio_is_refused(served, tmp_path):
    complete = record(tmp_path / "a.flac", 300, 2).read_bytes()
    too_long = record(tmp_path / "b.flac", 0, 30.1).read_bytes()
    bad = {
        "400": b"",
        "415": b"hello",
        "422": complete[: len(complete) // 2],
        "413": too_long,
    }
    for status, data in bad.items():
        assert served.refusal(data, tmp_path / "bad") == status
    answer = served.json("-T", tmp_path / "b.flac", "/predict")
    assert "30 seconds" in answer["detail"]


def test_index_shows_how_to_send_audio(served):
    index = served.json("/")
    assert index["accepts"] == "audio/*" and "audio.wav" in index["use"]
    assert "<form" in served.curl(*PAGE, "/")


def test_input_is_described(served, tmp_path):
    assert_is_described(served, record(tmp_path / "low.wav", 200), field="audio")


def test_log_is_quiet(served):
    assert_log_is_quiet(served)
