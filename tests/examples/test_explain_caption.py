"""The example that explains its captions, served with the bundled model."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.examples.serving import PAGE, PNG, Example, assert_is_described
from tests.support.images import BULLDOG, CAPTION

EXPLAIN = ("-F", f"file=@{BULLDOG}", "-F", "explain=1")


@pytest.fixture(scope="module")
def served():
    with Example("explain_caption", Path("demo")) as example:
        yield example


def test_plain_request_gets_the_caption_only(served):
    assert served.predict(BULLDOG) == {"caption": CAPTION}


def test_explain_is_true_or_false(served):
    for value in ("false", "0", ""):
        answer = served.json("-F", f"file=@{BULLDOG}", "-F", f"explain={value}", "/")
        assert answer == {"caption": CAPTION}
    answer = served.json("-F", f"file=@{BULLDOG}", "-F", "explain=perhaps", "/")
    assert (answer["status"], answer["detail"][:7]) == (400, "explain")


def test_explanation_has_a_map_for_each_word(served):
    answer = served.json(*EXPLAIN, "/")
    assert answer["caption"] == CAPTION
    assert [each["word"] for each in answer["words"]] == CAPTION.split()
    for each in answer["words"]:
        assert [len(row) for row in each["map"]] == [14] * 14


def test_explanation_is_drawn_as_png_and_on_the_page(served, tmp_path):
    file = tmp_path / "grid.png"
    served.curl(*PNG, *EXPLAIN, "-o", file, "/")
    image = Image.open(io.BytesIO(file.read_bytes()))
    assert (image.format, image.width) == ("PNG", 4 * 224)
    assert 'src="data:image/png;base64,' in served.curl(*PAGE, *EXPLAIN, "/")


def test_plain_caption_has_no_drawing(served):
    assert served.predict(BULLDOG, accept=PNG) == f"{CAPTION}\n"


def test_input_is_described(served):
    assert_is_described(served, field="explain")
