"""The page in a real browser: Chromium, driven by Playwright."""

import csv
import json
import re
import shutil
import sys
import threading
from contextlib import contextmanager
from types import ModuleType

import pytest
from werkzeug.serving import make_server

from endpoint import create_app
from endpoint.decoders.image import decode_image
from endpoint.decoders.text import decode_text
from tests.support import fake_model as fake
from tests.support.apps import ready
from tests.support.images import make_image as picture
from tests.support.server import Server

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")

WIDE = {"name": "wide.png", "mimeType": "image/png", "buffer": picture(64, 48)}
TALL = {"name": "tall.png", "mimeType": "image/png", "buffer": picture(30, 90)}
NOTE = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"hello"}
PHONE = {
    "viewport": {"width": 320, "height": 640},
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}
# What the browser itself notes of an answer that is an error, as it should be.
NOTED = re.compile(
    "Failed to load resource: .*(ERR_FAILED|status of (401|413|415|503) )"
)


class Sorter(fake.Model):
    """A model with all that a model may have: fields, routes, scores, a drawing."""

    name = "sorter"
    fields = {"labels": "What the picture may show, parted by commas."}
    routes = ("top",)

    def decode(self, upload):
        labels = upload.fields.get("labels", "a dog, a cat").split(",")
        return (
            decode_image(upload),
            [*map(str.strip, labels)][: 1 if upload.route else 9],
        )

    def predict(self, asked):
        return asked

    def encode(self, output):
        image, labels = output
        words = [{"word": label, "map": [[0.0, 1.0], [0.0, 0.0]]} for label in labels]
        scores = {label: 1 / len(labels) for label in labels}
        return {"label": labels[0], "scores": scores, "words": words}

    def draw(self, output):
        return output[0]


class Speller(fake.Model):
    """Text in, text out."""

    name = "speller"
    accepts = "text/plain"

    def decode(self, upload):
        return decode_text(upload)

    def predict(self, texts):
        return [" ".join(text) for text in texts]


class Gated(fake.Model):
    """It loads, or answers, when the test says so."""

    name = "gated"
    loads, answers = threading.Event(), threading.Event()

    def __init__(self, device):
        super().__init__(device)
        self.loads.wait(30)

    def predict(self, sizes):
        self.answers.wait(30)
        return super().predict(sizes)


@contextmanager
def served(model=fake.Model, loaded=True):
    """Serve a model on a free port; give the address."""
    module = sys.modules["tests.shown"] = ModuleType("tests.shown")
    module.Model = model
    app = create_app("tests.shown")
    server = make_server("127.0.0.1", 0, ready(app) if loaded else app, threaded=True)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def url():
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        browser = driver.chromium.launch(**options)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Open an address; hold everything that the page does against what it may do."""
    contexts, troubles, hosts = [], [], set()

    def visit(url, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda told: troubles.append(f"{told.type} {told.text}"))
        page.on("request", lambda sent: hosts.add(sent.url.split("/")[2]))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [trouble for trouble in troubles if not NOTED.search(trouble)] == []
    assert all(re.match(r"127\.0\.0\.1:\d+$|$", host) for host in hosts), hosts


def choose(page, *files):
    page.set_input_files("input[name=file]", files)


def answered(page, *texts):
    """Wait until the cards say these, in any case in this order."""
    expect(page.locator("li[aria-busy=false] .answer")).to_have_text(
        [re.compile(text) for text in texts]
    )


def accessible(page):
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def hand_over(page, kind, **file):
    """Drop or paste a file, as the browser does it."""
    page.evaluate(
        """([kind, name, type, bytes]) => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], name, {type}));
          const event = kind === "paste"
            ? new ClipboardEvent(kind, {clipboardData: files, bubbles: true})
            : new DragEvent(kind, {dataTransfer: files, bubbles: true});
          document.body.dispatchEvent(event);
        }""",
        [kind, file["name"], file["mimeType"], list(file["buffer"])],
    )


def test_bad_file_among_good_ones_is_told_in_a_sentence_beside_it(visit, url):
    page = visit(url)
    choose(page, WIDE, NOTE, TALL)
    answered(page, "64 by 48", "This is no picture: send a JPEG", "30 by 90")
    expect(page.locator("#count")).to_have_text(
        re.compile(r"2 of 3 answered, 1 refused in \d+\.\d s")
    )
    expect(page.locator("li").nth(1)).to_contain_text("note.txt")
    expect(page.locator("li > small").first).to_have_text(
        re.compile(r"wide\.png · \d+\.\d\d s")
    )
    assert page.locator(".error").count() == 1
    accessible(page)


def test_file_over_the_limit_is_told_beside_good_ones(visit):
    huge = WIDE | {"name": "huge.png", "buffer": WIDE["buffer"] + bytes(25_000_000)}
    with Server("gunicorn", ENDPOINT_MODULE="tests.support.fake_model") as server:
        page = visit(server.wait_for(200).url)
        choose(page, WIDE, huge, TALL)
        answered(page, "64 by 48", "at most 20,000,000 bytes", "30 by 90")


def test_files_are_dropped_and_pasted(visit, url):
    page = visit(url)
    hand_over(page, "dragover", **WIDE)
    expect(page.locator("body")).to_have_class("dragging")
    hand_over(page, "drop", **WIDE)
    hand_over(page, "paste", **TALL)
    answered(page, "64 by 48", "30 by 90")
    expect(page.locator("body")).not_to_have_class("dragging")


def test_dark_phone_has_a_camera_and_nothing_to_scroll_sideways(visit, url):
    page = visit(url, **PHONE)
    expect(page.get_by_label("Take a photograph")).to_have_attribute(
        "capture", "environment"
    )
    page.get_by_label("Take a photograph").set_input_files(TALL)
    answered(page, "30 by 90")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", ground))) < 100
    accessible(page)


def test_keyboard_alone_is_enough(visit, url):
    page = visit(url)
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
    chooser.value.set_files([WIDE, NOTE])
    answered(page, "64 by 48", "no picture")
    while page.evaluate("document.activeElement.id") != "csv":
        page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "answers.csv"


def test_screen_reader_hears_answers_as_they_come(visit, url):
    page = visit(url)
    choose(page, WIDE)
    expect(page.get_by_role("list")).to_have_attribute("aria-live", "polite")
    expect(page.get_by_role("listitem")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("status")).to_have_text("fake on cpu. The model is ready.")
    expect(page.get_by_label("Choose pictures")).to_have_attribute("type", "file")


def test_plain_form_does_without_javascript(visit, url):
    page = visit(url, java_script_enabled=False)
    choose(page, WIDE, NOTE, TALL)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li .answer")).to_have_text(
        [re.compile(text) for text in ("64 by 48", "no picture", "30 by 90")]
    )
    expect(page.locator("#csv")).not_to_be_visible()


def test_answers_are_copied_and_saved(visit, url, tmp_path):
    page = visit(url, permissions=["clipboard-read", "clipboard-write"])
    choose(page, WIDE, {**NOTE, "name": 'a "note", =1.txt'})
    answered(page, "64 by 48", "no picture")
    page.click("#copy")
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert copied[0] == "wide.png\t64 by 48" and copied[1].count("\t") == 1
    for kind in ("csv", "json"):
        with page.expect_download() as download:
            page.click(f"#{kind}")
        download.value.save_as(tmp_path / kind)
    good, bad = csv.DictReader((tmp_path / "csv").read_text().splitlines())
    assert good["caption"] == "64 by 48" and bad["file"] == 'a "note", =1.txt'
    good, bad = json.loads((tmp_path / "json").read_text())
    assert good["seconds"] > 0 and bad["error"].startswith("This is no picture")


def test_page_waits_for_a_model_that_loads_and_then_shows_its_fields(visit):
    Gated.loads.clear()
    Gated.answers.set()
    Gated.fields = {"tone": "How to say it."}
    with served(Gated, loaded=False) as url:
        page = visit(url)
        expect(page.locator("#state")).to_contain_text("The model is loading.")
        choose(page, WIDE)
        expect(page.locator(".answer")).to_contain_text("The model is loading: try")
        assert page.get_by_label("tone").count() == 0
        Gated.loads.set()
        expect(page.locator("#state")).to_have_text("gated on cpu. The model is ready.")
        expect(page.get_by_label("tone")).to_be_visible()
        answered(page, "64 by 48")


def test_full_server_is_asked_again_when_it_said_so(visit, monkeypatch):
    monkeypatch.setenv("ENDPOINT_QUEUE", "1")
    Gated.loads.set()
    Gated.answers.clear()
    with served(Gated) as url:
        page = visit(url)
        choose(page, *[WIDE] * 4)
        expect(page.locator(".answer", has_text="All places")).to_have_count(2)
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.locator("#count")).to_have_text("0 of 4 answered")
        Gated.answers.set()
        answered(page, *["64 by 48"] * 4)


def test_key_is_asked_for_and_forgotten_with_the_tab(visit, monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    with served() as url:
        page = visit(url)
        choose(page, WIDE, TALL)
        expect(page.get_by_label("This server wants a key")).to_be_focused()
        accessible(page)
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("It did not take the last one.")
        page.get_by_label("This server wants a key").fill("12345")
        page.keyboard.press("Enter")
        answered(page, "64 by 48", "30 by 90")
        stored = "[localStorage.length, document.cookie, sessionStorage.getItem('key')]"
        assert page.evaluate(stored) == [0, "", "12345"]
        expect(page.locator("#curl")).to_contain_text("X-API-Key: $KEY")


def test_model_with_fields_and_routes_gets_and_shows_them(visit):
    with served(Sorter) as url:
        page = visit(url)
        page.get_by_label("labels").fill("a bird, a bee")
        choose(page, WIDE)
        answered(page, "a bird")
        expect(page.get_by_role("meter")).to_have_count(2)
        expect(page.get_by_role("table")).to_contain_text("50.0 %")
        expect(page.get_by_role("img", name="that the model drew")).to_be_visible()
        page.get_by_text("a bee", exact=True).last.hover()
        expect(page.locator("figure canvas")).to_have_attribute("width", "2")
        page.get_by_role("button", name="Send to top").click()
        expect(page.get_by_role("meter")).to_have_count(1)
        expect(page.locator("#curl")).to_contain_text('-F labels="..."')
        accessible(page)


def test_clip_example_ranks_the_labels_typed_in(visit, tmp_path):
    tiny = pytest.importorskip("tests.examples.tiny")
    tiny.zero_shot_clip(tmp_path)
    variables = {
        "ENDPOINT_MODULE": "examples.zero_shot_clip",
        "ENDPOINT_MODEL": tmp_path,
    }
    with Server("gunicorn", **variables) as server:
        page = visit(server.wait_for(200).url)
        page.get_by_label("labels").fill("a dog, a cat, a fish")
        choose(page, WIDE, TALL)
        answered(page, "a (dog|cat|fish)", "a (dog|cat|fish)")
        expect(page.get_by_role("meter")).to_have_count(6)


def test_model_for_text_gets_a_text_area(visit):
    with served(Speller) as url:
        page = visit(url)
        page.get_by_label("Text").fill("hello")
        page.get_by_role("button", name="Send").click()
        page.get_by_label("Text").fill("world")
        page.get_by_role("button", name="Send").click()
        answered(page, "h e l l o", "w o r l d")
        accessible(page)


def test_server_that_is_gone_is_told_of_and_asked_again_on_demand(visit):
    with served() as url:
        page = visit(url)
        page.route("**/", lambda route: route.abort())
        choose(page, WIDE)
        answered(page, "The server cannot be reached: send it again later.")
        page.unroute("**/")
        page.get_by_role("button", name="Send all again").click()
        answered(page, "64 by 48")


def test_policy_names_no_host_and_lets_nothing_else_run(client):
    policy = client.get("/", headers={"Accept": "text/html"}).headers[
        "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
