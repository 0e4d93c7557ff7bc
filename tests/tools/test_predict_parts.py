"""Answers of `flask predict` as a folder of Parquet files, which a run continues."""

import json

import pytest

from endpoint import create_app
from tests.support.images import make_image
from tests.support.tables import read_rows

pa = pytest.importorskip("pyarrow", reason="needs make extras GROUP=tables")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def files(folder):
    return sorted(folder.glob("*.png"))


def test_parquet_is_continued(flask, folder, files, tmp_path):
    output = tmp_path / "answers.parquet"
    assert flask("predict", *files[:4], "--output", output)[0] == 0
    (folder / "31.png").unlink()
    (folder / "odd\udcff.png").write_bytes(make_image(9, 9))
    assert (
        "8 done, 0 failed, 3 done before"
        in flask("predict", folder, "--output", output)[2]
    )
    rows = read_rows(output)
    assert len(rows) == len({row["input"] for row in rows}) == 12
    assert rows[0] == {"input": str(files[0]), "caption": "30 by 8", "error": None}
    assert rows[-1]["input"] == f"{folder}/odd\\xff.png"


VALUES = """
    import json

    class Model:
        accepts = "text/plain"

        def __init__(self, device): pass
        def decode(self, upload): return upload.data.decode()
        def predict(self, texts): return texts
        def encode(self, text): return json.loads(text)
"""


def test_columns_have_one_type_each(flask, tmp_path, model_file):
    app = create_app(model_file(VALUES).stem)
    answers = [
        {"score": 0.5, "words": ["a", "b"], "mixed": 1},
        {"score": 1.5, "words": [], "mixed": "one"},
        {"score": None, "words": [1], "mixed": {"one": 1}},
    ]
    path, output = tmp_path / "texts.parquet", tmp_path / "answers.parquet"
    texts = [json.dumps(answer) for answer in answers]
    parquet.write_table(pa.table({"text": texts}), path)
    options = "predict", path, "--column", "text", "--output", output
    assert flask(*options, app=app)[0] == 0
    rows = read_rows(output)
    assert [row["score"] for row in rows] == [0.5, 1.5, None]
    assert [row["words"] for row in rows] == ['["a", "b"]', "[]", "[1]"]
    assert [row["mixed"] for row in rows] == ["1", '"one"', '"{\\"one\\": 1}"']
