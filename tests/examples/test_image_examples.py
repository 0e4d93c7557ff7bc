"""The image examples, served with tiny checkpoints, against transformers by hand."""

import base64
import io
import json
import shutil
import subprocess
from importlib import import_module
from random import Random

import numpy as np
import pytest
import torch
import transformers as hub
from PIL import Image

from demo import scenes
from model_helpers.pretrained import fast_dtype
from model_interface.files import Upload
from tests.examples import tiny_checkpoints
from tests.examples.serving import (
    JSON,
    PAGE,
    PNG,
    assert_batch_equals_singles,
    assert_is_described,
    assert_log_is_quiet,
    assert_similar,
    serve,
)
from tests.support.images import make_image
from tests.support.server import ROOT, Server

FIELDS = {  # of a request, beside the image
    "classify_vit": {},
    "zero_shot_clip": {"labels": "a dog, a cat, a fish"},
    "caption_blip": {},
    "detect": {},
    "segment": {},
    "embed": {},
}
SIZES = [(224, 224), (320, 200), (90, 400), (512, 512), (64, 48)]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return files with drawn scenes, one of each size."""
    folder, random = tmp_path_factory.mktemp("images"), Random("examples")
    files = [folder / f"{width}x{height}.png" for width, height in SIZES]
    for file, size in zip(files, SIZES):
        scenes.draw(scenes.sample(random), random, size).save(file)
    return files


@pytest.fixture(scope="module", params=FIELDS)
def served(request, tmp_path_factory):
    name = request.param
    with serve(name, tmp_path_factory.mktemp(name), **FIELDS[name]) as example:
        yield example


def only(name):
    """Run a test with one of the examples only."""
    return pytest.mark.parametrize("served", [name], indirect=True)


def drawing(served, file, tmp_path) -> Image.Image:
    """Return the drawn answer."""
    drawn = tmp_path / "drawn.png"
    served.predict(file, accept=(*PNG, "-o", drawn))
    return Image.open(io.BytesIO(drawn.read_bytes()))


def test_batch_equals_single_images(served, images):
    assert_batch_equals_singles(served, images)


@pytest.mark.parametrize(
    "status, data",
    [
        ("400", b""),
        ("413", make_image(10_000, 6_000, mode="1")),
        ("415", b"hello"),
        ("422", make_image(200, 200, "JPEG", quality=95)[:400]),
    ],
)
def test_bad_image_is_refused(served, tmp_path, status, data):
    query = "?labels=a" if served.fields else ""
    assert served.refusal(data, tmp_path / "bad", query) == status


def test_images_of_odd_shapes_are_answered(served, tmp_path):
    file = tmp_path / "odd.png"
    for shape in [(1, 1), (1, 60_000), (60_000, 1)]:
        file.write_bytes(make_image(*shape, mode="1"))
        assert "error" not in served.predict(file)


def test_answer_to_curl_is_a_line(served, images):
    first = next(iter(served.predict(images[0]).values()))
    assert served.predict(images[0], accept=()) == f"{first}\n"


def test_input_is_described(served, images):
    assert_is_described(served, images[0])


def test_page_and_openapi_show_fields_of_the_model_only(served):
    for text in (served.curl(*PAGE, "/"), served.curl("/openapi.json")):
        assert ("labels" in text) == ("labels" in served.fields)


def test_page_shows_the_answer(served, images):
    page = served.predict(images[0], accept=PAGE)
    assert str(next(iter(served.predict(images[0]).values())))[:20] in page
    is_drawn = 'src="data:image/png;base64,' in page
    assert is_drawn == (served.name in ("detect", "segment"))


def test_log_is_quiet(served):
    assert_log_is_quiet(served)


def load(served, network_class, processor_class):
    """Load the network and the processor without the example."""
    network = network_class.from_pretrained(served.model).eval()
    return network, processor_class.from_pretrained(served.model)


@only("classify_vit")
@torch.inference_mode()
def test_class_equals_that_of_transformers(served, images):
    network, processor = load(
        served, hub.ViTForImageClassification, hub.ViTImageProcessorPil
    )
    for file in images:
        pixels = processor(images=Image.open(file), return_tensors="pt")
        scores = network(**pixels).logits[0].softmax(-1)
        name = network.config.id2label[int(scores.argmax())]
        confidence = pytest.approx(float(scores.max()), abs=1e-4)
        assert served.predict(file) == {"class": name, "confidence": confidence}


@only("zero_shot_clip")
@torch.inference_mode()
def test_probabilities_equal_those_of_transformers(served, images):
    network, processor = load(served, hub.CLIPModel, hub.CLIPImageProcessorPil)
    tokenizer = hub.AutoTokenizer.from_pretrained(served.model)
    labels = ["a dog", "a cat", "a fish"]
    pixels = processor(images=Image.open(images[0]), return_tensors="pt")
    tokens = tokenizer(labels, padding=True, return_tensors="pt")
    scores = network(**pixels, **tokens).logits_per_image[0].softmax(-1).tolist()
    answer = served.predict(images[0])
    expected = dict(zip(labels, scores))
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-4)
    ranked = list(answer["probabilities"].values())
    assert ranked == sorted(ranked, reverse=True)
    assert answer["label"] == labels[int(np.argmax(scores))]


@only("zero_shot_clip")
def test_labels_can_be_sent_in_any_form(served, images, tmp_path):
    file = ("-F", f"image=@{images[0]}")
    body = tmp_path / "body.json"
    text = base64.b64encode(images[0].read_bytes()).decode()
    body.write_text(json.dumps({"image": text, "labels": ["a dog", "a cat, asleep"]}))
    requests = {
        ("a dog", "a cat"): [
            (*file, "-F", "labels=a dog , a cat, a dog", "/predict"),
            (*file, "/predict?labels=a+dog,a+cat"),
            ("-T", images[0], "/predict?labels=a+dog&labels=a+cat"),
        ],
        ("a dog", "a cat, asleep"): [
            (*file, "-F", "labels=a dog", "-F", "labels=a cat, asleep", "/predict"),
            ("--json", f"@{body}", "/predict"),
        ],
    }
    for labels, forms in requests.items():
        for arguments in forms:
            answer = served.json(*arguments)
            assert set(answer["probabilities"]) == set(labels)


@only("zero_shot_clip")
@pytest.mark.parametrize(
    "labels", ["", " , ,", "a,", ",".join(map(str, range(65))), 201 * "a"]
)
def test_unusable_labels_are_refused(served, images, labels):
    form = ("-F", f"file=@{images[0]}", "-F", f"labels={labels}")
    answer = served.json(*form, "/predict")
    assert answer["status"] == 400 and answer["detail"].startswith("labels")


@only("zero_shot_clip")
def test_requests_with_different_labels_share_a_batch(served, images, monkeypatch):
    monkeypatch.setenv("ENDPOINT_MODEL", str(served.model))
    model = import_module("examples.zero_shot_clip").Model("cpu")
    calls = []
    model.network.register_forward_pre_hook(
        lambda _, __, tensors: calls.append(tensors), with_kwargs=True
    )
    labels = [{"dog", "cat"}, {"cat", "fish"}, {"cat"}, {"dog", "big moose"}, {"a"}]
    fields = [model.Fields(labels=some) for some in labels]
    uploads = [
        Upload(file.read_bytes(), fields=own) for file, own in zip(images, fields)
    ]
    inputs = [model.decode(upload) for upload in uploads]
    together = [model.encode(output) for output in model.predict(inputs)]
    assert [len(call["pixel_values"]) for call in calls] == [5]
    assert [len(call["input_ids"]) for call in calls] == [5]
    for answer, input in zip(together, inputs):
        assert_similar(answer, model.encode(*model.predict([input])))


@only("caption_blip")
@torch.inference_mode()
def test_caption_equals_that_of_transformers(served, images):
    network, processor = load(
        served, hub.BlipForConditionalGeneration, hub.BlipImageProcessorPil
    )
    network = network.to(fast_dtype("cpu"))  # The example uses this dtype.
    tokenizer = hub.AutoTokenizer.from_pretrained(served.model)
    captions = []
    for file in images:
        pixels = processor(images=Image.open(file), return_tensors="pt").pixel_values
        pixels = pixels.to(network.dtype)
        tokens = network.generate(pixels, max_length=20, num_beams=3)
        captions.append(tokenizer.decode(tokens[0], skip_special_tokens=True).strip())
    assert len(set(captions)) > 1
    assert [served.predict(file)["caption"] for file in images] == captions


@only("detect")
@torch.inference_mode()
def test_boxes_equal_those_of_transformers(served, images):
    network, processor = load(
        served, hub.RTDetrForObjectDetection, hub.RTDetrImageProcessorPil
    )
    image = Image.open(images[1])
    outputs = network(**processor(images=image, return_tensors="pt"))
    scores, centers = outputs.logits[0].sigmoid(), outputs.pred_boxes[0]
    corners = torch.cat([centers[:, :2] - centers[:, 2:] / 2] * 2, 1)
    corners[:, 2:] += centers[:, 2:]
    pixels = (corners.clamp(0, 1) * torch.tensor(image.size * 2)).tolist()
    answer = served.predict(images[1])
    assert answer["things"]
    for thing in answer["things"]:
        label, confidence = network.config.label2id[thing["class"]], thing["confidence"]
        query = int((scores[:, label] - confidence).abs().argmin())
        assert float(scores[query, label]) == pytest.approx(confidence, abs=1e-3)
        assert thing["box"] == pytest.approx(pixels[query], abs=1)


@only("detect")
def test_boxes_are_drawn_on_the_image(served, images, tmp_path):
    left, top, right, bottom = served.predict(images[1])["things"][0]["box"]
    before, after = Image.open(images[1]), drawing(served, images[1], tmp_path)
    assert (after.format, after.size) == ("PNG", before.size)
    changed = np.argwhere((np.asarray(before) != np.asarray(after)).any(2))
    assert len(changed) > 0
    edges = np.asarray(after)[[top, min(bottom, 199)], (left + right) // 2]
    assert edges.tolist() == 2 * [[255, 0, 0]]


@only("segment")
@torch.inference_mode()
def test_mask_equals_that_of_transformers(served, images, tmp_path):
    network, processor = load(
        served, hub.SegformerForSemanticSegmentation, hub.SegformerImageProcessorPil
    )
    file = next(file for file in images if file.stem == "512x512")
    logits = network(**processor(images=Image.open(file), return_tensors="pt")).logits
    logits = torch.nn.functional.interpolate(logits, (512, 512), mode="bilinear")
    expected, mask = logits[0].argmax(0).numpy(), drawing(served, file, tmp_path)
    assert (mask.format, mask.mode) == ("PNG", "P")
    assert np.mean(np.asarray(mask) == expected) > 0.999
    for name, share in served.predict(file)["shares"].items():
        label = network.config.label2id[name]
        assert share == pytest.approx(np.mean(expected == label), abs=1e-3)


@only("segment")
def test_mask_has_the_size_of_the_image(served, images, tmp_path):
    for file, size in zip(images, SIZES):
        assert drawing(served, file, tmp_path).size == size


@only("embed")
@torch.inference_mode()
def test_embedding_equals_that_of_transformers(served, images):
    network, processor = load(served, hub.Dinov2Model, hub.BitImageProcessorPil)
    pixels = processor(images=Image.open(images[0]), return_tensors="pt").pixel_values
    vector = network(pixels).pooler_output[0].numpy()
    expected = vector / np.linalg.norm(vector)
    embedding = served.predict(images[0])["embedding"]
    assert embedding == pytest.approx(expected.tolist(), abs=1e-3)


@only("embed")
def test_embedding_does_not_depend_on_the_file_format(served, images, tmp_path):
    copy = tmp_path / "copy.bmp"
    Image.open(images[0]).save(copy)
    files = (images[0], copy, images[1])
    one, same, other = (np.array(served.predict(file)["embedding"]) for file in files)
    assert one @ one == pytest.approx(1, abs=1e-4)
    assert np.abs(one - same).max() < 1e-5 < np.abs(one - other).max()


def test_swapping_the_model_changes_one_file(tmp_path, images):
    clone, folder = tmp_path / "clone", tmp_path / "checkpoint"
    subprocess.check_call(["git", "clone", "--quiet", ROOT, clone])
    shutil.copy(ROOT / "examples" / "embed.py", clone / "endpoint" / "model.py")
    tiny_checkpoints.embed(folder)
    with Server("gunicorn", cwd=clone, ENDPOINT_MODEL=folder) as swapped:
        swapped.wait_for(200)
        answer = swapped.curl(*JSON, "-F", f"file=@{images[0]}", "/")
        assert len(json.loads(answer)["embedding"]) == 32
        assert json.loads(swapped.curl("/"))["model"] == "checkpoint"
    changes = ["git", "-C", clone, "status", "--porcelain"]
    assert subprocess.check_output(changes, text=True) == " M endpoint/model.py\n"
