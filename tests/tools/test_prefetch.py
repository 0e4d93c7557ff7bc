"""`python -m tools.prefetch`: what ENDPOINT_MODEL should be, in each situation."""

import pytest

from endpoint.settings import EXIT_BOOT_FAILED
from model_helpers import weights
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


CALLS = {
    "constants": """
        CHECKPOINT = "someone/captions"  # on the hub
        REVISION: str = "abc"
        weights.resolve(CHECKPOINT, REVISION)
        1 / 0
        """,
    "texts": """
        class Model:
            def __init__(self, device):
                name, revision, folder = weights.resolve("someone/captions", "abc")
        """,
    "other names": """
        from model_helpers.weights import resolve
        CHECKPOINT = "someone/else"
        class Model:
            NAME = "someone/captions"
            COMMIT = "abc"
            def __init__(self, device):
                self.folder = resolve(self.NAME, revision=self.COMMIT).folder
        """,
}


@pytest.mark.parametrize("call", CALLS)
def test_checkpoint_is_read_without_importing_the_model(source, call):
    assert pinned_checkpoint(source(CALLS[call])) == ("someone/captions", "abc")


def test_checkpoint_may_have_no_revision(source):
    call = source('weights.resolve("someone/captions")')
    assert pinned_checkpoint(call) == ("someone/captions", None)


def test_checkpoint_of_the_model_that_ships_is_found():
    from endpoint import model

    pins = (model.CHECKPOINT, model.REVISION)
    assert pinned_checkpoint("endpoint.model") == pins and pins[0] == SHIPPED


OWN = {
    "no weights": "class Model: ...",
    "another library": """
        CHECKPOINT = "hf-hub:timm/resnet18.a1_in1k"
        class Model:
            def __init__(self, device):
                self.network = timm.create_model(CHECKPOINT, pretrained=True)
        """,
    "another resolve": "Path(__file__).resolve()",
    "only known when run": "weights.resolve(os.environ['NAME'])",
    "a mistake": "class Model",
}


@pytest.mark.parametrize("own", OWN)
def test_model_file_may_find_its_weights_itself(hub, source, capsys, own):
    assert pinned_checkpoint(source(OWN[own])) is None
    prefetch.main()
    assert capsys.readouterr() == ("\n", "")


@pytest.mark.parametrize("name", ["nothing", "nothing.at.all", "sys", "zlib", "..a"])
def test_module_without_a_file_has_no_checkpoint(name):
    assert pinned_checkpoint(name) is None


def test_available_model_is_printed_with_its_revision(hub, source, capsys):
    hub.append("someone/captions")
    source('weights.resolve("someone/captions", "abc")')
    prefetch.main()
    assert capsys.readouterr() == ("someone/captions@abc\n", "")


def test_model_of_the_settings_is_printed_as_it_is(hub, source, capsys, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", "you/captions")
    hub.append("someone/captions")
    source('weights.resolve("someone/captions")')
    prefetch.main()
    assert capsys.readouterr() == ("you/captions\n", "")


def test_unavailable_model_that_ships_falls_back_to_demo(hub, source, capsys):
    source(f"weights.resolve({SHIPPED!r})")
    prefetch.main()
    output, errors = capsys.readouterr()
    assert output == "demo\n"
    assert (
        errors == f"There is no {SHIPPED}. Serving the bundled model, demo, instead.\n"
    )


def test_other_unavailable_model_ends_with_a_sentence(hub, source, capsys):
    source('weights.resolve("someone/captions")')
    with pytest.raises(SystemExit) as ended:
        prefetch.main()
    output, errors = capsys.readouterr()
    assert (ended.value.code, output) == (EXIT_BOOT_FAILED, "")
    assert errors == f"There is no someone/captions. {weights.HINT}\n"


def test_model_that_ships_without_the_bundled_one_ends_too(
    hub, source, monkeypatch, tmp_path
):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "none")
    source(f"weights.resolve({SHIPPED!r})")
    with pytest.raises(SystemExit):
        prefetch.main()


def test_unavailable_model_of_the_settings_is_never_replaced(
    hub, source, capsys, monkeypatch
):
    monkeypatch.setenv("ENDPOINT_MODEL", "you/captions")
    source(f"weights.resolve({SHIPPED!r})")
    with pytest.raises(SystemExit):
        prefetch.main()
    assert capsys.readouterr().out == ""
