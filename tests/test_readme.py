"""README.md and docs/, compared with the repository; every curl command is run."""

import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from endpoint import gpu, telemetry
from endpoint.settings import Settings
from tests.support.server import ROOT, SCRIPTS, Server

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [ROOT / "examples" / "README.md"]
URL = "http://127.0.0.1:8000"  # of the server in README.md
ENDPOINT = ROOT / "endpoint"
FOLDERS = ("model_interface", "model_helpers", "gunicorn_worker")
MAX_LINES = 160
pytestmark = pytest.mark.skipif(
    not (ROOT / "demo").is_dir(), reason="README.md describes the model that ships"
)


def commands(page: Path) -> list[str]:
    """Return the commands of a page, each with the output below it."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(), re.S)
    return [each for block in blocks for each in re.split(r"^\$ ", block, flags=re.M)]


CURLS = [each for page in PAGES for each in commands(page) if "curl " in each]


def section(page: str, title: str) -> str:
    """Return what is below a title of README.md, or below a page's first title."""
    text = (ROOT / page).read_text()
    return text[text.index(title) :].partition("\n## ")[0]


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of a table by their first cells, without backquotes."""
    lines = re.findall(r"^\| (.+) \|$", text, re.M)
    cells = [line.split(" | ") for line in lines if "---" not in line]
    return {first.strip("`"): others for first, *others in cells}


@pytest.fixture(scope="module")
def server():
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        yield server.wait_for(200)


@pytest.mark.parametrize("text", CURLS)
def test_curl_gets_the_answer_shown(server, text):
    command, _, answer = text.partition("\n")
    command = command.replace(URL, server.url).replace("curl ", "curl --silent ")
    output = subprocess.check_output(["bash", "-c", command], cwd=ROOT, text=True)
    assert output.strip() == answer.strip()


def test_commands_use_one_url():
    assert len(CURLS) >= 6
    assert all(URL in text for text in CURLS)


def test_answer_is_shown_by_line_15():
    assert "\na french bulldog in a" in "\n".join(README.splitlines()[:15])


def test_readme_is_short():
    assert len(README.splitlines()) <= MAX_LINES


def test_model_file_is_shown_whole():
    assert f"```python\n{(ENDPOINT / 'model.py').read_text()}```" in README


def test_flask_commands_exist():
    names = {name.split()[0] for name in rows(section("README.md", "## Commands"))}
    names -= {"poetry"}  # the head of the table
    command = [SCRIPTS / "flask", "--help"]
    output = subprocess.check_output(command, cwd=ROOT, text=True)
    assert names == {"predict", "check", "bake", "smoke"}
    assert all(re.search(rf"^  {name}\b", output, re.M) for name in names)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"`make ([\w-]+)", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.M), target


def test_modules_in_commands_exist():
    for page in PAGES:
        for module in re.findall(r"python -m ([\w.]+)", page.read_text()):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_messages_are_those_of_the_code():
    # A swap deletes the last folder.
    folders = ("endpoint", *FOLDERS, "vit_gpt2")
    files = [path for name in folders for path in (ROOT / name).glob("*.py")]
    files.append(ROOT / "gunicorn.conf.py")
    source = "".join(path.read_text() for path in files)
    source = re.sub(r'"\s+f?"', "", source)  # strings that continue on another line
    messages = list(rows(section("docs/troubleshooting.md", "| message")))[1:]
    assert len(messages) >= 10
    missing = [each for each in messages if each not in source]
    assert missing == [] or not (ROOT / "vit_gpt2").is_dir()


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text()
    places = re.findall(r"\]\((?!http)(.+?)\)", text) + re.findall(r'src="(.+?)"', text)
    for place in places:
        name, _, title = place.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), place
        titles = re.findall(r"^#+ (.+)$", target.read_text(), re.M) if title else []
        assert not title or title in [each.lower().replace(" ", "-") for each in titles]


def test_readme_links_every_page():
    for page in PAGES[1:]:
        assert f"](docs/{page.name})" in README


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_is_listed_with_its_default(name):
    default = Settings.model_fields[name].default
    table = rows(section("docs/settings.md", "| variable"))
    shown = "none" if default in (None, "") else f"`{default}`"
    assert table[f"ENDPOINT_{name.upper()}"][1] == shown


def test_bounds_of_settings_are_listed():
    table = rows(section("docs/settings.md", "| variable"))
    for name, field in Settings.model_fields.items():
        bounds = [
            f"{value:,}"
            for limit in field.metadata
            for value in (getattr(limit, "ge", None), getattr(limit, "le", None))
            if value is not None
        ]
        shown = table[f"ENDPOINT_{name.upper()}"][0]
        assert " to ".join(bounds) in shown, name


def test_only_existing_settings_are_named():
    for page in PAGES:
        for name in re.findall(r"\bENDPOINT_([A-Z_]+)", page.read_text()):
            assert name.lower() in Settings.model_fields, f"{page.name}: {name}"


def test_every_file_of_endpoint_is_in_the_reading_order():
    text = section("README.md", "## Read the code")
    for folder in ("endpoint", *FOLDERS):
        for path in (ROOT / folder).glob("*.py"):
            assert path.name in text, path.name


def test_every_file_in_the_reading_order_exists():
    names = re.findall(r"`([\w/]+\.py)`", section("README.md", "## Read the code"))
    places = (ROOT, ENDPOINT, *(ROOT / folder for folder in FOLDERS))
    missing = [n for n in names if not any((each / n).is_file() for each in places)]
    assert len(names) > 15 and missing == []


def test_every_main_dependency_has_its_reason():
    text = (ROOT / "pyproject.toml").read_text()
    listed = text[text.index("dependencies = [") : text.index("[dependency-groups]")]
    reasons = section("docs/development.md", "## Main dependencies")
    for name in re.findall(r'"([a-z-]+)>=', listed):
        assert f"`{name}`" in reasons, name


def test_every_metric_is_described():
    described = rows(section("docs/http.md", "## Metrics and the log"))
    declared = [*vars(telemetry).values(), *vars(gpu).values()]
    metrics = {
        each._name + "_total" * isinstance(each, Counter): each
        for each in declared
        if isinstance(each, MetricWrapperBase)
    }
    assert metrics.keys() == described.keys() - {"metric"}
    for name, metric in metrics.items():
        for label in metric._labelnames:
            assert f"`{label}`" in described[name][0], name


def test_folders_to_delete_exist():
    [folders] = re.findall(r"`rm -r (.+?)`", README)
    assert [name for name in folders.split() if not (ROOT / name).is_dir()] == []
