"""The client notebook runs from its first to its last cell against a real server."""

import os

import pytest

from tests.support.server import ROOT, Server

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOK = ROOT / "examples" / "client.ipynb"


# The sockets of ipykernel and the loops of asyncio warn when they are collected.
@pytest.mark.filterwarnings("ignore")
def test_notebook_shows_captions_and_response_times(monkeypatch):
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        monkeypatch.setitem(os.environ, "ENDPOINT_URL", server.wait_for(200).url)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=60, resources={"metadata": {"path": NOTEBOOK.parent}}
        )
        client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "'state': 'ready'" in outputs[0].data["text/plain"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


def test_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
