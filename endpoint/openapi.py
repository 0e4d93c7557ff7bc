"""The served model to its OpenAPI 3.1 document: templates/openapi.json, filled in."""

from flask import current_app, json, render_template
from PIL import Image

from endpoint.batcher import Batcher

ERRORS = {
    400: "The request is empty or malformed.",
    401: "The API key is missing or wrong.",
    413: "Too many bytes or files, or a file that is too large once decoded.",
    415: "A kind of file that the model does not accept.",
    422: "A file that is corrupt.",
    500: "The model failed on this input.",
    503: "The queue is full, or the model is not ready.",
    504: "The deadline passed.",
}


def render_openapi(batcher: Batcher) -> str:
    """Return the document as JSON; the model's example shows what it answers."""
    info, output = batcher.info, batcher.example_output
    example = batcher.model.encode(output) if output is not None else None
    has_key = bool(current_app.config["API_KEY"])
    document = render_template(
        "openapi.json",
        info=info,
        kind=info.accepts.partition("/")[0],
        paths=["/predict", *(f"/predict/{route}" for route in info.routes)],
        example=example if isinstance(example, dict) else None,
        draws=bool(info.draw) or isinstance(example, Image.Image),
        errors={code: ERRORS[code] for code in ERRORS if code != 401 or has_key},
    )
    return json.dumps(json.loads(document))
