"""`python -m tools.prefetch`: what ENDPOINT_MODEL should be, in each situation."""

import pytest

from endpoint import weights
from endpoint.settings import EXIT_BOOT_FAILED
from tools import prefetch
from tools.prefetch import pinned_checkpoint

SHIPPED = prefetch.BUNDLED_STANDS_FOR


@pytest.fixture
def hub(monkeypatch):
    """A hub that has the models in the list; the list is empty at first."""
    available = []

    def resolve(name, revision=None):
        if name not in available:
            raise weights.ModelUnavailable(f"There is no {name}. {weights.HINT}")

    monkeypatch.setattr(weights, "resolve", resolve)
    monkeypatch.setenv("ENDPOINT_MODEL", "")
    return available


@pytest.fixture
def source(model_file, monkeypatch):
    """Write a model file, which ENDPOINT_MODULE names."""

    def write(text):
        path = model_file(text)
        monkeypatch.setenv("ENDPOINT_MODULE", path.stem)
        return path.stem

    return write


def test_checkpoint_is_read_without_importing_the_model(source):
    pins = 'CHECKPOINT = "someone/captions"  # on the hub\nREVISION = "abc"\n1 / 0\n'
    assert pinned_checkpoint(source(pins)) == ("someone/captions", "abc")
    pins = 'CHECKPOINT: str = "someone/captions"\n'
    assert pinned_checkpoint(source(pins)) == ("someone/captions", None)


def test_checkpoint_of_the_model_that_ships_is_found():
    from endpoint import model

    pins = (model.CHECKPOINT, model.REVISION)
    assert pinned_checkpoint("endpoint.model") == pins and pins[0] == SHIPPED


def test_model_file_may_have_no_checkpoint(source):
    assert pinned_checkpoint(source("class Model: ...\nCHECKPOINT, b = 1, 2\n")) is None
    assert pinned_checkpoint("nothing") is pinned_checkpoint("nothing.at.all") is None


def test_available_model_is_printed_with_its_revision(hub, source, capsys):
    hub.append("someone/captions")
    source('CHECKPOINT = "someone/captions"\nREVISION = "abc"\n')
    prefetch.main()
    assert capsys.readouterr() == ("someone/captions@abc\n", "")


def test_model_of_the_settings_is_printed_as_it_is(hub, source, capsys, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "you/captions")
    hub.append("someone/captions")
    source('CHECKPOINT = "someone/captions"\n')
    prefetch.main()
    assert capsys.readouterr() == ("you/captions\n", "")


def test_unavailable_model_that_ships_falls_back_to_demo(hub, source, capsys):
    source(f"CHECKPOINT = {SHIPPED!r}\n")
    prefetch.main()
    output, errors = capsys.readouterr()
    assert output == "demo\n"
    assert (
        errors == f"There is no {SHIPPED}. Serving the bundled model, demo, instead.\n"
    )


def test_other_unavailable_model_ends_with_a_sentence(hub, source, capsys):
    source('CHECKPOINT = "someone/captions"\n')
    with pytest.raises(SystemExit) as ended:
        prefetch.main()
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (EXIT_BOOT_FAILED, "")
    assert errors == f"There is no someone/captions. {weights.HINT}\n"


def test_model_that_ships_without_the_bundled_one_ends_too(
    hub, source, monkeypatch, tmp_path
):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "none")
    source(f"CHECKPOINT = {SHIPPED!r}\n")
    with pytest.raises(SystemExit):
        prefetch.main()


def test_model_file_without_a_checkpoint_prints_an_empty_line(hub, source, capsys):
    source("class Model: ...\n")
    prefetch.main()
    assert capsys.readouterr() == ("\n", "")
