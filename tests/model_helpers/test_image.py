"""Uploads to images: orientation, colours, transparency, limits and corrupt files."""

import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from endpoint.job_queue import DeadlineExceeded
from model_helpers import image as module
from model_helpers.image import decode_image
from model_helpers.slots import MAX_CPU_SECONDS, large_pool
from model_interface.files import Upload
from tests.stress import corpus, fuzz_images
from tests.support.uploads import refusal

JPEG = corpus.jpeg()  # 64 by 48
RED, GREEN, BLUE, WHITE = (254, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
BLACK, GREY = (0, 0, 0), (127, 127, 127)
# Pillow warns about what it tolerates; a server does not show that.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def decode(data: bytes) -> Image.Image:
    return decode_image(Upload(data))


def decode_colour(mode: str, colour: object, kind: str = "PNG", **options) -> tuple:
    """Return the decoded colour of a file that has one colour."""
    image = Image.new(mode, (8, 8), colour)
    return decode(corpus.saved(image, kind, **options)).getpixel((4, 4))


def red_channel(image: Image.Image) -> list[int]:
    return [red for red, *_ in image.get_flattened_data()]


@pytest.fixture
def loads(monkeypatch):
    """Record the images whose pixels are decoded."""
    loads = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    return loads


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
    pixels = np.asarray(decode(data).convert("L"), int)
    assert pixels.shape == (16, 32)
    assert abs(pixels - np.asarray(upright, int)).max() < 20


def test_corrupt_exif_does_not_spoil_an_image():
    block = bytearray(corpus.directory((0x0112, 3, 1, 6), (0x0112, 5, 9, 2**31)))
    sizes = set()
    for place in range(len(block)):
        for value in (0, 1, 0x7F, 0xFF):
            corrupt = bytes(block[:place] + bytes([value]) + block[place + 1 :])
            sizes.add(decode(corpus.with_exif(corrupt)).size)
            sizes.add(decode(corpus.with_exif(corrupt[:place])).size)
    assert sizes == {(64, 48), (48, 64)}


def test_transparent_pixels_become_white():
    assert decode_colour("RGBA", (255, 0, 0, 0)) == WHITE
    assert decode_colour("RGBA", (0, 0, 255, 255)) == BLUE
    assert decode_colour("RGBA", (0, 0, 0, 128)) == GREY
    assert decode_colour("LA", (0, 0)) == WHITE
    assert decode_colour("RGBA", (9, 9, 9, 0), "WEBP", lossless=True) == WHITE
    assert decode_colour("RGB", (1, 2, 3), transparency=(1, 2, 3)) == WHITE
    assert decode_colour("L", 7, transparency=7) == WHITE


@pytest.mark.parametrize("kind", ("PNG", "GIF"))
def test_palette_may_have_a_transparent_colour(kind):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    transparent = decode(corpus.saved(image, kind, transparency=1))
    assert transparent.getpixel((0, 0)) == WHITE
    assert decode(corpus.saved(image, kind)).getpixel((0, 0)) == GREEN


def test_palette_may_be_half_transparent():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([*RED, *BLACK])
    data = corpus.saved(image, "PNG", transparency=bytes((255, 128)))
    assert decode(data).getpixel((0, 0)) == GREY


@pytest.mark.parametrize("kind", ("PNG", "TIFF"))
@pytest.mark.parametrize("order", ("<u2", ">u2"))
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind, order):
    values = np.array([[0, 0x1234, 0x8000, 0xFFFF]], order)
    image = decode(corpus.saved(Image.fromarray(values), kind))
    assert red_channel(image) == [0, 0x12, 0x80, 0xFF]


def test_sixteen_bit_colour_is_scaled():
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0x0100)
    image = decode(corpus.png_of(1, 1, row, header=(16, 2, 0, 0, 0)))
    assert image.getpixel((0, 0)) == (255, 128, 1)


@pytest.mark.parametrize("kind", (np.int32, np.float32))
def test_modes_without_a_white_are_rescaled(kind):
    values = np.array([[-1000, 0, 1000]]).astype(kind)
    image = decode(corpus.saved(Image.fromarray(values), "TIFF"))
    assert red_channel(image) == [0, 127, 255]


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
def test_floats_that_are_not_finite_are_decoded(values):
    data = corpus.saved(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert decode(data).size == (3, 1)


def test_cmyk_becomes_rgb():
    assert decode_colour("CMYK", (0, 255, 255, 0), "JPEG", quality=95)[0] > 240
    assert decode_colour("CMYK", (0, 0, 0, 0), "TIFF") == WHITE
    assert decode_colour("CMYK", (0, 0, 0, 255), "TIFF") == BLACK


def test_transparent_premultiplied_grey_becomes_white():
    straight = corpus.saved(Image.new("LA", (8, 8), (0, 0)), "TIFF")
    extra_samples = b"\x52\x01\x03\0\1\0\0\0"  # a tag; 1 means premultiplied
    premultiplied = straight.replace(extra_samples + b"\2", extra_samples + b"\1")
    assert premultiplied != straight
    assert decode(premultiplied).getpixel((0, 0)) == WHITE


def test_one_bit_is_black_or_white():
    assert decode_colour("1", 1) == WHITE
    assert decode_colour("1", 0, "TIFF", compression="group4") == BLACK


@pytest.mark.parametrize("kind", ("GIF", "PNG", "WEBP", "TIFF"))
def test_first_frame_is_decoded(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options = {"save_all": True, "append_images": frames[1:]}
    options |= {"lossless": True} if kind == "WEBP" else {}
    data = corpus.saved(frames[0], kind, **options)
    assert decode(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ("HSV", "PA", "La", "RGBa", "RGBX", "YCbCr", "LAB"))
def test_rare_modes_become_rgb(mode):
    assert module._to_rgb(Image.new(mode, (2, 2))).mode == "RGB"


@pytest.mark.parametrize("name", corpus.seeds())
def test_every_kind_of_file_is_decoded(name):
    image = decode(corpus.seeds()[name])
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert np.ptp(np.asarray(image)) > 0 or name == "png interlaced"


def test_large_jpeg_is_decoded_at_a_fraction_of_its_size():
    upload = Upload(corpus.jpeg(1000, 800))
    assert decode_image(upload, min_side=200).size == (250, 200)
    assert decode_image(upload, min_side=201).size == (500, 400)
    assert decode_image(upload).size == (1000, 800)


@pytest.mark.attack(2)
def test_large_image_is_scaled_down_by_a_whole_number():
    image = Image.new("RGB", (2999, 2001), "red")
    upload = Upload(corpus.saved(image, "PNG"))
    assert decode_image(upload).size == image.size
    small = decode_image(upload, min_side=200)
    assert small.size == (300, 201)
    assert small.getcolors() == [(300 * 201, (255, 0, 0))]


@pytest.mark.attack(2)
def test_file_that_is_slow_to_decode_is_given_up(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("time.thread_time", lambda: next(clock) / 1000)
    data = corpus.with_segments(b"\xff\xe0\0\2" * 1_000_000)
    assert refusal(decode, data)[0] == 422
    assert next(clock) < 2 * 1000 * MAX_CPU_SECONDS


@pytest.mark.attack(2)
def test_only_large_images_wait_for_large_pool(monkeypatch):
    turns = []

    class Slots:
        def submit(self, function, *arguments):
            turns.append(function)
            return large_pool.submit(function, *arguments)

    monkeypatch.setattr(module, "large_pool", Slots())
    decode(corpus.png())
    decode_image(Upload(corpus.jpeg(4000, 3000)), min_side=448)
    assert turns == []
    large = Image.new("L", (2500, 2000), 7)
    assert decode(corpus.saved(large, "PNG")).getpixel((0, 0)) == (7, 7, 7)
    assert decode(corpus.jpeg(2500, 2000)).size == (2500, 2000)
    assert len(turns) == 2


@pytest.mark.attack(9)
def test_upload_that_nobody_waits_for_is_not_decoded(loads):
    def check():
        raise DeadlineExceeded

    with pytest.raises(DeadlineExceeded):
        decode_image(Upload(JPEG, check=check))
    assert loads == []


@pytest.mark.parametrize("data", (b"", b"hello", b"<svg/>", b"%PDF-1.4", b"%!PS-Adobe"))
def test_unsupported_file_is_refused_with_the_supported_formats(data):
    status, sentence = refusal(decode, data)
    assert (status, "JPEG, PNG" in sentence) == (415, True)


def test_truncated_image_is_refused():
    for name, data in corpus.seeds().items():
        if name not in ("png animated", "tiff pages"):  # Their first frame is whole.
            assert refusal(decode, data[: len(data) // 2])[0] in (415, 422), name


def test_lack_of_memory_does_not_refuse_the_image(monkeypatch):
    def fail(image):
        raise MemoryError

    monkeypatch.setattr(module, "_to_rgb", fail)
    with pytest.raises(MemoryError):
        decode(JPEG)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_randomly_damaged_files_are_decoded_or_refused():
    figures = fuzz_images.run(cases=2000, seed=0, seconds=15)
    assert not figures.failures, str(figures)
    assert figures.outcomes["422 Unprocessable Entity"]
    assert figures.outcomes["an image"]
