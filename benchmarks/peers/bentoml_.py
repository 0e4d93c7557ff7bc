"""BentoML with its adaptive batching: `bentoml serve bentoml_:Captions --port 8000`."""

import bentoml
from captioner import MAX_BATCH, TIMEOUT, Captioner
from PIL.Image import Image


@bentoml.service(traffic={"timeout": TIMEOUT})
class Captions:
    def __init__(self) -> None:
        self.captioner = Captioner()

    @bentoml.api(
        batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=1000 * TIMEOUT
    )
    def predict(self, images: list[Image]) -> list[str]:
        processed = self.captioner.processor(
            images=[image.convert("RGB") for image in images], return_tensors="pt"
        )
        return self.captioner.captions(list(processed.pixel_values))
