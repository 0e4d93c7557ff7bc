"""The image examples whose answers or fields are special, loaded in this process."""

import io

import numpy as np
import pytest
import torch
import transformers as hub
from PIL import Image

from model_interface.answers import to_answer
from tests.examples import tiny_checkpoints
from tests.examples.loading import Loaded, photo
from tests.examples.serving import assert_similar
from tests.support.images import make_image

NAMES = ("vision_language", "florence2", "depth", "super_resolution")
SHAPES = [(96, 64), (90, 60), (96, 64), (89, 57)]  # one after padding to 8 pixels


@pytest.fixture(scope="module", params=NAMES)
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    getattr(tiny_checkpoints, request.param)(folder)
    example = Loaded(request.param, folder)
    example.folder = folder
    return example


def only(name):
    """Run a test with one of the examples only."""
    return pytest.mark.parametrize("loaded", [name], indirect=True)


def images_of(answer) -> dict[str, Image.Image]:
    """Return the images of an answer by their names; an answer may be one itself."""
    return {k: v for k, v in to_answer(answer).items() if isinstance(v, Image.Image)}


def without_images(answer) -> dict:
    return {k: v for k, v in to_answer(answer).items() if k not in images_of(answer)}


def largest_difference(one, other) -> float:
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).max()


def test_batch_equals_single_images(loaded):
    photos = [photo(*shape, seed) for seed, shape in enumerate(SHAPES)]
    several = loaded.together(photos)
    for one, data in zip(several, photos, strict=True):
        (single,) = loaded.together([data])
        for name, image in images_of(one).items():
            # The last bit of a pixel may differ.
            assert largest_difference(image, images_of(single)[name]) <= 1
        assert_similar(without_images(one), without_images(single))


@pytest.mark.parametrize(
    "status, data",
    [
        (413, make_image(10_000, 6_000, mode="1")),
        (415, b"hello"),
        (422, make_image(200, 200, "JPEG", quality=95)[:400]),
    ],
)
def test_bad_image_is_refused(loaded, status, data):
    assert loaded.refusal(data)[0] == status


def test_images_of_odd_shapes_are_answered(loaded):
    for shape in [(1, 1), (1, 3_000), (3_000, 1)]:
        assert loaded.post(make_image(*shape, mode="1")).status_code == 200


def test_unknown_field_is_refused(loaded):
    status, sentence = loaded.refusal(photo(), tone="kind")
    assert (status, "tone is unknown" in sentence) == (400, True)


def test_input_is_described(loaded):
    index = loaded.client.get("/").json
    openapi = loaded.client.get("/openapi.json").text
    page = loaded.client.get("/", headers={"Accept": "text/html"}).text
    for field in index["fields"]:
        assert f'"{field}":' in openapi and field in page


@only("vision_language")
def test_prompt_changes_the_answer_and_shares_a_batch(loaded):
    prompts = ["What is it?", "Describe this image, and say what is in front.", "?"]
    fields = [{"prompt": prompt, "max_tokens": 8} for prompt in prompts]
    answers = loaded.together([photo()] * 3, *fields)
    assert len({answer["answer"] for answer in answers}) == 3
    for answer, own in zip(answers, fields):
        assert loaded.together([photo()], own) == [answer]


@only("vision_language")
def test_answer_equals_that_of_transformers(loaded):
    network = hub.Idefics3ForConditionalGeneration.from_pretrained(loaded.folder).eval()
    processor = hub.Idefics3Processor.from_pretrained(loaded.folder)
    for details in (True, False):
        side = 1024 if details else 512
        image = Image.open(io.BytesIO(photo())).resize((side, side))
        text = "User:<image>Describe this image.<end_of_utterance>\nAssistant:"
        batch = processor(
            images=[image],
            text=text,
            do_image_splitting=details,
            size={"longest_edge": side},
            return_tensors="pt",
        )
        assert batch["pixel_values"].shape[1] == (5 if details else 1)
        tokens = network.generate(**batch, max_new_tokens=8)
        expected = processor.tokenizer.decode(
            tokens[0, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        answer = loaded.post(photo(), max_tokens="8", details=str(details)).json
        assert answer == {"answer": expected.strip()}


@only("vision_language")
def test_answer_has_at_most_max_tokens(loaded):
    one, many = (loaded.post(photo(), max_tokens=n).json["answer"] for n in ("1", "32"))
    assert len(one) <= 1 < len(many) <= 32


@only("vision_language")
@pytest.mark.parametrize(
    "field, value",
    [
        ("prompt", "x" * 1001),
        ("prompt", "What is <image>?"),
        ("max_tokens", "0"),
        ("max_tokens", "257"),
        ("max_tokens", "many"),
        ("details", "perhaps"),
    ],
)
def test_wrong_field_is_refused_by_its_name(loaded, field, value):
    status, sentence = loaded.refusal(photo(), **{field: value})
    assert (status, sentence.startswith(field)) == (400, True)


@only("vision_language")
def test_other_options_need_another_batch(loaded):
    keys = set()
    for fields in ({}, {"max_tokens": 8}, {"details": True}, {"prompt": "Why?"}):
        upload = loaded.model.Fields(**fields)
        keys.add(loaded.info.batch_key((None, "", upload)))
    assert len(keys) == 3


@only("florence2")
def test_tasks_share_a_batch(loaded):
    fields = [{"task": task} for task in ("caption", "objects", "text")]
    answers = loaded.together([photo()] * 3, *fields)
    assert ["things" in answer for answer in answers] == [False, True, False]
    for answer, own in zip(answers, fields):
        assert loaded.together([photo()], own) == [answer]
        assert "<pad>" not in answer["answer"]


@only("florence2")
def test_objects_have_boxes_in_pixels_of_the_image(loaded):
    text = "</s><s>dog<loc_0><loc_500><loc_499><loc_999>cat<loc_1><loc_1><loc_9><loc_9>"
    answer = loaded.model.encode((f"{text}</s><pad><pad>", "<OD>", (1000, 2000)))
    dog, cat = answer["things"]
    assert answer["answer"] == "dog, cat"
    assert (dog["class"], cat["class"]) == ("dog", "cat")
    assert dog["box"] == pytest.approx([0, 1001, 500, 1999], abs=1)


@only("florence2")
def test_task_is_one_of_three(loaded):
    status, sentence = loaded.refusal(photo(), task="poem")
    assert (status, "'caption', 'text' or 'objects'" in sentence) == (400, True)


@only("depth")
def test_depth_is_a_picture_of_the_size_of_the_image(loaded):
    answer = loaded.post(photo(90, 60), headers={})
    picture = Image.open(io.BytesIO(answer.data))
    assert answer.mimetype == "image/png"
    assert (picture.size, picture.mode) == ((90, 60), "L")


@only("depth")
@torch.inference_mode()
def test_depth_equals_that_of_transformers(loaded):
    network = hub.DepthAnythingForDepthEstimation.from_pretrained(loaded.folder).eval()
    processor = hub.DPTImageProcessorPil.from_pretrained(loaded.folder)
    image = Image.open(io.BytesIO(photo(518, 518)))
    pixels = processor(images=image, return_tensors="pt")
    expected = network(**pixels).predicted_depth[0].numpy()
    expected = 255 * (expected - expected.min()) / np.ptp(expected)
    (answer,) = loaded.together([photo(518, 518)])
    assert largest_difference(answer["depth"], expected) < 2
    column, row = answer["nearest"]
    assert expected[row, column] == pytest.approx(255, abs=1)


@only("depth")
def test_json_holds_the_picture_and_the_nearest_pixel(loaded):
    answer = loaded.post(photo(90, 60)).json
    assert answer["depth"].startswith("data:image/png;base64,")
    x, y = answer["nearest"]
    assert 0 <= x < 90 and 0 <= y < 60


@only("super_resolution")
@torch.inference_mode()
def test_image_becomes_twice_as_large(loaded):
    network = hub.Swin2SRForImageSuperResolution.from_pretrained(loaded.folder).eval()
    answer = loaded.post(photo(96, 64), headers={})
    image = Image.open(io.BytesIO(answer.data))
    assert (answer.mimetype, image.size) == ("image/png", (192, 128))
    pixels = np.array(Image.open(io.BytesIO(photo(96, 64))))
    pixels = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    expected = network(pixels).reconstruction[0].clamp(0, 1).permute(1, 2, 0) * 255
    assert largest_difference(image, expected.numpy()) <= 1


@only("super_resolution")
def test_large_image_is_refused_with_the_limit(loaded):
    status, sentence = loaded.refusal(photo(600, 600))
    assert (status, "262,144 pixels" in sentence) == (413, True)


@only("super_resolution")
def test_images_of_another_size_need_another_batch(loaded):
    keys = {loaded.info.batch_key((np.zeros(shape), ())) for shape in [(8, 8), (8, 16)]}
    assert len(keys) == 2
