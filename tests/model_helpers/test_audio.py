"""Uploads to audio samples: rates, channels, limits and corrupt files."""

import io
import itertools
import random

import numpy as np
import pytest
from werkzeug.exceptions import HTTPException

from model_helpers.slots import MAX_CPU_SECONDS
from model_interface.files import Upload
from tests.stress import fuzz_images
from tests.support.images import make_image
from tests.support.uploads import refusal

soundfile = pytest.importorskip("soundfile")
module = pytest.importorskip("model_helpers.audio")


def make_audio(seconds=1.0, rate=16_000, kind="WAV", channels=1, **options) -> bytes:
    """Return a file with a tone of 440 Hz at half of full scale."""
    tone = np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate) / 2
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, format=kind, **options) as out:
        for start in range(0, len(tone), rate):  # OGG crashes on a long block.
            part = tone[start : start + rate, None]
            out.write(part.repeat(channels, 1))
    return file.getvalue()


def decode(data: bytes, **limits) -> np.ndarray:
    return module.decode_audio(Upload(data), 16_000, **limits)


def pitch(samples: np.ndarray) -> float:
    """Return the strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples))
    return spectrum.argmax() * 16_000 / len(samples)


@pytest.mark.parametrize("kind", ("WAV", "FLAC", "OGG", "WAVEX"))
@pytest.mark.parametrize("rate", (8_000, 16_000, 44_100, 48_000, 96_000))
@pytest.mark.parametrize("channels", (1, 2))
def test_audio_is_resampled_to_one_channel(kind, rate, channels):
    samples = decode(make_audio(kind=kind, rate=rate, channels=channels))
    assert (samples.dtype, len(samples)) == (np.float32, 16_000)
    assert abs(pitch(samples) - 440) < 2
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.08)


def test_resampling_keeps_the_waveform():
    resampled = decode(make_audio(rate=44_100, subtype="FLOAT"))
    expected = decode(make_audio(rate=16_000, subtype="FLOAT"))
    assert np.abs(resampled - expected)[200:-200].max() < 0.005


def test_resampling_removes_frequencies_above_the_new_rate():
    file, times = io.BytesIO(), np.arange(48_000) / 48_000
    soundfile.write(file, np.sin(2 * np.pi * 10_000 * times), 48_000, format="WAV")
    assert np.abs(decode(file.getvalue())[200:-200]).max() < 0.01


def test_unusual_rate_and_length_keep_the_duration():
    samples = decode(make_audio(0.50003, rate=44_101))
    assert abs(len(samples) - 0.50003 * 16_000) < 1


@pytest.mark.parametrize("kind", ("FLAC", "OGG"))
def test_small_file_with_long_silence_is_refused_by_its_header(monkeypatch, kind):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format=kind) as out:
        for _ in range(600):
            out.write(np.zeros(8_000))
    assert len(file.getvalue()) < 50_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    status, sentence = refusal(decode, file.getvalue())
    assert (status, "60 seconds" in sentence) == (413, True)


def test_flac_without_a_declared_length_is_read_up_to_the_limit():
    data = bytearray(make_audio(3, kind="FLAC"))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    assert len(decode(bytes(data))) == 48_000
    assert refusal(decode, bytes(data), max_seconds=2)[0] == 413


def test_audio_of_exactly_the_limit_is_decoded():
    assert len(decode(make_audio(2), max_seconds=2)) == 32_000
    assert refusal(decode, make_audio(2.01), max_seconds=2) == (
        413,
        "The audio lasts over 2 seconds: cut it.",
    )


def test_too_high_a_sample_rate_is_refused_with_both_rates():
    status, sentence = refusal(decode, make_audio(0.1, rate=384_000))
    assert (status, "384,000" in sentence, "192,000" in sentence) == (413, True, True)


def test_audio_without_samples_is_refused():
    assert refusal(decode, make_audio(0)) == (422, "The audio is empty.")


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
def test_audio_with_samples_that_are_not_finite_is_refused(value):
    data = make_audio(subtype="FLOAT")
    assert refusal(decode, data[:-4] + np.float32(value).tobytes())[0] == 422


def test_audio_over_full_scale_is_clipped():
    data = make_audio(rate=16_000, subtype="FLOAT")
    assert decode(data[:-4] + np.float32(3e38).tobytes())[-1] == 1


@pytest.mark.parametrize(
    "data", (b"", b"hello", make_image(kind="JPEG"), b"FORM\0\0\0\0AIFF", b"ID3\4")
)
def test_unsupported_file_is_refused_with_the_supported_formats(data):
    status, sentence = refusal(decode, data)
    assert (status, "WAV, FLAC or OGG" in sentence) == (415, True)


def test_truncated_audio_is_refused():
    assert refusal(decode, make_audio(5, kind="FLAC")[:30_000])[0] == 422
    assert refusal(decode, make_audio(kind="OGG")[:100])[0] == 422
    assert refusal(decode, make_audio()[:30])[0] == 422
    assert refusal(decode, make_audio()[:44])[0] == 422  # only a header


def test_ogg_that_takes_long_to_search_is_given_up(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("time.thread_time", lambda: next(clock) / 1000)
    data = make_audio(60, kind="OGG")[:20_000] + b"OggS" * 4_000_000
    with pytest.raises(HTTPException):
        decode(data)
    assert next(clock) < 2 * 1000 * MAX_CPU_SECONDS


def test_randomly_damaged_files_are_decoded_or_refused():
    chance, outcomes = random.Random(0), set()
    seeds = [make_audio(0.3, kind=kind) for kind in ("WAV", "FLAC", "OGG")]
    for _ in range(1500):
        data = fuzz_images.damaged(chance.choice(seeds), chance, chance.choice((1, 2)))
        try:
            outcomes.add(decode(data).dtype.name)
        except HTTPException as error:
            outcomes.add(error.code)
    assert outcomes == {"float32", 413, 415, 422}
