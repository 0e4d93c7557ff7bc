"""A model with every kind of field, and with every kind of value in its answer."""

from typing import Literal

from pydantic import BaseModel, Field, SecretStr

from model_helpers.image import decode_image
from model_interface.files import File, Upload
from tests.support import fake_model as fake


class Fields(BaseModel):
    count: int = Field(3, ge=1, le=9, description="How many.")
    share: float | None = Field(None, gt=0, lt=1)
    tone: Literal["kind", "plain"] = "plain"
    labels: list[str] = ["a dog", "a cat"]
    is_loud: bool = True
    is_long: bool = False
    title: str = Field('It\'s "new"', max_length=20)
    prompt: str = Field("Describe it.", max_length=1000)
    token: SecretStr | None = None
    mask: Upload | None = None


class Top(BaseModel):
    top_k: int | None = Field(None, ge=1)


class Model(fake.Model):
    """A model that answers with its fields, an image, a recording and a document."""

    name = "all kinds"
    Fields = Fields
    routes = {"top": Top}

    def decode(self, upload):
        return decode_image(upload), upload.fields

    def predict(self, inputs):
        return inputs

    def encode(self, output):
        image, fields = output
        values = {name: str(value) for name, value in fields if name != "mask"}
        if mask := getattr(fields, "mask", None):
            values["mask"] = f"{decode_image(mask).size}"
        files = {"pictures": [image, image], "sound": File(b"RIFF", "audio/wav")}
        return values | files | {"report": File(b"%PDF", "application/pdf")}
