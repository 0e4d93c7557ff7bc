"""The served model to its OpenAPI 3.1 document: templates/openapi.json, filled in."""

from typing import Any

from flask import json, render_template

from endpoint.batcher import Batcher
from endpoint.responses import to_json
from model_interface.answers import PNG, media_type, to_answer
from model_interface.fields import schemas


def render_openapi(batcher: Batcher) -> str:
    """Return the document as JSON, with the answer to the model's example."""
    info, output = batcher.info, batcher.example_output
    encoded = batcher.model.encode(output) if output is not None else None
    example: dict[str, Any] = to_answer(encoded) if encoded is not None else {}
    files = {kind for value in example.values() if (kind := media_type(value))}
    document = render_template(
        "openapi.json",
        info=info,
        kind=info.accepts.partition("/")[0],
        schemas=schemas,
        example=to_json(example) if example and not files else None,
        files=sorted(files | ({PNG} if info.draw else set())),
    )
    return json.dumps(json.loads(document))
