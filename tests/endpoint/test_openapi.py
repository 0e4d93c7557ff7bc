"""The OpenAPI document: valid, true for the served model, and kept by the server."""

import re
from typing import Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from endpoint import create_app
from model_interface.files import Upload
from tests.endpoint.test_responses import Drawing
from tests.stress.fuzz_requests import ALL_KINDS, LENIENT, fuzz
from tests.support.apps import FAKE_MODEL, app_for, ready
from tests.support.images import make_image
from tests.support.server import Server

CASES = 25  # for each way to send
JSON = {"Accept": "application/json"}


class Labels(BaseModel):
    labels: list[str] = Field(["a dog"], description="What the image may show.")


class AllKinds(Labels):
    count: int = Field(3, ge=1, le=9)
    share: float | None = Field(None, gt=0, lt=1)
    tone: Literal["kind", "plain"]
    is_loud: bool = False
    prompt: str = Field("Describe it.", min_length=1, max_length=300)
    token: SecretStr | None = None
    mask: Upload | None = None


class WithFields(Drawing):
    Fields = Labels
    routes = {"top": AllKinds}


class WithExample(Drawing):
    example = Upload(make_image(5, 6))


class ForAudio(Drawing):
    accepts = "audio/*"


class ForText(Drawing):
    accepts = "text/plain"


def document(app):
    return app.test_client().get("/openapi.json").json


def operation(app, path="/"):
    return document(app)["paths"][path]["post"]


@pytest.mark.parametrize("model", [Drawing, WithFields, WithExample, ForAudio, ForText])
def test_document_is_valid(model):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(document(ready(app_for(model))))


def test_document_has_the_fields_and_routes_of_the_model():
    app = ready(app_for(WithFields))
    post = operation(app, "/predict/top")
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["labels"]["description"] == "What the image may show."
    assert form["properties"]["mask"]["anyOf"][0]["format"] == "binary"
    assert form["required"] == ["file", "tone"]
    parameters = {each["name"]: each["schema"] for each in post["parameters"]}
    assert parameters.keys() == AllKinds.model_fields.keys() - {"mask"}
    assert parameters["count"]["maximum"] == 9
    assert [each["name"] for each in operation(app)["parameters"]] == ["labels"]
    assert "image/png" in post["responses"]["200"]["content"]
    assert "/predict/best" not in document(app)["paths"]


def test_document_has_the_accepted_media_type(app):
    assert "image/*" in operation(app)["requestBody"]["content"]
    content = operation(ready(app_for(ForAudio)))["requestBody"]["content"]
    assert content["application/json"]["schema"]["required"] == ["audio"]
    assert "audio/*" in content and "image/*" not in content


def test_examples_are_a_real_answer_and_a_request_that_works():
    app = ready(app_for(WithExample))
    post = operation(app)
    answer = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["examples"] == [{"width": 5}]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    body = {"image": schema["properties"]["image"]["examples"][0]}
    assert app.test_client().post("/", json=body, headers=JSON).json == {"width": 1}


def test_document_requires_the_api_key_if_it_is_set(app, monkeypatch):
    assert operation(app)["security"] == []
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    post = operation(ready(create_app(FAKE_MODEL)))
    assert post["security"] == [{"bearer": []}, {"header": []}]
    assert "401" in post["responses"]


def test_document_is_refused_until_the_model_is_loaded(monkeypatch):
    monkeypatch.setattr("tests.support.fake_model.LOADING", 0.2)
    app = create_app(FAKE_MODEL)
    refused = app.test_client().get("/openapi.json")
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    assert ready(app).test_client().get("/openapi.json").status_code == 200


@pytest.mark.parametrize("module, exclude", [(FAKE_MODEL, ()), (ALL_KINDS, LENIENT)])
def test_server_keeps_the_contract(module, exclude):
    pytest.importorskip("schemathesis")
    with Server("gunicorn", ENDPOINT_MODULE=module) as server:
        done = fuzz(server.wait_for(200).url, CASES, *exclude)
        assert done.returncode == 0, done.stdout
        assert '" 200, ' in server.log and not re.search('" 5.., ', server.log)
