"""An upload to a text, or a 4xx."""

from werkzeug.exceptions import abort

from endpoint.uploads import Upload, usage


def decode_text(upload: Upload, max_chars: int = 10_000) -> str:
    """Return the upload's text, stripped and not empty, or a 4xx."""
    texts = [upload.data] if upload.data else upload.fields.getlist("text")
    try:
        # JSON can hold half of a surrogate pair, which no tokenizer takes.
        data = [text.encode() if isinstance(text, str) else text for text in texts]
        text = b"".join(data).decode("utf-8-sig").strip()
    except UnicodeError:
        abort(415, "Text must be UTF-8.")
    except TypeError:  # A JSON value may be of any type.
        text = ""
    if len(texts) != 1 or not text:
        abort(400, f"Send one text. {usage('text/plain')}")
    if len(text) > max_chars:
        abort(413, f"The text has over {max_chars:,} characters: shorten it.")
    return text
