"""The reranker, served with a tiny model of random weights, against transformers."""

import json

import pytest
import torch
import transformers as hub

from tests.examples.serving import assert_log_is_quiet, assert_similar, serve

TEXTS = ["a dog barks", "the cat sleeps", "the moon", "a dog " * 50]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve("rerank", tmp_path_factory.mktemp("rerank")) as example:
        yield example


def ask(served, **body) -> dict:
    return served.json("--json", json.dumps(body), "/predict")


@torch.inference_mode()
def test_relevance_of_each_text_equals_that_of_transformers(served):
    tokenizer = hub.AutoTokenizer.from_pretrained(served.model)
    network = hub.BertForSequenceClassification.from_pretrained(served.model).eval()
    expected = []
    for text in TEXTS:
        tokens = tokenizer("who barks?", text, truncation=True, return_tensors="pt")
        expected.append(float(network(**tokens).logits.sigmoid()))
    answers = ask(served, query="who barks?", text=TEXTS)["predictions"]
    relevances = [answer["relevance"] for answer in answers]
    assert relevances == pytest.approx(expected, abs=1e-3)
    assert len(set(relevances)) == len(TEXTS)


def test_one_text_gets_the_same_answer_as_among_others(served):
    several = ask(served, query="who sleeps?", text=TEXTS)["predictions"]
    for text, answer in zip(TEXTS, several, strict=True):
        assert_similar(ask(served, query="who sleeps?", text=text), answer)
        assert_similar(served.json("-d", text, "/predict?query=who+sleeps?"), answer)
    inputs, batches = served.batch_sizes()
    assert batches < inputs


def test_query_changes_the_answer(served):
    one, other = (ask(served, query=q, text=TEXTS[0]) for q in ("who barks?", "moon"))
    assert one != other


@pytest.mark.parametrize(
    "body, part",
    [
        ({"text": "a dog"}, "query: Field required"),
        ({"text": "a dog", "query": ""}, "query"),
        ({"text": "a dog", "query": "x" * 501}, "query"),
        ({"text": "a dog", "query": 5}, "query"),
        ({"text": " ", "query": "who?"}, "The text is empty"),
        ({"query": "who?"}, "has no text"),
    ],
)
def test_wrong_request_is_refused(served, body, part):
    answer = ask(served, **body)
    assert (answer["status"], part in answer["detail"]) == (400, True)


def test_one_bad_text_among_others_is_an_error_of_its_own(served):
    good, bad = ask(served, query="who?", text=["a dog", " "])["predictions"]
    assert "relevance" in good and bad["error"]["status"] == 400


def test_query_is_described(served):
    assert served.json("/")["fields"]["query"]["maxLength"] == 500
    assert '"query":' in served.curl("/openapi.json")
    assert 'name="query"' in served.curl("-H", "Accept: text/html", "/")


def test_log_is_quiet(served):
    assert_log_is_quiet(served)
