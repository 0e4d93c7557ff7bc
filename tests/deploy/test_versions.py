"""deploy/nginx.conf in front of two versions of a model, each in a real gunicorn."""

import http.client
import os
import re
import shutil
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.deploy.test_nginx import Nginx, gunicorn
from tests.support.images import make_image

pytestmark = pytest.mark.skipif(
    not shutil.which("nginx"), reason="nginx is not installed"
)
CLIENTS = [f"127.{n // 200}.1.{n % 200 + 1}" for n in range(1000)]
SHARE = 10  # percent of the clients
NEW = """
    from tests.support import fake_model

    class Model(fake_model.Model):
        revision = "2"
"""


@pytest.fixture(scope="module")
def folders():
    """Return the folders of both sockets, whose paths must be short."""
    folder = Path("/tmp") / f"versions-{os.getpid()}"
    for name in ("current", "new"):
        (folder / name).mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def current(folders):
    module = "tests.support.fake_model"
    with gunicorn(folders / "current", ENDPOINT_MODULE=module) as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def new(folders):
    (folders / "new_model.py").write_text(textwrap.dedent(NEW))
    variables = {"ENDPOINT_MODULE": "new_model", "PYTHONPATH": folders}
    with gunicorn(folders / "new", **variables) as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def nginx(folders, current, new):
    current_socket, new_socket = (
        folders / each / "g.sock" for each in ("current", "new")
    )
    with Nginx(folders, current_socket, new_socket) as server:
        yield server.wait_for(200)


def ask(nginx, client: str, image: bytes) -> str:
    """Send an image from an address; return the model that answered."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", nginx.port, timeout=60, source_address=(client, 0)
    )
    connection.request("POST", "/predict", image)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()
    return response.headers["X-Model"]


def answered(server) -> float:
    """Return how many requests a server has answered with 200, except for probes."""
    batches = re.search(
        r"^endpoint_batch_size_sum (\S+)", server.curl("/metrics"), re.M
    )
    return float(batches[1])


def test_client_keeps_its_version_and_each_version_has_its_share(nginx, current, new):
    image = make_image(8, 8)
    before = answered(current), answered(new)
    first = {client: ask(nginx, client, image) for client in CLIENTS}
    second = {client: ask(nginx, client, image) for client in CLIENTS}
    assert first == second
    counts = Counter([*first.values(), *second.values()])
    assert counts.keys() == {"fake@1", "fake@2"} and counts.total() == 2000
    assert abs(100 * counts["fake@2"] / 2000 - SHARE) < 3
    # The metrics of each version are those of its own server.
    after = answered(current), answered(new)
    assert after[0] - before[0] == counts["fake@1"]
    assert after[1] - before[1] == counts["fake@2"]
    assert len(re.findall(r" new$", nginx.log, re.M)) == counts["fake@2"]


def test_clients_of_a_version_that_does_not_run_get_the_current_one(folders, current):
    nowhere = folders / "nowhere.sock"
    with Nginx(folders, folders / "current" / "g.sock", nowhere) as nginx:
        nginx.wait_for(200)
        models = {ask(nginx, client, make_image(8, 8)) for client in CLIENTS[:100]}
        assert models == {"fake@1"} and " new\n" in nginx.log
