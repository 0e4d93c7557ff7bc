"""LitServe with the encoder in ONNX Runtime: `python onnx_.py`.

The decoder is `generate`, because beam search with a cache is not a single ONNX graph.
"""

import os
from pathlib import Path
from tempfile import gettempdir

import onnxruntime
import torch
from captioner import Captioner
from litserve_ import CaptionerAPI, serve
from transformers.modeling_outputs import BaseModelOutput


class OnnxCaptioner(Captioner):
    def __init__(self) -> None:
        super().__init__()
        path = Path(gettempdir()) / f"encoder-{os.getpid()}.onnx"
        export(self.model.encoder, path)
        self.session = onnxruntime.InferenceSession(path)
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()

    def encoder_arguments(self, batch):
        (states,) = self.session.run(None, {"pixels": batch.numpy()})
        states = torch.from_numpy(states)  # (images, 197, 768)
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states)}


class States(torch.nn.Module):
    """The encoder without its pooled output, which is not used."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels):
        return self.encoder(pixels).last_hidden_state


def export(encoder: torch.nn.Module, path: Path) -> None:
    pixels = torch.zeros(2, 3, 224, 224)  # A batch size of 1 would become a constant.
    torch.onnx.export(
        States(encoder),
        (pixels,),
        path,
        input_names=["pixels"],
        dynamic_shapes=({0: torch.export.Dim("images")},),
    )


class OnnxAPI(CaptionerAPI):
    captioner_class = OnnxCaptioner


if __name__ == "__main__":
    serve(OnnxAPI)
