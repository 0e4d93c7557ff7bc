"""An image and a question to an answer with SmolVLM, a small vision-language model."""

import torch
from pydantic import BaseModel, Field
from transformers import AutoModelForImageTextToText, AutoProcessor

from model_helpers.image import decode_image
from model_helpers.pretrained import fast_dtype, load_network
from model_helpers.weights import resolve
from model_interface.files import Upload

CHECKPOINT = "HuggingFaceTB/SmolVLM-256M-Instruct"  # on the hub
REVISION = "7e3e67edbbed1bf9888184d9df282b700a323964"
SQUARE = 512  # pixels; what the model sees at once


class Model:
    class Fields(BaseModel):
        # Special tokens, such as <image>, begin with "<".
        prompt: str = Field("Describe this image.", max_length=1000, pattern="^[^<]*$")
        max_tokens: int = Field(64, ge=1, le=256, description="The longest answer.")
        details: bool = Field(False, description="Look at each quarter, too.")

    max_batch = 16
    example = Upload.from_file("french_bulldog.jpg", max_tokens=16)

    def __init__(self, device: str) -> None:
        self.name, self.revision, folder = resolve(CHECKPOINT, REVISION)
        options = {"backend": "pil", "padding_side": "left"}
        self.processor = AutoProcessor.from_pretrained(folder, **options)
        dtype = fast_dtype(device)
        self.network = load_network(AutoModelForImageTextToText, folder, device, dtype)

    def decode(self, upload: Upload) -> tuple:
        content = [{"type": "image"}, {"type": "text", "text": upload.fields.prompt}]
        chat = [{"role": "user", "content": content}]
        text = self.processor.apply_chat_template(chat, add_generation_prompt=True)
        side = 2 * SQUARE if upload.fields.details else SQUARE
        return decode_image(upload).resize((side, side)), text, upload.fields

    def batch_key(self, input: tuple) -> tuple[int, bool]:
        return input[2].max_tokens, input[2].details

    @torch.inference_mode()
    def predict(self, inputs: list[tuple]) -> list[str]:
        images, texts, (fields, *_) = zip(*inputs)
        options = {"size": {"longest_edge": images[0].width}, "return_tensors": "pt"}
        options |= {"do_image_splitting": fields.details, "padding": True}
        batch = self.processor(images, texts, **options)
        batch = batch.to(self.network.device, self.network.dtype)
        tokens = self.network.generate(**batch, max_new_tokens=fields.max_tokens)
        answers = tokens[:, batch.input_ids.shape[1] :]  # without the questions
        return self.processor.batch_decode(answers, skip_special_tokens=True)

    def encode(self, answer: str) -> dict[str, str]:
        return {"answer": answer.strip()}
