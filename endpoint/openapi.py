"""The served model to its OpenAPI 3.1 document: templates/openapi.json, filled in."""

from flask import json, render_template
from PIL import Image

from endpoint.batcher import Batcher
from endpoint.responses import to_json


def render_openapi(batcher: Batcher) -> str:
    """Return the document as JSON, with the answer to the model's example."""
    info, output = batcher.info, batcher.example_output
    example = batcher.model.encode(output) if output is not None else None
    document = render_template(
        "openapi.json",
        info=info,
        kind=info.accepts.partition("/")[0],
        example=to_json(example) if isinstance(example, dict) else None,
        draws=bool(info.draw) or isinstance(example, Image.Image),
    )
    return json.dumps(json.loads(document))
