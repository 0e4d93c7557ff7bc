"""The README's commands as real processes, with the bundled model."""

import base64
import io
import json
import re
import subprocess

import pytest
from PIL import Image

from tests.gunicorn_worker.test_json_log import messages
from tests.support.images import BULLDOG, CAPTION, make_image
from tests.support.server import ROOT, SCRIPTS, Server

LINE = f"{CAPTION}\n"
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
    assert gunicorn.curl(*command.split(), "/") == answer == LINE


def test_curl_gets_the_caption_in_every_way_it_can_send(flask, gunicorn, tmp_path):
    body = tmp_path / "body.json"
    text = base64.b64encode(BULLDOG.read_bytes()).decode()
    body.write_text(json.dumps({"image": text}))
    for server in (flask, gunicorn):
        assert server.curl("-F", f"file=@{BULLDOG}", "/") == LINE
        assert server.curl("-F", f"image=@{BULLDOG}", "/") == LINE
        assert server.curl("--data-binary", f"@{BULLDOG}", "/") == LINE
        assert server.curl("-T", BULLDOG, "/predict") == LINE
        assert server.curl("--json", f"@{body}", "-H", "Accept: */*", "/") == LINE
        two = ("-F", f"file=@{BULLDOG}", "-F", f"file=@{BULLDOG}")
        assert server.curl(*two, "/") == 2 * LINE


def unusual_files() -> dict[str, tuple[str, bytes]]:
    """Return files with the status that each gets."""
    bulldog = BULLDOG.read_bytes()
    frames = [Image.new("P", (8, 8), shade) for shade in (0, 99)]
    animation = io.BytesIO()
    frames[0].save(animation, "GIF", save_all=True, append_images=frames[1:])
    return {
        "a text": ("415", b"hello"),
        "nothing": ("400", b""),
        "a truncated JPEG": ("422", bulldog[: len(bulldog) // 2]),
        "CMYK": ("200", make_image(kind="JPEG", mode="CMYK")),
        "16 bits": ("200", make_image(mode="I;16")),
        "a palette with alpha": ("200", make_image(mode="P", transparency=0)),
        "1 by 1": ("200", make_image(1, 1)),
        "an animation": ("200", animation.getvalue()),
    }


@pytest.mark.parametrize("name", ["flask", "gunicorn"])
def test_smoke_passes(request, name):
    url = request.getfixturevalue(name).url
    subprocess.run([SCRIPTS / "flask", "smoke", url], cwd=ROOT, check=True)


@pytest.mark.parametrize("what", unusual_files())
def test_unusual_file_gets_its_status(gunicorn, tmp_path, what):
    status, data = unusual_files()[what]
    file = tmp_path / "file"
    file.write_bytes(data)
    options = ("-o", "/dev/null", "-w", "%{http_code}", "-T", file)
    assert gunicorn.curl(*options, "/predict") == status


def turned(orientation: int) -> bytes:
    """Return the bulldog turned, with the EXIF tag that sets it upright."""
    image, exif, file = Image.open(BULLDOG), Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    image.transpose(turn).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_in_exif_is_applied(gunicorn, tmp_path, orientation):
    file = tmp_path / "turned.jpg"
    file.write_bytes(turned(orientation))
    assert gunicorn.curl("-T", file, "/predict") == LINE


def test_index_and_log_name_the_model(gunicorn):
    assert json.loads(gunicorn.curl("/"))["model"] == "demo"
    assert "Serving demo" in gunicorn.log


def test_log_has_no_warning(gunicorn):
    assert not re.search("(?i)warn|unexpected|error", gunicorn.log)


@pytest.mark.parametrize("command", [["gunicorn"], ["flask", "run"]])
def test_server_without_a_hub_ends_with_one_sentence(tmp_path, command):
    with Server(*command, HF_HOME=tmp_path, **NO_HUB) as server:
        assert server.process.wait(60) == 3
        lines = [line for line in server.log.splitlines() if "Download failed" in line]
        assert len(lines) == 1 and "ENDPOINT_MODEL" in lines[0]
        assert "Traceback" not in server.log
        assert server.log.count("Booting worker") <= 1


@pytest.mark.attack(16)
def test_sentence_about_a_missing_model_is_json():
    settings = {"ENDPOINT_LOG": "json", "ENDPOINT_MODEL": "./missing"}
    with Server("gunicorn", **settings) as server:
        assert server.process.wait(60) == 3
        assert "There is no folder missing" in "\n".join(messages(server))
        assert "Traceback" not in server.log
