"""The image examples through a real gunicorn, on tiny checkpoints of their classes."""

import base64
import io
import json
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from random import Random

import numpy as np
import pytest
import torch
import transformers as hub
from PIL import Image

from demo import scenes
from endpoint.uploads import Upload
from tests import server
from tests.examples import tiny
from tests.support.images import make_image as picture
from tests.support.server import ROOT, Server

EXAMPLES = {  # and what a request to each needs besides the picture
    "classify_vit": (),
    "zero_shot_clip": ("-F", "labels=a dog, a cat, a fish"),
    "caption_blip": (),
    "detect": (),
    "segment": (),
    "embed": (),
}
SIZES = [(224, 224), (320, 200), (90, 400), (512, 512), (64, 48)]
JSON, PNG = ("-H", "Accept: application/json"), ("-H", "Accept: image/png")
PAGE = ("-H", "Accept: text/html")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files with drawn scenes."""
    folder, random = tmp_path_factory.mktemp("pictures"), Random("examples")
    files = [folder / f"{width}x{height}.png" for width, height in SIZES]
    for file, size in zip(files, SIZES):
        scenes.draw(scenes.sample(random), random, size).save(file)
    return files


class Example(Server):
    """An example served by gunicorn."""

    def __init__(self, name: str, folder) -> None:
        getattr(tiny, name)(folder)
        self.name, self.folder, self.fields = name, folder, EXAMPLES[name]
        variables = {"ENDPOINT_MODULE": f"examples.{name}", "ENDPOINT_MODEL": folder}
        super().__init__("gunicorn", **variables)
        self.wait_for(200, 120)

    def ask(self, *files, accept=JSON) -> str:
        sent = [part for file in files for part in ("-F", f"file=@{file}")]
        return self.curl(*accept, *sent, *self.fields, "/predict")

    def values(self, *files) -> dict:
        return json.loads(self.ask(*files))

    def image(self, tmp_path, file) -> Image.Image:
        drawn = tmp_path / "drawn.png"
        self.ask(file, accept=(*PNG, "-o", drawn))
        return Image.open(io.BytesIO(drawn.read_bytes()))


@pytest.fixture(scope="module", params=EXAMPLES)
def served(request, tmp_path_factory):
    with Example(request.param, tmp_path_factory.mktemp(request.param)) as example:
        yield example


def serving(*names):
    return pytest.mark.parametrize("served", names, indirect=True)


def parts(values) -> tuple[str, list[float]]:
    """Split an answer into its words and, as batches may differ by a hair, numbers."""
    number, text = r"-?\d+(?:\.\d+)?(?:e-\d+)?", json.dumps(values)
    return re.sub(number, "#", text), [float(one) for one in re.findall(number, text)]


def assert_alike(one, other):
    (words, numbers), (their_words, their_numbers) = parts(one), parts(other)
    assert words == their_words
    assert numbers == pytest.approx(their_numbers, abs=2e-4)


def batches(served) -> tuple[int, int]:
    """Return how many inputs there were and in how many batches."""
    figures = served.curl("/metrics")
    found = (
        re.search(rf"endpoint_batch_size_{what} (\S+)", figures)
        for what in ("sum", "count")
    )
    inputs, calls = (int(float(one[1])) for one in found)
    return inputs, calls


def test_batch_equals_singles(served, pictures):
    singles = [served.values(file) for file in pictures]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            several = list(pool.map(lambda _: served.values(*pictures), range(4)))
            for answers in several:
                for one, other in zip(answers["predictions"], singles, strict=True):
                    assert_alike(one, other)
            inputs, calls = batches(served)
            if calls < inputs:
                return
    pytest.fail("no two pictures ever shared a batch")


@pytest.mark.parametrize(
    "status, data",
    [
        ("400", b""),
        ("413", picture(10_000, 6_000, mode="1")),
        ("415", b"hello"),
        ("422", picture(200, 200, "JPEG", quality=95)[:400]),
    ],
)
def test_bad_picture_is_refused(served, tmp_path, status, data):
    file = tmp_path / "bad"
    file.write_bytes(data)
    sent = ("-T", file, "-w", "%{http_code}", "-o", "/dev/null")
    assert served.curl(*sent, "/predict?labels=a") == status


def test_odd_shapes_are_answered(served, tmp_path):
    file = tmp_path / "odd.png"
    for shape in [(1, 1), (1, 60_000), (60_000, 1)]:
        file.write_bytes(picture(*shape, mode="1"))
        assert "error" not in served.values(file)


def test_answer_to_curl_is_a_line(served, pictures):
    values = served.values(pictures[0])
    assert served.ask(pictures[0], accept=()) == f"{next(iter(values.values()))}\n"


def test_index_page_and_contract_speak_of_the_model(served):
    assert json.loads(served.curl("/"))["model"] == str(served.folder)
    page, contract = served.curl(*PAGE, "/"), served.curl("/openapi.json")
    assert "<form" in page and str(served.folder) in page
    for text in (page, contract):
        assert ("labels" in text) == bool(served.fields)


def test_command_line_gets_the_same_answer(served, pictures):
    fields = ["--labels", "a dog, a cat, a fish"] if served.fields else []
    command = [server.SCRIPTS / "flask", "predict", pictures[0], "--url", served.url]
    line = subprocess.check_output([*command, *fields, "--format", "jsonl"], cwd=ROOT)
    answer = json.loads(line)
    del answer["input"]
    assert_alike(answer, served.values(pictures[0]))


def test_page_shows_the_answer(served, pictures):
    page = served.ask(pictures[0], accept=PAGE)
    assert str(next(iter(served.values(pictures[0]).values())))[:20] in page
    drawn = 'src="data:image/png;base64,' in page
    assert drawn == (served.name in ("detect", "segment"))


def test_log_holds_no_noise(served):
    lines = [line for line in served.log.splitlines() if "NO GPU" not in line]
    assert not re.search("(?i)warn|unexpected|missing|error|deprecat", "\n".join(lines))


def load(served, network, processor):
    """Load the parts by hand, without the example."""
    network = network.from_pretrained(served.folder).eval()
    return network, processor.from_pretrained(served.folder)


@serving("classify_vit")
@torch.inference_mode()
def test_class_equals_that_by_hand(served, pictures):
    network, processor = load(
        served, hub.ViTForImageClassification, hub.ViTImageProcessorPil
    )
    for file in pictures:
        pixels = processor(images=Image.open(file), return_tensors="pt")
        chances = network(**pixels).logits[0].softmax(-1)
        name = network.config.id2label[int(chances.argmax())]
        best = pytest.approx(float(chances.max()), abs=1e-4)
        assert served.values(file) == {"class": name, "confidence": best}


@serving("zero_shot_clip")
@torch.inference_mode()
def test_probabilities_equal_those_by_hand(served, pictures):
    network, processor = load(served, hub.CLIPModel, hub.CLIPImageProcessorPil)
    tokenizer = hub.AutoTokenizer.from_pretrained(served.folder)
    labels = ["a dog", "a cat", "a fish"]
    pixels = processor(images=Image.open(pictures[0]), return_tensors="pt")
    tokens = tokenizer(labels, padding=True, return_tensors="pt")
    chances = network(**pixels, **tokens).logits_per_image[0].softmax(-1).tolist()
    values = served.values(pictures[0])
    assert values["probabilities"] == pytest.approx(
        dict(zip(labels, chances)), abs=1e-4
    )
    ranked = list(values["probabilities"].values())
    assert ranked == sorted(ranked, reverse=True)
    assert values["label"] == labels[int(np.argmax(chances))]


@serving("zero_shot_clip")
def test_labels_are_taken_in_every_form(served, pictures, tmp_path):
    file = ("-F", f"image=@{pictures[0]}")
    body = tmp_path / "body.json"
    text = base64.b64encode(pictures[0].read_bytes()).decode()
    body.write_text(json.dumps({"image": text, "labels": ["a dog", "a cat, asleep"]}))
    ways = {
        ("a dog", "a cat"): [
            (*file, "-F", "labels=a dog , a cat,", "/predict"),
            (*file, "/predict?labels=a+dog,a+cat"),
            ("-T", pictures[0], "/predict?labels=a+dog&labels=a+cat"),
        ],
        ("a dog", "a cat, asleep"): [
            (*file, "-F", "labels=a dog", "-F", "labels=a cat, asleep", "/predict"),
            ("--json", f"@{body}", "/predict"),
        ],
    }
    for labels, requests in ways.items():
        for request in requests:
            answer = json.loads(served.curl(*JSON, *request))
            assert set(answer["probabilities"]) == set(labels)


@serving("zero_shot_clip")
@pytest.mark.parametrize(
    "labels", ["", " , ,", ",".join(map(str, range(65))), 201 * "a"]
)
def test_labels_that_cannot_be_used_are_refused(served, pictures, labels):
    sent = ("-F", f"file=@{pictures[0]}", "-F", f"labels={labels}")
    answer = json.loads(served.curl(*JSON, *sent, "/predict"))
    assert answer["status"] == 400 and "1 to 64 labels" in answer["detail"]


@serving("zero_shot_clip")
def test_requests_with_other_labels_share_a_batch(served, pictures, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", str(served.folder))
    model = import_module("examples.zero_shot_clip").Model("cpu")
    calls = []
    model.network.register_forward_pre_hook(
        lambda _, __, given: calls.append(given), with_kwargs=True
    )
    uploads = [Upload(file.read_bytes()) for file in pictures]
    wanted = ["a dog, a cat", "a cat, a fish", "a cat", "a dog, a very big moose", "a"]
    for upload, labels in zip(uploads, wanted):
        upload.fields["labels"] = labels
    inputs = [model.decode(upload) for upload in uploads]
    together = [model.encode(output) for output in model.predict(inputs)]
    assert [len(call["pixel_values"]) for call in calls] == [5]
    assert [len(call["input_ids"]) for call in calls] == [5]
    for one, input in zip(together, inputs):
        assert_alike(one, model.encode(*model.predict([input])))


@serving("caption_blip")
@torch.inference_mode()
def test_caption_equals_that_by_hand(served, pictures):
    network, processor = load(
        served, hub.BlipForConditionalGeneration, hub.BlipImageProcessorPil
    )
    tokenizer = hub.AutoTokenizer.from_pretrained(served.folder)
    captions = []
    for file in pictures:
        pixels = processor(images=Image.open(file), return_tensors="pt").pixel_values
        tokens = network.generate(pixels, max_length=20, num_beams=3)
        captions.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    assert len(set(captions)) > 1
    assert [served.values(file)["caption"] for file in pictures] == captions


@serving("detect")
@torch.inference_mode()
def test_boxes_equal_those_by_hand(served, pictures):
    network, processor = load(
        served, hub.RTDetrForObjectDetection, hub.RTDetrImageProcessorPil
    )
    image = Image.open(pictures[1])
    outputs = network(**processor(images=image, return_tensors="pt"))
    scores, middles = outputs.logits[0].sigmoid(), outputs.pred_boxes[0]
    corners = torch.cat([middles[:, :2] - middles[:, 2:] / 2] * 2, 1)
    corners[:, 2:] += middles[:, 2:]
    pixels = (corners.clamp(0, 1) * torch.tensor(image.size * 2)).tolist()
    found = served.values(pictures[1])
    assert found["things"]
    for thing in found["things"]:
        label = network.config.label2id[thing["class"]]
        query = int((scores[:, label] - thing["confidence"]).abs().argmin())
        assert float(scores[query, label]) == pytest.approx(
            thing["confidence"], abs=1e-3
        )
        assert thing["box"] == pytest.approx(pixels[query], abs=1)


@serving("detect")
def test_boxes_are_drawn_on_the_picture(served, pictures, tmp_path):
    left, top, right, bottom = served.values(pictures[1])["things"][0]["box"]
    before, after = Image.open(pictures[1]), served.image(tmp_path, pictures[1])
    assert (after.format, after.size) == ("PNG", before.size)
    changed = np.argwhere((np.asarray(before) != np.asarray(after)).any(2))
    assert len(changed) > 0
    edges = np.asarray(after)[[top, min(bottom, 199)], (left + right) // 2]
    assert edges.tolist() == 2 * [[255, 0, 0]]


@serving("segment")
@torch.inference_mode()
def test_mask_equals_that_by_hand(served, pictures, tmp_path):
    network, processor = load(
        served, hub.SegformerForSemanticSegmentation, hub.SegformerImageProcessorPil
    )
    file = next(file for file in pictures if file.stem == "512x512")
    logits = network(**processor(images=Image.open(file), return_tensors="pt")).logits
    logits = torch.nn.functional.interpolate(logits, (512, 512), mode="bilinear")
    expected, mask = logits[0].argmax(0).numpy(), served.image(tmp_path, file)
    assert (mask.format, mask.mode) == ("PNG", "P")
    assert np.mean(np.asarray(mask) == expected) > 0.999
    for name, share in served.values(file)["shares"].items():
        label = network.config.label2id[name]
        assert share == pytest.approx(np.mean(expected == label), abs=1e-3)


@serving("segment")
def test_mask_is_as_large_as_the_picture(served, pictures, tmp_path):
    for file, size in zip(pictures, SIZES):
        assert served.image(tmp_path, file).size == size


@serving("embed")
@torch.inference_mode()
def test_embedding_equals_that_by_hand(served, pictures):
    network, processor = load(served, hub.Dinov2Model, hub.BitImageProcessorPil)
    pixels = processor(images=Image.open(pictures[0]), return_tensors="pt").pixel_values
    vector = network(pixels).pooler_output[0].numpy()
    expected = vector / np.linalg.norm(vector)
    embedding = served.values(pictures[0])["embedding"]
    assert embedding == pytest.approx(expected.tolist(), abs=1e-3)


@serving("embed")
def test_same_picture_has_the_same_embedding_whatever_its_file(
    served, pictures, tmp_path
):
    again = tmp_path / "again.bmp"
    Image.open(pictures[0]).save(again)
    files = (pictures[0], again, pictures[1])
    one, same, other = (np.array(served.values(file)["embedding"]) for file in files)
    assert one @ one == pytest.approx(1, abs=1e-4)
    assert np.abs(one - same).max() < 1e-5 < np.abs(one - other).max()


def test_swap_is_one_file_in_a_fresh_clone(tmp_path, pictures, monkeypatch):
    clone, folder = tmp_path / "clone", tmp_path / "checkpoint"
    subprocess.check_call(["git", "clone", "--quiet", ROOT, clone])
    shutil.copy(clone / "examples" / "embed.py", clone / "endpoint" / "model.py")
    tiny.embed(folder)
    monkeypatch.setattr(server, "ROOT", clone)
    with Server("gunicorn", ENDPOINT_MODEL=folder) as swapped:
        swapped.wait_for(200, 120)
        answer = swapped.curl(*JSON, "-F", f"file=@{pictures[0]}", "/")
        assert len(json.loads(answer)["embedding"]) == 32
        assert json.loads(swapped.curl("/"))["model"] == str(folder)
    changes = ["git", "-C", clone, "status", "--porcelain"]
    assert subprocess.check_output(changes, text=True) == " M endpoint/model.py\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_small_and_pinned(name):
    text = (ROOT / "examples" / f"{name}.py").read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 45
    assert re.search('^CHECKPOINT = "[\\w.-]+/[\\w.-]+"', text, re.M)
    assert re.search('^REVISION = "[0-9a-f]{40}"', text, re.M)
