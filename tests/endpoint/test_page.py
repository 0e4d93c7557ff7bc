"""The page in a real browser: Chromium, driven by Playwright."""

import csv
import json
import re
import shutil
import threading
from contextlib import contextmanager, suppress

import pytest
from pydantic import BaseModel, Field

from model_helpers.image import decode_image
from tests.support import fake_model as fake
from tests.support.all_kinds_model import Model as AllKinds
from tests.support.apps import FAKE_MODEL, app_for, http_server, ready
from tests.support.images import make_image
from tests.support.server import Server

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
expect = playwright.expect
expect.set_options(timeout=30_000)  # milliseconds; a busy machine takes seconds
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")

WIDE = {"name": "wide.png", "mimeType": "image/png", "buffer": make_image(64, 48)}
TALL = {"name": "tall.png", "mimeType": "image/png", "buffer": make_image(30, 90)}
NOTE = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"hello"}
PHONE = {
    "viewport": {"width": 320, "height": 640},
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}
# What the browser logs about a response with an expected error status.
EXPECTED = re.compile(
    "Failed to load resource: .*(ERR_FAILED|status of (400|401|413|415|503) )"
)


class Labels(BaseModel):
    labels: list[str] = Field(["a dog", "a cat"], description="What it may show.")


class Sorter(fake.Model):
    """A model with fields, routes, scores, words with maps and a drawing."""

    name = "sorter"
    Fields = Labels
    routes = ("top",)

    def decode(self, upload):
        labels = upload.fields.labels
        return decode_image(upload), labels[: 1 if upload.route else 9]

    def predict(self, inputs):
        return inputs

    def encode(self, output):
        image, labels = output
        words = [{"word": label, "map": [[0.0, 1.0], [0.0, 0.0]]} for label in labels]
        scores = {label: 1 / len(labels) for label in labels}
        return {"label": labels[0], "scores": scores, "words": words}

    def draw(self, output):
        return output[0]


class Speller(fake.Model):
    """A model that spells a text."""

    name = "speller"
    accepts = "text/plain"

    def decode(self, upload):
        return upload.data.decode() or upload.fields["text"]

    def predict(self, texts):
        return [" ".join(text) for text in texts]


class Gated(fake.Model):
    """A model that loads, and answers, once the test allows it."""

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
    """Serve a model on a free port and give the URL."""
    app = app_for(model)
    if loaded:
        ready(app)
    else:
        app.extensions["batcher"].start()
    with http_server(app) as url:
        yield f"{url}/"


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
    """Return a function that opens a URL in a new tab.

    At the end, the page must have logged no error and contacted no other host.
    """
    contexts, problems, hosts = [], [], set()

    def visit(url, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console", lambda message: problems.append(f"{message.type} {message.text}")
        )
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert [problem for problem in problems if not EXPECTED.search(problem)] == []
    assert all(re.match(r"127\.0\.0\.1:\d+$|$", host) for host in hosts), hosts


def choose(page, *files):
    page.set_input_files("input[name=file]", files)


def expect_answers(page, *texts):
    """Wait until the cards show these texts, in this order."""
    expect(page.locator("li[aria-busy=false] .answer")).to_have_text(
        [re.compile(text) for text in texts]
    )


def expect_accessible(page):
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def shown_values(page):
    """Return the values of the only answer."""
    return json.loads(page.locator(".answer").get_attribute("data-item"))


def transfer(page, kind, **file):
    """Drop or paste a file as a browser does."""
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


def test_bad_file_among_good_ones_has_a_sentence_beside_it(visit, url):
    page = visit(url)
    choose(page, WIDE, NOTE, TALL)
    expect_answers(page, "64 by 48", "Not a supported image: send JPEG", "30 by 90")
    expect(page.locator("#count")).to_have_text(
        re.compile(r"2 of 3 answered, 1 refused in \d+\.\d s")
    )
    expect(page.locator("li").nth(1)).to_contain_text("note.txt")
    expect(page.locator("li > small").first).to_have_text(
        re.compile(r"wide\.png · \d+\.\d\d s")
    )
    assert page.locator(".error").count() == 1
    expect_accessible(page)


def test_file_over_the_limit_is_refused_beside_good_ones(visit, tmp_path):
    paths = [tmp_path / name for name in ("wide.png", "huge.png", "tall.png")]
    for path, file in zip(paths, (WIDE, WIDE, TALL)):
        path.write_bytes(file["buffer"])
    with paths[1].open("ab") as huge:
        huge.truncate(25_000_000)
    with Server("gunicorn", ENDPOINT_MODULE=FAKE_MODEL) as server:
        page = visit(server.wait_for(200).url)
        choose(page, *paths)
        expect_answers(page, "64 by 48", "at most 20,000,000 bytes", "30 by 90")


def test_files_can_be_dropped_and_pasted(visit, url):
    page = visit(url)
    transfer(page, "dragover", **WIDE)
    expect(page.locator("body")).to_have_class("dragging")
    transfer(page, "drop", **WIDE)
    transfer(page, "paste", **TALL)
    expect_answers(page, "64 by 48", "30 by 90")
    expect(page.locator("body")).not_to_have_class("dragging")


def test_dark_phone_offers_the_camera_and_does_not_scroll_sideways(visit, url):
    page = visit(url, **PHONE)
    expect(page.get_by_label("Take a photograph")).to_have_attribute(
        "capture", "environment"
    )
    page.get_by_label("Take a photograph").set_input_files(TALL)
    expect_answers(page, "30 by 90")
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background))) < 100
    expect_accessible(page)


def open_chooser(page):
    """Press Space until the file dialog opens: a busy browser can lose a key."""
    for _ in range(5):
        with suppress(playwright.TimeoutError):
            with page.expect_file_chooser(timeout=20_000) as chooser:
                page.keyboard.press("Space")
            return chooser.value
    raise AssertionError("No file dialog opens.")


def test_keyboard_alone_is_enough(visit, url):
    page = visit(url)
    while page.evaluate("document.activeElement == document.body"):
        page.keyboard.press("Tab")  # The first may come before the page has the focus.
    assert page.evaluate("document.activeElement.type") == "file"
    chooser = open_chooser(page)
    chooser.set_files([WIDE, NOTE])
    expect_answers(page, "64 by 48", "Not a supported image")
    while page.evaluate("document.activeElement.id") != "csv":
        page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "answers.csv"


def test_screen_reader_announces_answers(visit, url):
    page = visit(url)
    choose(page, WIDE)
    expect(page.get_by_role("list")).to_have_attribute("aria-live", "polite")
    expect(page.get_by_role("listitem")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("status")).to_have_text("fake on cpu. The model is ready.")
    expect(page.get_by_label("Choose images")).to_have_attribute("type", "file")


def test_form_works_without_javascript(visit, url):
    page = visit(url, java_script_enabled=False)
    choose(page, WIDE, NOTE, TALL)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("li .answer")).to_have_text(
        [re.compile(text) for text in ("64 by 48", "Not a supported image", "30 by 90")]
    )
    expect(page.locator("#csv")).not_to_be_visible()


def test_answers_can_be_copied_and_saved(visit, url, tmp_path):
    page = visit(url, permissions=["clipboard-read", "clipboard-write"])
    choose(page, WIDE, {**NOTE, "name": 'a "note", =1.txt'})
    expect_answers(page, "64 by 48", "Not a supported image")
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
    assert good["seconds"] > 0 and bad["error"].startswith("Not a supported image")


def test_page_waits_for_the_model_and_then_shows_its_fields(visit):
    Gated.loads.clear()
    Gated.answers.set()
    Gated.Fields = AllKinds.Fields
    with served(Gated, loaded=False) as url:
        page = visit(url)
        expect(page.locator("#state")).to_contain_text("The model is loading.")
        choose(page, WIDE)
        expect(page.locator(".answer")).to_contain_text(
            "The model is loading: retry in"
        )
        assert page.get_by_label("tone").count() == 0
        Gated.loads.set()
        expect(page.locator("#state")).to_have_text("gated on cpu. The model is ready.")
        expect(page.get_by_label("tone")).to_be_visible()
        expect_answers(page, "64 by 48")


def test_refused_file_is_sent_again_when_the_queue_was_full(visit, monkeypatch):
    monkeypatch.setenv("ENDPOINT_QUEUE", "1")
    Gated.loads.set()
    Gated.answers.clear()
    with served(Gated) as url:
        page = visit(url)
        choose(page, *[WIDE] * 4)
        expect(
            page.locator(".answer", has_text="The queue is full: retry in")
        ).to_have_count(2)
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.locator("#count")).to_have_text("0 of 4 answered")
        Gated.answers.set()
        expect_answers(page, *["64 by 48"] * 4)


def test_api_key_is_requested_and_kept_until_the_tab_closes(visit, monkeypatch):
    monkeypatch.setenv("ENDPOINT_API_KEY", "12345")
    with served() as url:
        page = visit(url)
        choose(page, WIDE, TALL)
        expect(page.get_by_label("This server needs an API key")).to_be_focused()
        expect_accessible(page)
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That key was rejected.")
        page.get_by_label("This server needs an API key").fill("12345")
        page.keyboard.press("Enter")
        expect_answers(page, "64 by 48", "30 by 90")
        stored = "[localStorage.length, document.cookie, sessionStorage.getItem('key')]"
        assert page.evaluate(stored) == [0, "", "12345"]
        expect(page.locator("#curl")).to_contain_text("X-API-Key: $KEY")


def test_fields_and_routes_of_the_model_are_shown_and_sent(visit):
    with served(Sorter) as url:
        page = visit(url)
        page.get_by_label("labels").fill("a bird, a bee")
        choose(page, WIDE)
        expect_answers(page, "a bird")
        expect(page.get_by_role("meter")).to_have_count(2)
        expect(page.get_by_role("table")).to_contain_text("50.0 %")
        expect(page.get_by_role("img", name="drawn by the model")).to_be_visible()
        page.get_by_text("a bee", exact=True).last.hover()
        expect(page.locator("figure canvas")).to_have_attribute("width", "2")
        page.get_by_role("button", name="Send to top").click()
        expect(page.get_by_role("meter")).to_have_count(1)
        expect(page.locator("#curl")).to_contain_text("-F 'labels=a dog, a cat'")
        expect_accessible(page)


def test_every_kind_of_field_has_an_input_that_is_sent(visit):
    with served(AllKinds) as url:
        page = visit(url)
        choose(page, WIDE)
        expect(page.locator(".answer")).to_contain_text('It\'s "new"')
        sent = shown_values(page)
        assert sent["is_loud"] == "True" and sent["is_long"] == "False"
        assert (sent["count"], sent["share"], sent["tone"]) == ("3", "None", "plain")
        page.get_by_label("count").fill("5")
        page.get_by_label("share").fill("0.25")
        page.get_by_label("tone").select_option("kind")
        page.get_by_label("is_loud").uncheck()
        page.get_by_label("is_long").check()
        page.get_by_label("prompt").fill("two\nlines")
        page.get_by_label("token").fill("12345")
        page.get_by_label("mask").set_input_files(TALL)
        page.get_by_role("button", name="Send all again").click()
        expect(page.locator(".answer")).to_contain_text("(30, 90)")
        sent = shown_values(page)
        assert sent["is_loud"] == "False" and sent["is_long"] == "True"
        assert (sent["count"], sent["share"], sent["tone"]) == ("5", "0.25", "kind")
        assert sent["token"].strip("*") == "" and "12345" not in page.content()
        expect(page.locator(".answer img")).to_have_count(2)
        expect(page.locator(".answer audio")).to_have_count(1)
        expect(page.get_by_role("link", name="report")).to_be_visible()
        expect_accessible(page)


def test_wrong_field_is_refused_with_what_is_allowed(visit):
    with served(AllKinds) as url:
        page = visit(url)
        page.get_by_label("count").fill("10")
        choose(page, WIDE)
        expect_answers(page, "count should be less than or equal to 9.")


def test_route_has_fields_of_its_own(visit):
    with served(AllKinds) as url:
        page = visit(url)
        page.get_by_label("top_k").fill("2")
        choose(page, WIDE)
        expect_answers(page, r"count\s+3")
        assert "top_k" not in shown_values(page)
        page.get_by_role("button", name="Send to top").click()
        expect_answers(page, r"top_k\s+2")
        assert "count" not in shown_values(page)


def test_clip_example_ranks_the_labels_that_are_typed(visit, tmp_path):
    tiny = pytest.importorskip("tests.examples.tiny_checkpoints")
    tiny.zero_shot_clip(tmp_path)
    variables = {
        "ENDPOINT_MODULE": "examples.zero_shot_clip",
        "ENDPOINT_MODEL": tmp_path,
    }
    with Server("gunicorn", **variables) as server:
        page = visit(server.wait_for(200).url)
        page.get_by_label("labels").fill("a dog, a cat, a fish")
        choose(page, WIDE, TALL)
        expect_answers(page, "a (dog|cat|fish)", "a (dog|cat|fish)")
        expect(page.get_by_role("meter")).to_have_count(6)


def test_model_for_text_has_a_text_area(visit):
    with served(Speller) as url:
        page = visit(url)
        page.get_by_label("Text").fill("hello")
        page.get_by_role("button", name="Send").click()
        page.get_by_label("Text").fill("world")
        page.get_by_role("button", name="Send").click()
        expect_answers(page, "h e l l o", "w o r l d")
        expect_accessible(page)


def test_files_can_be_sent_again_after_the_server_was_unreachable(visit):
    with served() as url:
        page = visit(url)
        page.route("**/", lambda route: route.abort())
        choose(page, WIDE)
        expect_answers(page, "The server cannot be reached: send it again later.")
        page.unroute("**/")
        page.get_by_role("button", name="Send all again").click()
        expect_answers(page, "64 by 48")
