"""The README's commands, as real processes with the real code and the bundled model."""

import base64
import io
import json
import re
import subprocess
import time

import pytest
from PIL import Image

from tests.support.images import make_image as picture
from tests.support.server import ROOT, SCRIPTS, Server

CAPTION = "a french bulldog in a yellow sweater on a blue background\n"
BULLDOG = ROOT / "french_bulldog.jpg"
NO_HUB = {"ENDPOINT_MODEL": "", "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def gunicorn():
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        yield server.wait_for(200)


@pytest.fixture(scope="module")
def flask():
    with Server("flask", "run", ENDPOINT_MODEL="demo") as server:
        yield server.wait_for(200)


def test_readme_shows_the_real_answer(gunicorn):
    readme = (ROOT / "README.md").read_text()
    command, answer = re.search(r"\$ curl (.*) http://\S+/\n(.*\n)", readme).groups()
    assert readme[: readme.index(answer)].count("\n") < 15
    assert gunicorn.curl(*command.split(), "/") == answer == CAPTION


def test_curl_gets_the_caption_in_every_way_it_can_send(flask, gunicorn, tmp_path):
    body = tmp_path / "body.json"
    text = base64.b64encode(BULLDOG.read_bytes()).decode()
    body.write_text(json.dumps({"image": text}))
    for server in (flask, gunicorn):
        assert server.curl("-F", f"file=@{BULLDOG}", "/") == CAPTION
        assert server.curl("-F", f"image=@{BULLDOG}", "/") == CAPTION
        assert server.curl("--data-binary", f"@{BULLDOG}", "/") == CAPTION
        assert server.curl("-T", BULLDOG, "/predict") == CAPTION
        assert server.curl("--json", f"@{body}", "-H", "Accept: */*", "/") == CAPTION
        two = ("-F", f"file=@{BULLDOG}", "-F", f"file=@{BULLDOG}")
        assert server.curl(*two, "/") == 2 * CAPTION


def odd_pictures() -> dict[str, tuple[str, bytes]]:
    bulldog = BULLDOG.read_bytes()
    frames = [Image.new("P", (8, 8), shade) for shade in (0, 99)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    return {
        "a text": ("415", b"hello"),
        "nothing": ("400", b""),
        "a truncated JPEG": ("422", bulldog[: len(bulldog) // 2]),
        "CMYK": ("200", picture(kind="JPEG", mode="CMYK")),
        "16 bits": ("200", picture(mode="I;16")),
        "a palette with alpha": ("200", picture(mode="P", transparency=0)),
        "1 by 1": ("200", picture(1, 1)),
        "an animation": ("200", animation.getvalue()),
    }


@pytest.mark.parametrize("name", ["flask", "gunicorn"])
def test_smoke_passes(request, name):
    url = request.getfixturevalue(name).url
    subprocess.run([SCRIPTS / "flask", "smoke", url], cwd=ROOT, check=True)


@pytest.mark.parametrize("what", odd_pictures())
def test_odd_picture_gets_its_status(gunicorn, tmp_path, what):
    status, data = odd_pictures()[what]
    file = tmp_path / "odd"
    file.write_bytes(data)
    shown = gunicorn.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "-T", file, "/predict"
    )
    assert shown == status


def turned(orientation: int) -> bytes:
    """Return the bulldog lying on its side, with the EXIF tag that sets it upright."""
    image, exif, file = Image.open(BULLDOG), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    lying = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    image.transpose(lying).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [3, 6])
def test_turn_in_exif_is_taken(gunicorn, tmp_path, orientation):
    file = tmp_path / "turned.jpg"
    file.write_bytes(turned(orientation))
    assert gunicorn.curl("-T", file, "/predict") == CAPTION


def test_index_and_log_name_the_model(gunicorn):
    assert json.loads(gunicorn.curl("/"))["model"] == "demo"
    assert "Serving demo" in gunicorn.log


def test_log_holds_no_warning_but_the_one_for_the_cpu(gunicorn):
    lines = [line for line in gunicorn.log.splitlines() if "NO GPU" not in line]
    assert not re.search("(?i)warn|unexpected|error", "\n".join(lines))


@pytest.mark.parametrize("command", [["gunicorn"], ["flask", "run"]])
def test_without_hub_the_server_ends_with_one_sentence(tmp_path, command):
    with Server(*command, HF_HOME=tmp_path, **NO_HUB) as server:
        assert server.process.wait(60) == 3
        sentences = [line for line in server.log.splitlines() if "hub" in line]
        assert len(sentences) == 1 and "ENDPOINT_MODEL" in sentences[0]
        assert "Traceback" not in server.log
        assert server.log.count("Booting worker") <= 1


def test_debug_server_loads_the_model_once():
    with Server(
        "flask", "--debug", "run", ENDPOINT_MODULE="tests.support.fake_model"
    ) as server:
        server.wait_for(200)
        time.sleep(1)
        assert server.log.count("Serving fake") == 1


def test_debug_server_outlives_a_model_that_cannot_load():
    with Server("flask", "--debug", "run", ENDPOINT_MODULE="tests.nothing") as server:
        server.wait_for(503)
        time.sleep(2)
        assert server.ping() == 503
        assert "No module named 'tests.nothing'" in server.log


def test_other_flask_commands_load_no_model():
    with Server(
        "flask", "routes", ENDPOINT_MODULE="tests.support.fake_model"
    ) as server:
        assert server.process.wait(20) == 0
        assert "/predict" in server.log and "Serving" not in server.log
