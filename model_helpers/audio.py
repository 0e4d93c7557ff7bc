"""An upload to audio samples, or a 4xx; needs soundfile and soxr."""

import re
import time
from typing import Any

import numpy as np
import soundfile
import soxr
from werkzeug.exceptions import HTTPException, abort

from model_helpers.slots import TimedBytesIO, small_slots
from model_interface.files import Upload

AUDIO_MAGIC = re.compile(rb"(?s)fLaC|OggS|RIFF....WAVE")  # the first bytes of a file
MAX_SAMPLE_RATE = 192_000  # Hz
MAX_KNOWN_FRAMES = 1 << 62  # libsndfile reports a larger number for a stream


class TimedAudio(TimedBytesIO):
    """A file that ends at its deadline: no exception may pass through libsndfile."""

    def readinto(self, buffer: Any) -> int:
        return 0 if self.is_expired() else super().readinto(buffer)

    def is_expired(self) -> bool:
        return time.thread_time() > self.deadline


def decode_audio(upload: Upload, rate: int, max_seconds: float = 60.0) -> np.ndarray:
    """Return the upload's samples at `rate` Hz, or a 4xx.

    The channels are mixed to one of float32 (samples,), from -1 to 1.
    """
    if not AUDIO_MAGIC.match(upload.data):
        abort(415, "Not supported audio: send WAV, FLAC or OGG.")
    with small_slots:
        upload.check()
        return _decode(upload.data, rate, max_seconds)


def _decode(data: bytes, rate: int, max_seconds: float) -> np.ndarray:
    try:
        source = TimedAudio(data)
        with soundfile.SoundFile(source) as recording:
            if (has := recording.samplerate) > MAX_SAMPLE_RATE:
                abort(413, f"The audio has {has:,} Hz, over {MAX_SAMPLE_RATE:,}.")
            samples = _read_mono(recording, max_seconds)
        if source.is_expired():
            raise ValueError("decoding takes too long")
        return soxr.resample(samples, recording.samplerate, rate)
    except (HTTPException, MemoryError):
        raise
    except Exception:  # A decoder may raise anything on a corrupt file.
        abort(422, "The audio is corrupt or takes too long to decode.")


def _read_mono(recording: Any, max_seconds: float) -> np.ndarray:
    """Read a recording, its channels mixed, but no further than `max_seconds`."""
    declared_frames = recording.frames
    is_stream = declared_frames > MAX_KNOWN_FRAMES
    recording.seekable = lambda: False  # Seeking after each read fails at the end.
    max_frames, frames, blocks = int(max_seconds * recording.samplerate), 0, []
    too_long = f"The audio lasts over {max_seconds:g} seconds: cut it."
    if declared_frames > max_frames and not is_stream:
        abort(413, too_long)
    size = 1 + 1_000_000 // recording.channels  # frames
    while len(block := recording.read(size, dtype="float32", always_2d=True)):
        if not np.isfinite(block).all():
            raise ValueError("the samples are not finite")
        blocks.append(block.clip(-1, 1).mean(1))
        frames += len(block)
        if frames > max_frames:
            abort(413, too_long)
    if frames < declared_frames and not is_stream:
        raise ValueError("the file is truncated")
    if not blocks:
        abort(422, "The audio is empty.")
    return np.concatenate(blocks)
