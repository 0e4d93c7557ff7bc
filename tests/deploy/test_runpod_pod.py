"""deploy/runpod_pod.py against a stand-in for Runpod's API and for its proxy."""

import json
import os
import signal
import subprocess
import sys

import pytest
from werkzeug.wrappers import Request, Response

from endpoint import create_app
from tests.support.apps import FAKE_MODEL, ready, wait_until
from tests.support.server import ROOT

KEY, ENDPOINT_KEY = "rpa_secret", "secret-of-the-endpoint"
# The fields of a pod that the API knows, and their types.
FIELDS = {
    "name": str,
    "imageName": str,
    "gpuTypeIds": list,
    "ports": list,
    "containerDiskInGb": int,
    "volumeInGb": int,
    "volumeMountPath": str,
    "env": dict,
    "allowedCudaVersions": list,
}


class Runpod:
    """The API, with what it refuses, and the proxy of a pod with `image`."""

    def __init__(self, image) -> None:
        self.image = image  # a WSGI application, None if it never starts
        self.pods: dict[str, dict] = {}
        self.created: list[dict] = []
        self.visits = 0  # requests to a pod
        self.has_capacity, self.creates_badly, self.failed_deletes = True, False, 0

    def __call__(self, environ, start):
        request = Request(environ)
        if not request.path.startswith("/v1/"):
            return self.proxy(request)(environ, start)
        return self.respond(request)(environ, start)

    def proxy(self, request):
        # The stand-in's URL of a pod is /proxy/ID/..., as it has one host name only.
        _, _, pod, path = request.path.split("/", 3)
        self.visits += 1
        if pod not in self.pods or self.image is None:
            return Response(status=404)
        request.environ["PATH_INFO"] = f"/{path}"
        return self.image

    def respond(self, request):
        agent = request.headers.get("User-Agent", "")
        if agent.startswith("Python-urllib"):
            return Response("error code: 1010", 403)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return Response(status=401)
        parts = request.path.split("/")[2:]
        respond = {"GET": self.list, "POST": self.create, "DELETE": self.delete}
        return respond[request.method](request, *parts[1:])

    def list(self, request):
        pods = [{"id": id, "name": pod["name"]} for id, pod in self.pods.items()]
        return self.json([{"id": "other", "name": "a pod of somebody else"}, *pods])

    def create(self, request):
        pod = request.get_json()
        for name, value in pod.items():
            if not isinstance(value, FIELDS.get(name, ())):
                return self.json({"error": f"{name} is wrong in {pod}"}, 400)
        if not self.has_capacity:
            sentence = "create pod: There are no instances currently available"
            return self.json({"error": sentence}, 500)
        id = f"pod{len(self.created)}"
        self.pods[id] = pod
        self.created.append(pod)
        if self.creates_badly:
            return self.json({"error": f"internal error with {pod['env']}"}, 500)
        return self.json({"id": id, "name": pod["name"]}, 201)

    def delete(self, request, id):
        if self.failed_deletes:
            self.failed_deletes -= 1
            return self.json({"error": "internal error"}, 500)
        del self.pods[id]
        return Response(status=204)

    def json(self, value, status=200):
        return Response(json.dumps(value), status, content_type="application/json")


SCRIPT = """
import sys
from deploy import runpod_pod
url = sys.argv.pop(1)
runpod_pod.API, runpod_pod.PROXY = f"{url}/v1", f"{url}/proxy/{{}}"
runpod_pod.PAUSE = 0.05
runpod_pod.main()
"""


@pytest.fixture
def image(monkeypatch):
    """Return a small endpoint, which requires the API key."""
    monkeypatch.setenv("ENDPOINT_API_KEY", ENDPOINT_KEY)
    return ready(create_app(FAKE_MODEL))


@pytest.fixture
def start(serve):
    """Return a function that starts the command with a stand-in's URL."""

    def start(runpod, *options, key=KEY):
        keys = {"RUNPOD_API_KEY": key, "ENDPOINT_API_KEY": ENDPOINT_KEY}
        command = [sys.executable, "-c", SCRIPT, serve(runpod), "me/image:1", *options]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | keys,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.fixture
def run(start):
    """Return a function that runs the command: its status and its lines."""

    def run(*arguments, **options):
        process = start(*arguments, **options)
        output, _ = process.communicate(timeout=120)
        assert KEY not in output and ENDPOINT_KEY not in output
        return process.returncode, output.splitlines()

    return run


def test_pod_is_created_tested_and_deleted(run, image):
    runpod = Runpod(image)
    status, lines = run(runpod, "--volume", "20", "--gpu", "NVIDIA H100 PCIe")
    assert status == 0 and runpod.pods == {}
    assert "/proxy/pod0 is the pod endpoint-" in lines[0]
    assert any("640 by 427" in line for line in lines)
    assert lines[-1].endswith(" is deleted.")
    (pod,) = runpod.created
    assert pod["imageName"] == "me/image:1" and pod["ports"] == ["8000/http"]
    assert pod["gpuTypeIds"] == ["NVIDIA H100 PCIe"] and pod["volumeInGb"] == 20
    assert pod["env"] == {
        "ENDPOINT_API_KEY": ENDPOINT_KEY,
        "ENDPOINT_DEVICE": "cuda",
        "HF_HOME": "/workspace",
    }


def test_pod_that_passed_can_be_kept(run, image):
    runpod = Runpod(image)
    status, lines = run(runpod, "--keep")
    assert status == 0 and list(runpod.pods) == ["pod0"]


def test_wrong_key_is_one_sentence(run):
    sentence = "Error: Runpod refuses RUNPOD_API_KEY: it needs write permission."
    assert run(Runpod(None), key="wrong") == (1, [sentence])


def test_missing_key_is_one_sentence(start):
    process = start(Runpod(None), key="")
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "Error: RUNPOD_API_KEY is not set.\n")


def test_missing_capacity_is_one_sentence(run):
    runpod = Runpod(None)
    runpod.has_capacity = False
    sentence = "Error: Runpod has none of these GPUs now: try others with --gpu."
    assert run(runpod) == (1, [sentence])
    assert runpod.created == []


def test_image_that_never_starts_is_one_sentence_and_no_pod_remains(run):
    runpod = Runpod(None)
    status, lines = run(runpod, "--keep", "--wait", "1")
    assert status == 1 and runpod.pods == {}
    _, failure, deleted = lines
    assert failure == (
        "FAILED  ready: not ready after 1 s: /ping responds with status 404"
    )
    assert deleted.endswith(" is deleted.")


def test_pod_that_fails_its_test_is_not_kept(run):
    runpod = Runpod(Response("Welcome to nginx!"))
    status, lines = run(runpod, "--keep")
    assert status == 1 and runpod.pods == {}
    assert any("FAILED  model: status 200 with text/plain" in line for line in lines)


def test_pod_that_was_created_with_an_error_is_deleted(run):
    runpod = Runpod(None)
    runpod.creates_badly = True
    status, (deleted, error) = run(runpod)
    assert status == 1 and len(runpod.created) == 1 and runpod.pods == {}
    assert deleted.endswith(" is deleted.")
    assert error.startswith('Error: Runpod answers with status 500: {"error": "inter')


def test_deletion_is_tried_again(run, image):
    runpod = Runpod(image)
    runpod.failed_deletes = 3
    assert run(runpod)[0] == 0 and runpod.pods == {}
    runpod.failed_deletes = 99
    status, lines = run(runpod)
    assert status == 1 and lines[-1].startswith("Error: Delete the pod endpoint-")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_command_deletes_its_pod(start, number):
    runpod = Runpod(None)
    process = start(runpod)
    # Python can leave a child behind if a signal arrives while it starts one.
    wait_until(lambda: runpod.visits, 60)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert runpod.pods == {} and process.returncode == 1, output
    assert " is deleted." in output
