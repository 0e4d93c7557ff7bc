"""Requests to uploads; uploads to images, text and sound; no server, no model."""

import io
import random
import struct
import time

import numpy as np
import pytest
from PIL import Image
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from endpoint import uploads as inputs
from endpoint.decoders.audio import decode_audio
from endpoint.decoders.image import decode_image
from endpoint.decoders.text import decode_text
from endpoint.uploads import Upload
from tests.stress import corpus
from tests.stress import fuzz_images as fuzz_inputs

PICTURE = corpus.jpeg()
FORM = "multipart/form-data"
TEXT = corpus.base64_text(PICTURE)
RED, GREEN, BLUE, WHITE = (254, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# Pillow warns of what it forgives; a server does not show it.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


class Limited(Request):
    max_content_length = 100_000
    max_form_parts = 10


def sent(accepts: str = "image/*", **how) -> list[Upload]:
    environ = EnvironBuilder(method="POST", **how).get_environ()
    return inputs.uploads(Limited(environ), accepts)


def opened(data: bytes) -> Image.Image:
    return decode_image(Upload(data))


def refusal(call, *arguments, **named) -> tuple[int, str]:
    """Return the status and the sentence with which a call is refused."""
    with pytest.raises(HTTPException) as refused:
        call(*arguments, **named)
    return refused.value.code, refused.value.description


def one_pixel(mode: str, colour: object, kind: str = "PNG", **options) -> tuple:
    """Return what becomes of a picture of one colour."""
    image = Image.new(mode, (8, 8), colour)
    return opened(corpus.saved(image, kind, **options)).getpixel((4, 4))


@pytest.mark.parametrize(
    "how",
    (
        {"data": PICTURE},
        {"data": PICTURE, "content_type": "image/jpeg"},
        {"data": PICTURE, "content_type": "application/x-www-form-urlencoded"},
        {"data": {"file": (io.BytesIO(PICTURE), "x.jpg")}},
        {"data": {"image": (io.BytesIO(PICTURE), "../x")}},
        {"json": {"image": TEXT}},
        {"json": {"file": f"data:image/jpeg;base64,{TEXT}"}},
        {"json": {"image": f"{TEXT[:60]}\r\n{TEXT[60:]}\n"}},
    ),
    ids=str,
)
def test_every_way_of_sending_gives_the_same_bytes(how):
    (upload,) = sent(**how)
    assert upload.data == PICTURE


def test_files_keep_their_order():
    files = [(io.BytesIO(name), "x.jpg") for name in (b"one", b"two", b"three")]
    assert [upload.data for upload in sent(data={"file": files})] == [
        b"one",
        b"two",
        b"three",
    ]


def test_other_values_come_along():
    (upload,) = sent(
        query_string="a=1", data={"b": "2", "file": (io.BytesIO(b"."), "x")}
    )
    assert upload.fields.to_dict() == {"a": "1", "b": "2"}
    (upload,) = sent(query_string="a=1", json={"image": TEXT, "labels": ["x", "y"]})
    assert upload.fields.getlist("labels") == ["x", "y"]
    (upload,) = sent(query_string="a=1", data=PICTURE)
    assert upload.fields["a"] == "1"


def test_media_type_is_the_senders():
    (upload,) = sent(data={"file": (io.BytesIO(b"."), "x", "audio/wav")})
    assert upload.media_type == "audio/wav"
    (upload,) = sent(json={"image": TEXT})
    assert upload.media_type == "application/octet-stream"
    (upload,) = sent(json={"image": f"data:image/webp;base64,{TEXT}"})
    assert upload.media_type == "image/webp"


@pytest.mark.parametrize(
    "how, advice",
    (
        ({"data": b""}, "curl -F file=@picture.jpg"),
        (
            {"data": {"note": "hello"}, "content_type": FORM},
            "curl -F file=@picture.jpg",
        ),
        ({"data": {"file": "x.jpg"}, "content_type": FORM}, "an @ is missing"),
        ({"json": [TEXT]}, '{"image": "<base64>"}'),
        ({"json": {"image": 5}}, '{"image": "<base64>"}'),
        ({"json": {"image": "no base64!"}}, "base64"),
        ({"json": {"image": "data:image/svg+xml,<svg/>"}}, "data: URI"),
    ),
    ids=str,
)
def test_request_without_a_picture_is_told_what_to_send(how, advice):
    status, sentence = refusal(sent, **how)
    assert status == 400 and advice in sentence


@pytest.mark.parametrize("body", (b"[" * 50_000, b"{", b'{"a": ' + b"9" * 5000 + b"}"))
def test_json_that_cannot_be_read_is_refused(body):
    assert refusal(sent, data=body, content_type="application/json")[0] == 400


def test_flood_of_json_values_is_not_even_parsed(monkeypatch):
    monkeypatch.setattr(Limited, "get_json", None)
    flood = b'{"image": [' + b"0," * 20_000 + b"0]}"
    assert refusal(sent, data=flood, content_type="application/json")[0] == 400


def test_body_over_the_limit_is_refused_whether_its_length_is_told_or_not():
    body = {"data": bytes(100_001), "content_type": "image/jpeg"}
    environ = EnvironBuilder(method="POST", **body).get_environ()
    assert refusal(inputs.uploads, Limited(environ))[0] == 413
    del environ["CONTENT_LENGTH"]
    environ |= {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    status, sentence = refusal(inputs.uploads, Limited(environ))
    assert (status, "100,000 bytes" in sentence) == (413, True)


def test_body_of_just_the_limit_is_taken():
    (upload,) = sent(data=bytes(100_000), content_type="image/jpeg")
    assert len(upload.data) == 100_000


def test_form_of_too_many_parts_is_refused():
    files = [(io.BytesIO(b"."), "x.jpg")] * 11
    status, sentence = refusal(sent, data={"file": files})
    assert (status, "10 files" in sentence) == (413, True)


@pytest.mark.parametrize("is_terminated", (False, True))
def test_body_that_ends_early_is_refused(is_terminated):
    environ = EnvironBuilder(method="POST", data=PICTURE).get_environ()
    environ["CONTENT_LENGTH"] = str(len(PICTURE) + 1)
    if is_terminated:
        environ["wsgi.input_terminated"] = True
    assert refusal(inputs.uploads, Limited(environ))[0] == 400


@pytest.mark.parametrize("kind", ("JPEG", "PNG", "WEBP", "TIFF"))
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photograph_is_turned_upright(kind, orientation):
    turns = (None, None, 0, 3, 1, 5, 2, 6, 4)  # from upright to how the file lies
    upright = Image.new("L", (32, 16))
    upright.paste(255, (0, 0, 16, 8))
    turn = turns[orientation]
    lying = upright if turn is None else upright.transpose(turn)
    if kind == "TIFF":
        data = corpus.saved(lying, kind, tiffinfo={0x0112: orientation})
    else:
        data = corpus.saved(lying, kind, exif=corpus.exif(orientation))
    seen = np.asarray(opened(data).convert("L"), int)
    assert seen.shape == (16, 32)
    assert abs(seen - np.asarray(upright, int)).max() < 20


def test_broken_exif_leaves_a_good_picture_alone():
    block = bytearray(corpus.directory((0x0112, 3, 1, 6), (0x0112, 5, 9, 2**31)))
    sizes = set()
    for place in range(len(block)):
        for value in (0, 1, 0x7F, 0xFF):
            broken = bytes(block[:place] + bytes([value]) + block[place + 1 :])
            sizes.add(opened(corpus.with_exif(broken)).size)
            sizes.add(opened(corpus.with_exif(broken[:place])).size)
    assert sizes == {(64, 48), (48, 64)}


def test_transparency_turns_white():
    assert one_pixel("RGBA", (255, 0, 0, 0)) == WHITE
    assert one_pixel("RGBA", (0, 0, 255, 255)) == BLUE
    assert one_pixel("RGBA", (0, 0, 0, 128)) == (127, 127, 127)
    assert one_pixel("LA", (0, 0)) == WHITE
    assert one_pixel("RGBA", (9, 9, 9, 0), "WEBP", lossless=True) == WHITE
    assert one_pixel("RGB", (1, 2, 3), transparency=(1, 2, 3)) == WHITE
    assert one_pixel("L", 7, transparency=7) == WHITE


@pytest.mark.parametrize("kind", ("PNG", "GIF"))
def test_palette_may_hold_transparency(kind):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    seen = opened(corpus.saved(image, kind, transparency=1)).getpixel((0, 0))
    assert seen == WHITE
    assert opened(corpus.saved(image, kind)).getpixel((0, 0)) == GREEN


def test_palette_may_be_half_transparent():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, 0, 0, 0])
    data = corpus.saved(image, "PNG", transparency=bytes((255, 128)))
    assert opened(data).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ("PNG", "TIFF"))
@pytest.mark.parametrize("order", ("<u2", ">u2"))
def test_sixteen_bits_are_scaled_not_clipped(kind, order):
    values = np.array([[0, 0x1234, 0x8000, 0xFFFF]], order)
    image = opened(corpus.saved(Image.fromarray(values), kind))
    assert [red for red, *_ in image.get_flattened_data()] == [0, 0x12, 0x80, 0xFF]


def test_sixteen_bits_of_colour_are_scaled():
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x0100)
    assert opened(corpus.png_of(1, 1, row, header=(16, 2, 0, 0, 0))).getpixel(
        (0, 0)
    ) == (
        255,
        128,
        1,
    )


@pytest.mark.parametrize("kind", (np.int32, np.float32))
def test_modes_without_a_white_are_stretched(kind):
    values = np.array([[-1000, 0, 1000]]).astype(kind)
    image = opened(corpus.saved(Image.fromarray(values), "TIFF"))
    assert [red for red, *_ in image.get_flattened_data()] == [0, 127, 255]


@pytest.mark.parametrize(
    "values",
    (
        [np.nan, 1, 2],
        [np.inf, -np.inf, 0],
        [3.4e38, -3.4e38, 0],
        [1e-45, 0, 0],
        [5, 5, 5],
        [np.nan, np.nan, np.nan],
    ),
    ids=str,
)
def test_floats_that_are_no_numbers_do_no_harm(values):
    data = corpus.saved(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert opened(data).size == (3, 1)


def test_print_colours_become_light():
    assert one_pixel("CMYK", (0, 255, 255, 0), "JPEG", quality=95)[0] > 240
    assert one_pixel("CMYK", (0, 0, 0, 0), "TIFF") == WHITE
    assert one_pixel("CMYK", (0, 0, 0, 255), "TIFF") == (0, 0, 0)


def test_premultiplied_grey_turns_white():
    grey = corpus.saved(Image.new("LA", (8, 8), (0, 0)), "TIFF")
    premultiplied = grey.replace(
        b"\x52\x01\x03\0\1\0\0\0\2", b"\x52\x01\x03\0\1\0\0\0\1"
    )
    assert premultiplied != grey
    assert opened(premultiplied).getpixel((0, 0)) == WHITE


def test_one_bit_is_black_and_white():
    assert one_pixel("1", 1) == WHITE
    assert one_pixel("1", 0, "TIFF", compression="group4") == (0, 0, 0)


@pytest.mark.parametrize("kind", ("GIF", "PNG", "WEBP", "TIFF"))
def test_first_frame_is_the_picture(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = corpus.saved(
        frames[0], kind, save_all=True, append_images=frames[1:], **lossless
    )
    assert opened(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ("HSV", "PA", "La", "RGBa", "RGBX", "YCbCr", "LAB"))
def test_modes_that_few_files_hold_become_rgb(mode):
    assert inputs._rgb(Image.new(mode, (2, 2))).mode == "RGB"


@pytest.mark.parametrize("name", corpus.seeds())
def test_every_kind_of_file_is_decoded_whole(name):
    image = opened(corpus.seeds()[name])
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.ptp(np.asarray(image)) > 0 or name in ("png interlaced", "bmp runs")


def test_pixels_are_counted_before_they_are_decoded(monkeypatch):
    monkeypatch.setattr(inputs, "_pixels", 64 * 48 - 1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    for name, data in corpus.seeds().items():
        status, sentence = refusal(opened, data)
        assert (status, "3,071 pixels" in sentence) == (413, True), name


def test_pixel_limit_holds_where_another_library_lifts_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(inputs, "_pixels", 64 * 48 - 1)
    assert refusal(opened, PICTURE)[0] == 413


def test_pixel_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(inputs, "_pixels", 64 * 48)
    assert opened(PICTURE).size == (64, 48)


def test_limit_pixels_sets_the_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setattr(inputs, "_pixels", inputs._pixels)
    inputs.limit_pixels(1000)
    assert refusal(opened, PICTURE)[0] == 413
    assert refusal(opened, corpus.gif_of((8, 8), (9000, 9000)))[0] == 413


@pytest.mark.parametrize("size, scans", (((7000, 7000), 1000), ((8, 8), 250_000)))
def test_jpeg_of_countless_scans_is_refused_at_once(size, scans):
    data = corpus.scanned(*size, scans)
    started = time.thread_time()
    assert refusal(opened, data)[0] == 422
    assert time.thread_time() - started < 0.5


def test_slow_file_is_given_up(monkeypatch):
    monkeypatch.setattr(inputs, "SECONDS", 0.1)
    data = corpus.with_segments(b"\xff\xe0\0\2" * 1_000_000)
    started = time.thread_time()
    assert refusal(opened, data)[0] == 422
    assert time.thread_time() - started < 0.5


def test_tiff_of_countless_strips_is_refused_at_once():
    strips = corpus.tiff_of(64, 48, (273, 4, 2_000_000, 8), (278, 4, 1, 1))
    started = time.thread_time()
    assert refusal(opened, strips + b"\1\0\0\0" * 2_000_000)[0] == 422
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize("data", (b"", b"hello", b"<svg/>", b"%PDF-1.4", b"%!PS-Adobe"))
def test_file_that_is_no_picture_is_told_the_formats(data):
    status, sentence = refusal(opened, data)
    assert (status, "JPEG, PNG" in sentence) == (415, True)


def test_picture_cut_short_is_refused():
    for name, data in corpus.seeds().items():
        if name not in ("png animated", "tiff pages"):  # Their first frame is whole.
            assert refusal(opened, data[: len(data) // 2])[0] in (415, 422), name


def test_lack_of_memory_is_not_the_pictures_fault(monkeypatch):
    def fail(picture):
        raise MemoryError

    monkeypatch.setattr(inputs, "_rgb", fail)
    with pytest.raises(MemoryError):
        opened(PICTURE)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damage_at_random_brings_out_nothing_but_pictures_and_refusals():
    figures = fuzz_inputs.run(cases=2000, seed=0, seconds=15)
    assert not figures.failures, str(figures)
    assert (
        figures.outcomes["a picture"] and figures.outcomes["422 Unprocessable Entity"]
    )


TEXT_KIND, SOUND_KIND = "text/plain", "audio/*"
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "how",
    (
        {"json": {"text": " so good\n"}},
        {"data": {"text": "so good"}, "content_type": FORM},
        {"data": {"file": (io.BytesIO(b"so good"), "x.txt")}},
        {"data": b"so good\n", "content_type": "text/plain"},
        {"data": b"so good", "content_type": URLENCODED},
        {"data": b"text=so+good", "content_type": URLENCODED},
        {"data": "\ufeffso good".encode(), "content_type": "text/plain"},
    ),
    ids=str,
)
def test_every_way_of_sending_a_text_gives_the_same(how):
    (upload,) = sent(TEXT_KIND, **how)
    assert decode_text(upload) == "so good"


def test_other_values_come_along_with_a_text():
    for how in ({"json": {"text": "a", "n": 2}}, {"data": "text=a&n=2"}):
        kind = {} if "json" in how else {"content_type": URLENCODED}
        (upload,) = sent(TEXT_KIND, query_string="m=3", **how, **kind)
        assert (str(upload.fields["n"]), upload.fields["m"]) == ("2", "3")


@pytest.mark.parametrize(
    "how, status, part",
    (
        ({"json": {"text": ""}}, 400, '{"text": "..."}'),
        ({"json": {"text": 5}}, 400, "Send one text"),
        ({"json": {"text": None}}, 400, "Send one text"),
        ({"json": {"text": ["a", "b"]}}, 400, "Send one text"),
        ({"json": {"words": "a"}}, 400, "Send one text"),
        ({"json": {"text": "a\ud800"}}, 415, "UTF-8"),
        ({"json": ["a"]}, 400, '{"text": "..."}'),
        ({"data": "{", "content_type": "application/json"}, 400, '{"text": "..."}'),
        ({"data": {"note": "a"}, "content_type": FORM}, 400, "Send one text"),
        ({"data": b""}, 400, "empty"),
        ({"data": b" \n "}, 400, "Send one text"),
        ({"data": PICTURE}, 415, "UTF-8"),
        ({"data": b"a" * 10_001}, 413, "10,000 characters"),
    ),
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_text_is_refused(how, status, part):
    code, sentence = refusal(
        lambda: [decode_text(each) for each in sent("text/*", **how)]
    )
    assert (code, part in sentence) == (status, True)


def test_length_of_a_text_is_the_models_to_limit():
    upload = Upload(b"", fields=MultiDict({"text": "word"}))
    assert decode_text(upload, longest=4) == "word"
    assert refusal(inputs.text, upload, longest=3)[0] == 413


def sound(seconds=1.0, rate=16_000, kind="WAV", channels=1, **how) -> bytes:
    """Return a file of a tone of 440 Hz, at half of full scale."""
    soundfile = pytest.importorskip("soundfile")
    tone = np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate) / 2
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, channels, format=kind, **how) as written:
        for start in range(0, len(tone), rate):  # At once would crash its OGG.
            part = tone[start : start + rate, None]
            written.write(part.repeat(channels, 1))
    return file.getvalue()


def heard(data: bytes, **limits) -> np.ndarray:
    return decode_audio(Upload(data), 16_000, **limits)


def pitch(samples: np.ndarray) -> float:
    """Return the strongest frequency."""
    spectrum = np.abs(np.fft.rfft(samples))
    return spectrum.argmax() * 16_000 / len(samples)


@pytest.mark.parametrize("kind", ("WAV", "FLAC", "OGG", "WAVEX"))
@pytest.mark.parametrize("rate", (8_000, 16_000, 44_100, 48_000, 96_000))
@pytest.mark.parametrize("channels", (1, 2))
def test_sound_comes_at_the_rate_asked_for(kind, rate, channels):
    samples = heard(sound(kind=kind, rate=rate, channels=channels))
    assert (samples.dtype, len(samples)) == (np.float32, 16_000)
    assert abs(pitch(samples) - 440) < 2
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.08)


def test_resampled_sound_is_the_sound_drawn_anew():
    given, wanted = (
        heard(sound(rate=rate, subtype="FLOAT")) for rate in (44_100, 16_000)
    )
    inner = slice(200, -200)
    assert np.abs(given - wanted)[inner].max() < 0.005


def test_frequencies_above_the_new_rate_do_not_fold_back():
    soundfile = pytest.importorskip("soundfile")
    file, time_ = io.BytesIO(), np.arange(48_000) / 48_000
    soundfile.write(file, np.sin(2 * np.pi * 10_000 * time_), 48_000, format="WAV")
    assert np.abs(heard(file.getvalue())[200:-200]).max() < 0.01


def test_odd_rate_and_odd_length_keep_the_time():
    assert len(heard(sound(0.50003, rate=44_101))) == 8001


@pytest.mark.parametrize("kind", ("FLAC", "OGG"))
def test_small_file_of_much_silence_is_refused_by_its_header(monkeypatch, kind):
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8_000, 1, format=kind) as written:
        for _ in range(600):
            written.write(np.zeros(8_000))
    assert len(file.getvalue()) < 50_000
    monkeypatch.setattr(soundfile.SoundFile, "read", None)
    status, sentence = refusal(heard, file.getvalue())
    assert (status, "60 seconds" in sentence) == (413, True)


def test_flac_that_does_not_tell_its_length_is_read_up_to_the_limit():
    data = bytearray(sound(3, kind="FLAC"))
    data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
    assert len(heard(bytes(data))) == 48_000
    assert refusal(heard, bytes(data), longest=2)[0] == 413


def test_limit_of_seconds_itself_is_allowed():
    assert len(heard(sound(2), longest=2)) == 32_000
    assert refusal(heard, sound(2.01), longest=2) == (
        413,
        "The recording lasts over 2 seconds: cut it.",
    )


def test_too_many_samples_a_second_are_refused_with_both_numbers():
    status, sentence = refusal(heard, sound(0.1, rate=384_000))
    assert (status, "384,000" in sentence, "192,000" in sentence) == (413, True, True)


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
def test_sound_of_values_that_are_no_numbers_is_refused(value):
    data = sound(subtype="FLOAT")
    broken = data[:-4] + np.float32(value).tobytes()
    assert refusal(heard, broken)[0] == 422


def test_sound_over_full_scale_is_clipped():
    data = sound(rate=16_000, subtype="FLOAT")
    assert heard(data[:-4] + np.float32(3e38).tobytes())[-1] == 1


@pytest.mark.parametrize(
    "data", (b"", b"hello", PICTURE, b"FORM\0\0\0\0AIFF", b"ID3\4")
)
def test_file_that_is_no_recording_is_told_the_formats(data):
    pytest.importorskip("soundfile")
    status, sentence = refusal(heard, data)
    assert (status, "WAV, FLAC or OGG" in sentence) == (415, True)


def test_recording_cut_short_is_refused():
    assert refusal(heard, sound(5, kind="FLAC")[:30_000])[0] == 422
    assert refusal(heard, sound(kind="OGG")[:100])[0] == 422
    assert refusal(heard, sound()[:30])[0] == 422
    assert refusal(heard, sound()[:44])[0] == 422  # a header alone


def test_ogg_that_is_searched_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(inputs, "SECONDS", 0.2)
    data = sound(60, kind="OGG")[:20_000] + b"OggS" * 4_000_000
    started = time.thread_time()
    with pytest.raises(HTTPException):
        heard(data)
    assert time.thread_time() - started < 1


def test_sound_is_sent_like_a_picture():
    pytest.importorskip("soundfile")
    data = sound(0.1)
    (upload,) = sent(SOUND_KIND, json={"audio": corpus.base64_text(data)})
    assert upload.data == data
    (upload,) = sent(SOUND_KIND, data={"file": (io.BytesIO(data), "x.wav")})
    assert upload.data == data
    status, sentence = refusal(sent, SOUND_KIND, json={"image": TEXT})
    assert (status, '{"audio": "<base64>"}' in sentence) == (400, True)
    assert (
        "@recording.wav"
        in refusal(sent, SOUND_KIND, data={"file": "x"}, content_type=FORM)[1]
    )


def test_damage_at_random_brings_out_nothing_but_sounds_and_refusals():
    chance, outcomes = random.Random(0), set()
    seeds = [sound(0.3, kind=kind) for kind in ("WAV", "FLAC", "OGG")]
    for _ in range(1500):
        data = fuzz_inputs.damaged(chance.choice(seeds), chance, chance.choice((1, 2)))
        try:
            outcomes.add(heard(data).dtype.name)
        except HTTPException as error:
            outcomes.add(error.code)
    assert outcomes == {"float32", 413, 415, 422}
