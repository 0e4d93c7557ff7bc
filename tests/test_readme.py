"""What the README says, held against the repository; its commands are run."""

import re
import shlex
import subprocess

import pytest

from tests.support.server import ROOT, SCRIPTS, Server

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.S)
COMMANDS = [re.split(r"\n(?=\$ )", block.strip()) for block in BLOCKS]
CURLS = [each for block in COMMANDS for each in block if each.startswith("$ curl")]
SOURCE = "".join(path.read_text() for path in (ROOT / "endpoint").glob("*.py"))
BY_HAND = "http://127.0.0.1:8000"  # where the README's server answers


@pytest.fixture(scope="module")
def server():
    with Server("gunicorn", ENDPOINT_MODEL="demo") as server:
        yield server.wait_for(200)


@pytest.mark.parametrize("text", CURLS)
def test_curl_gets_the_answer_shown(server, tmp_path, text):
    command, _, answer = text.removeprefix("$ ").partition("\n")
    words = shlex.split(command.replace(BY_HAND, server.url))
    if "-o" in words:
        place = words.index("-o") + 1
        words[place] = str(tmp_path / words[place])
    output = subprocess.check_output([*words, "--silent", "--fail"], cwd=ROOT)
    assert output.decode().strip() == answer.strip()
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_readme_names_no_other_address_to_type():
    assert len(CURLS) >= 2
    assert all(BY_HAND in text for text in CURLS)


def test_model_file_is_shown_whole():
    model = (ROOT / "endpoint" / "model.py").read_text()
    assert f"```python\n{model}```" in README


def test_commands_of_flask_exist():
    table = README[README.index("`poetry run flask ...`") :]
    names = re.findall(r"^\| `(\w+)", table[: table.index("\n\n")], re.M)
    command = [SCRIPTS / "flask", "--help"]
    told = subprocess.check_output(command, cwd=ROOT, text=True)
    assert {"predict", "check", "bake", "smoke"} <= set(names)
    assert all(re.search(rf"^  {name} ", told, re.M) for name in names)


def test_messages_are_those_of_the_code():
    table = README[README.index("### When it says") :].partition("\n## ")[0]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.M)
    assert len(messages) >= 5
    for message in messages:
        assert all(part.strip() in SOURCE for part in message.split("...")), message


def test_links_lead_somewhere():
    places = re.findall(r"\]\((?!http)(.+?)\)", README)
    places += re.findall(r'src="(.+?)"', README)
    assert places
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_module_is_in_the_table_of_files():
    table = README[README.index("## Files") :].partition("\n## ")[0]
    for path in (ROOT / "endpoint").glob("*.py"):
        assert path.name in table or path.stem == "__init__", path.name
