"""Base64 and data: URIs to files."""

import base64

import pytest

from model_interface.answers import data_uri
from model_interface.files import Upload, from_base64


def test_data_uri_is_read_back():
    file = Upload(b"RIFF", "audio/wav")
    assert data_uri(file) == "data:audio/wav;base64,UklGRg=="
    assert from_base64(data_uri(file)) == file
    assert from_base64("DATA:audio/wav;base64,UklGRg==") == file
    assert from_base64(base64.b64encode(b"RIFF").decode()) == Upload(b"RIFF")


@pytest.mark.parametrize("text", ["not base64!", "data:image/svg+xml,<svg/>", "\xe9"])
def test_other_text_is_no_file(text):
    with pytest.raises(ValueError):
        from_base64(text)


@pytest.mark.parametrize("kind", ["\ud800", "é", "a/b\n"])
def test_media_type_that_is_not_printable_ascii_is_refused(kind):
    with pytest.raises(ValueError):
        from_base64(f"data:{kind};base64,AAAA")
