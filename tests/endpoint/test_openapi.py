"""The contract: valid, true for the served model, kept under thousands of requests."""

import os
import subprocess
import sys
import tempfile

import pytest

from endpoint import create_app
from endpoint.uploads import Upload
from tests.endpoint.test_responses import Drawing, serve
from tests.support.apps import ready
from tests.support.images import make_image as picture
from tests.support.server import ROOT, Server

CASES = 25  # of each way to send; 1,250 make over 5,000


class Labelled(Drawing):
    fields = {"labels": "What the picture may show."}
    routes = ("top",)


class Exemplary(Drawing):
    example = Upload(picture(5, 6))


class Listener(Drawing):
    accepts = "audio/*"


def contract(app):
    return app.test_client().get("/openapi.json").json


def predicting(app, path="/"):
    return contract(app)["paths"][path]["post"]


@pytest.mark.parametrize("model", [Drawing, Labelled, Listener])
def test_contract_is_valid(model):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(contract(serve(model)))


def test_contract_holds_the_models_fields_and_routes():
    app = serve(Labelled)
    told = predicting(app, "/predict/top")
    form = told["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["labels"]["description"] == "What the picture may show."
    assert told["parameters"][0]["name"] == "labels"
    assert "image/png" in told["responses"]["200"]["content"]
    assert "/predict/best" not in contract(app)["paths"]


def test_contract_says_what_is_accepted(app):
    assert "image/*" in predicting(app)["requestBody"]["content"]
    told = predicting(serve(Listener))["requestBody"]["content"]
    assert told["application/json"]["schema"]["required"] == ["audio"]
    assert "audio/*" in told and "image/*" not in told


def test_examples_are_the_models_own_answer_and_a_request_that_works():
    app = serve(Exemplary)
    told = predicting(app)
    answer = told["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["examples"] == [{"width": 5}]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    sent = {"image": schema["properties"]["image"]["examples"][0]}
    json = {"Accept": "application/json"}
    assert app.test_client().post("/", json=sent, headers=json).json == {"width": 1}


def test_key_stands_in_the_contract_where_one_is_set(app, monkeypatch):
    assert predicting(app)["security"] == []
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    told = predicting(ready(create_app("tests.support.fake_model")))
    assert told["security"] == [{"bearer": []}, {"header": []}]
    assert "401" in told["responses"]


def test_contract_is_refused_until_the_model_is_known(monkeypatch):
    monkeypatch.setattr("tests.support.fake_model.LOADING", 0.2)
    app = create_app("tests.support.fake_model")
    refused = app.test_client().get("/openapi.json")
    assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
    ready(app)


def fuzz(url: str, cases: int) -> subprocess.CompletedProcess:
    """Hold the answers to requests drawn from the contract against it."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    # A schema cannot say which bytes are a picture.
    command += ["--exclude-checks", "positive_data_acceptance", "--no-color"]
    command += ["--max-examples", str(cases), "--seed", "1"]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"
    }
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:  # It leaves a cache there.
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True
        )


def test_server_keeps_the_contract():
    pytest.importorskip("schemathesis")
    with Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model") as server:
        done = fuzz(server.wait_for(200).url, CASES)
        assert done.returncode == 0, done.stdout
        assert " 500 " not in server.log


if __name__ == "__main__":
    print(fuzz(sys.argv[1], int(sys.argv[2])).stdout)
