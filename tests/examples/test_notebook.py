"""The client notebook, run from its first cell to its last against a real server."""

import os

import pytest

from tests.support.server import ROOT, Server

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

NOTEBOOK = ROOT / "examples" / "client.ipynb"


# ipykernel's own sockets and asyncio's loops warn as they are let go.
@pytest.mark.filterwarnings("ignore")
def test_notebook_shows_captions_and_latencies(monkeypatch):
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        monkeypatch.setitem(os.environ, "ENDPOINT_URL", server.wait_for(200).url)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=60, resources={"metadata": {"path": NOTEBOOK.parent}}
        )
        client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert "'state': 'ready'" in shown[0].data["text/plain"]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2


def test_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
