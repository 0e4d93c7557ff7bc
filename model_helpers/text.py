"""An upload to a text, or a 4xx."""

from werkzeug.exceptions import abort

from model_interface.files import Upload
from model_interface.model_info import usage


def decode_text(upload: Upload, max_chars: int = 10_000) -> str:
    """Return the upload's text, stripped and not empty, or a 4xx."""
    try:
        # Half of a surrogate pair, which JSON can hold, makes tokenizers fail.
        text = upload.data.decode("utf-8-sig").strip()
    except UnicodeError:
        abort(415, "Text must be UTF-8.")
    if not text:
        abort(400, f"The text is empty. {usage('text/plain')}")
    if len(text) > max_chars:
        abort(413, f"The text has over {max_chars:,} characters: shorten it.")
    return text
