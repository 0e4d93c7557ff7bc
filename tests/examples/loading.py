"""Examples loaded in this process with tiny checkpoints, and asked by a test client."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import TestResponse

from endpoint import create_app
from model_helpers import pretrained
from model_interface.files import OCTETS, Upload
from tests.support.apps import ready

JSON = {"Accept": "application/json"}


class Loaded:
    """An example that answers in this process; gunicorn would start for seconds."""

    def __init__(self, name: str, folder: str | Path = "") -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("ENDPOINT_MODEL", str(folder))
            # The answers are compared in float32, also on a CPU with bfloat16.
            environment.setattr(pretrained, "CPUINFO", Path("none"))
            self.app = ready(create_app(f"examples.{name}"))
        batcher = self.app.extensions["batcher"]
        self.model, self.info = batcher.model, batcher.info
        self.client = self.app.test_client()

    def together(self, data: list[bytes], *fields: dict) -> list[Any]:
        """Return the answers of one batch; fields are all equal, or one for each."""
        fields = fields if len(fields) > 1 else (*fields, {})[:1] * len(data)
        uploads = [Upload(each, fields=own) for each, own in zip(data, fields)]
        uploads = [self.info.check_example(upload) for upload in uploads]
        inputs = [self.model.decode(upload) for upload in uploads]
        assert len({self.info.batch_key(each) for each in inputs}) == 1
        return [self.model.encode(each) for each in self.model.predict(inputs)]

    def post(self, data: bytes, headers=JSON, **fields: str) -> TestResponse:
        """Send a file as the body; a form would leave a temporary file open."""
        sent = {"data": data, "query_string": fields, "content_type": OCTETS}
        return self.client.post("/predict", headers=headers, **sent)

    def refusal(self, data: bytes, **fields: str) -> tuple[int, str]:
        answer = self.post(data, **fields)
        return answer.status_code, answer.json["detail"]


def photo(width: int = 96, height: int = 64, seed: int = 0) -> bytes:
    """Return the bytes of a PNG with soft shapes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(file, "PNG")
    return file.getvalue()
