"""Images that are refused by their header, before their pixels are decoded."""

import struct

import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from model_helpers import image_header
from model_helpers.image import decode_image
from model_interface.files import Upload
from tests.stress import corpus
from tests.support.uploads import refusal

JPEG = corpus.jpeg()  # 64 by 48
# Pillow warns about what it tolerates; a server does not show that.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")


def decode(data: bytes) -> Image.Image:
    return decode_image(Upload(data))


@pytest.fixture
def loads(monkeypatch):
    """Record the images whose pixels are decoded."""
    loads = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", loads.append)
    return loads


def test_pixel_limit_is_checked_before_pixels_are_decoded(monkeypatch, loads):
    monkeypatch.setenv("ENDPOINT_MAX_PIXELS", str(64 * 48 - 1))
    for name, data in corpus.seeds().items():
        status, sentence = refusal(decode, data)
        assert (status, "3,071 pixels" in sentence) == (413, True), name
    assert loads == []


def test_pixel_limit_holds_where_a_library_lifts_pillows_own(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setenv("ENDPOINT_MAX_PIXELS", str(64 * 48 - 1))
    assert refusal(decode, JPEG)[0] == 413


def test_image_of_exactly_the_pixel_limit_is_decoded(monkeypatch):
    monkeypatch.setenv("ENDPOINT_MAX_PIXELS", str(64 * 48))
    assert decode(JPEG).size == (64, 48)


def test_pixel_limit_holds_for_frames_inside_a_file(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv("ENDPOINT_MAX_PIXELS", "1000")
    assert refusal(decode, JPEG)[0] == 413
    assert refusal(decode, corpus.gif_of((8, 8), (9000, 9000)))[0] == 413


@pytest.mark.attack(2)
@pytest.mark.parametrize("size, scans", (((7000, 7000), 1000), ((8, 8), 250_000)))
def test_jpeg_with_too_many_scans_is_refused_before_it_is_decoded(loads, size, scans):
    assert refusal(decode, corpus.scanned(*size, scans))[0] == 422
    assert loads == []


@pytest.mark.attack(2)
def test_image_with_a_very_long_side_is_refused_before_it_is_decoded(loads):
    for size in ((70_000, 1), (1, 70_000)):
        for kind in ("PNG", "TIFF", "BMP"):
            status, sentence = refusal(decode, corpus.saved(Image.new("L", size), kind))
            assert (status, "65,536 on one side" in sentence) == (413, True), kind
    assert loads == []


@pytest.mark.attack(2)
def test_run_length_encoded_bmp_is_refused_before_it_is_decoded(loads):
    status, sentence = refusal(decode, corpus.rle_bmp(64, 48, b"\x40\1\0\0" * 48))
    assert (status, "PNG" in sentence, loads) == (415, True, [])


def test_bmp_with_bit_masks_is_decoded():
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    data = corpus.bmp_of(2, 2, masks + b"\1\2\3\0" * 4, bits=32, packing=3)
    assert decode(data.replace(b"\x36\0\0\0\x28", b"\x42\0\0\0\x28")).size == (2, 2)


@pytest.mark.attack(2)
@pytest.mark.parametrize("sides", ((20_000, 20_000), (16, 10_000_000)))
def test_tile_much_larger_than_its_image_is_refused_before_it_is_decoded(loads, sides):
    tile = ((322, 4, 1, sides[0]), (323, 4, 1, sides[1]), corpus.TILES)
    assert refusal(decode, corpus.tiff_of(1, 1, *tile))[0] == 413
    assert loads == []


def many_fractions(tag: int) -> bytes:
    """Return a TIFF with a tag of 200,000 fractions, which is also an EXIF block."""
    file = corpus.tiff_of(1, 1, (tag, 5, 200_000, 500))
    return file.ljust(500, b"\0") + struct.pack("<II", 7, 3) * 200_000


@pytest.mark.attack(2)
@pytest.mark.parametrize("tag", (0x0112, 0x011A))
def test_tags_of_many_numbers_are_not_made_into_objects(monkeypatch, tag):
    fractions = []
    monkeypatch.setattr(TiffImagePlugin, "IFDRational", lambda *a: fractions.append(a))
    assert refusal(decode, many_fractions(tag))[0] == 422
    data = corpus.with_chunks(corpus.chunk(b"eXIf", many_fractions(tag)))
    assert decode(data).size == (64, 48)
    block = many_fractions(tag)  # In a JPEG it needs several segments.
    parts = [block[start : start + 65_000] for start in range(0, len(block), 65_000)]
    segments = [corpus.segment(0xE1, b"Exif\0\0" + part) for part in parts]
    assert decode(corpus.with_segments(*segments)).size == (64, 48)
    assert fractions == []


@pytest.mark.attack(2)
def test_exif_in_hundreds_of_segments_is_refused():
    segments = [corpus.segment(0xE1, b"Exif\0\0" + bytes(60_000))] * 300
    assert refusal(decode, corpus.with_segments(*segments))[0] == 422


@pytest.mark.attack(2)
def test_tiff_with_millions_of_strips_is_refused_before_it_is_decoded(loads):
    strips = corpus.tiff_of(64, 48, (273, 4, 2_000_000, 8), (278, 4, 1, 1))
    assert refusal(decode, strips + b"\1\0\0\0" * 2_000_000)[0] == 422
    assert loads == []


@pytest.mark.attack(2)
def test_tiff_of_jpeg_with_too_many_scans_is_refused():
    for scans, is_decoded in ((5, True), (50, False)):
        file = corpus.scanned(64, 64, scans)
        entries = ((259, 3, 1, 7), (273, 4, 1, 500), (279, 4, 1, len(file)))
        data = corpus.tiff_of(64, 64, *entries, (277, 3, 1, 1)).ljust(500, b"\0") + file
        if is_decoded:
            assert decode(data).size == (64, 64)
        else:
            assert refusal(decode, data)[0] == 422


def animated_webp(side: int) -> bytes:
    """Return an animation of two small frames on a canvas of side by side pixels."""
    frames = {"save_all": True, "append_images": [Image.new("RGBA", (8, 8), "red")]}
    data = bytearray(corpus.saved(Image.new("RGBA", (8, 8)), "WEBP", **frames))
    start = data.index(b"VP8X") + 12
    data[start : start + 6] = (side - 1).to_bytes(3, "little") * 2
    return bytes(data)


@pytest.mark.attack(2)
def test_large_webp_is_refused(monkeypatch):
    monkeypatch.setattr(image_header, "MAX_WEBP_PIXELS", 5000)
    assert decode(animated_webp(50)).size == (50, 50)
    status, sentence = refusal(decode, animated_webp(51))
    assert status == 413 and "over 2,500 pixels" in sentence
    assert decode(corpus.saved(Image.new("RGB", (50, 100)), "WEBP")).size == (50, 100)
    large = corpus.saved(Image.new("RGB", (51, 100)), "WEBP")
    status, sentence = refusal(decode, large)
    assert status == 413 and "over 5,000 pixels" in sentence
