"""The text example, served with a tiny model that knows six adjectives."""

import json

import pytest

from tests.examples.serving import (
    PAGE,
    assert_batch_equals_singles,
    assert_is_described,
    serve,
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve("sentiment", tmp_path_factory.mktemp("sentiment")) as example:
        yield example


def test_text_can_be_sent_in_any_form(served, tmp_path):
    file = tmp_path / "text"
    for text, label in (("it is so good", "POSITIVE"), ("it is so bad", "NEGATIVE")):
        file.write_text(text)
        requests = [
            ("--json", json.dumps({"text": text})),
            ("-d", text),
            ("-H", "Content-Type: text/plain", "--data-binary", f"@{file}"),
            ("--data-urlencode", f"text={text}"),
            ("-F", f"text={text}"),
            ("-F", f"file=@{file}"),
            ("-T", file),
        ]
        for arguments in requests:
            answer = served.json(*arguments, "/predict")
            assert answer["label"] == label and answer["confidence"] > 0.9, arguments
        assert served.curl("-d", text, "/") == f"{label}\n"


def test_several_texts_in_one_json_are_answered_in_their_order(served):
    body = json.dumps({"text": ["it is so good", "it is so bad", " "]})
    good, bad, empty = served.json("--json", body, "/predict")["predictions"]
    assert (good["label"], bad["label"]) == ("POSITIVE", "NEGATIVE")
    assert empty["error"]["status"] == 400


def test_batch_equals_single_texts(served, tmp_path):
    texts = ["good", "it is so bad", "so " * 20 + "fine", "poor it is", "unheard of"]
    files = [tmp_path / f"{number}.txt" for number in range(len(texts))]
    for file, text in zip(files, texts):
        file.write_text(text)
    assert_batch_equals_singles(served, files)


@pytest.mark.parametrize(
    "status, data",
    [("400", b""), ("400", b" \n"), ("413", b"so " * 1000), ("415", b"\xff\xfe")],
)
def test_bad_text_is_refused(served, tmp_path, status, data):
    assert served.refusal(data, tmp_path / "bad") == status


def test_refusal_of_json_without_text_shows_how_to_send_it(served):
    for body in ('{"file": ""}', '{"text": 5}', '{"text": ["a", 5]}', "[", "{}"):
        answer = served.json("--json", body, "/predict")
        assert answer["status"] == 400 and '{"text": "..."}' in answer["detail"]


def test_index_shows_how_to_send_a_text(served):
    index = served.json("/")
    assert index["accepts"] == "text/plain" and '{"text": "..."}' in index["use"]
    assert "<form" in served.curl(*PAGE, "/")


def test_input_is_described(served, tmp_path):
    file = tmp_path / "good.txt"
    file.write_text("it is so good")
    assert_is_described(served, file, field="text")
