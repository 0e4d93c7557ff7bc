"""Files and images as bytes, media types and data: URIs, both ways."""

import base64

import pytest
from PIL import Image

from endpoint.files import (
    OCTETS,
    PNG,
    File,
    data_uri,
    from_base64,
    media_type,
    to_file,
)


def test_image_becomes_a_png():
    file = to_file(Image.new("RGB", (5, 6)))
    assert file.media_type == PNG and file.data.startswith(b"\x89PNG")
    assert to_file(file) is file


@pytest.mark.parametrize(
    "value, kind",
    [
        (Image.new("L", (1, 1)), PNG),
        (File(b"RIFF", "audio/wav"), "audio/wav"),
        (File(b"x"), OCTETS),
        ("text", None),
        (5, None),
    ],
)
def test_only_files_and_images_have_a_media_type(value, kind):
    assert media_type(value) == kind


def test_data_uri_is_read_back():
    file = File(b"RIFF", "audio/wav")
    assert data_uri(file) == "data:audio/wav;base64,UklGRg=="
    assert from_base64(data_uri(file)) == file
    assert from_base64(base64.b64encode(b"RIFF").decode()) == File(b"RIFF")


@pytest.mark.parametrize("text", ["not base64!", "data:image/svg+xml,<svg/>", "\xe9"])
def test_other_text_is_no_file(text):
    with pytest.raises(ValueError):
        from_base64(text)


def test_other_value_is_no_file():
    with pytest.raises(TypeError, match="A value of type set is not JSON."):
        data_uri({1})


@pytest.mark.parametrize("kind", ["\ud800", "é", "a/b\n"])
def test_media_type_that_is_not_printable_ascii_is_refused(kind):
    with pytest.raises(ValueError):
        from_base64(f"data:{kind};base64,AAAA")
