"""The benchmarks themselves, on a small checkpoint and for a second each."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks import checkpoint, command, engine, load, pictures, report, run, servers
from tests.support.server import ROOT

ANSWERS = {  # to a body: status and text
    b"good": (200, b'{"caption": "a dog"}'),
    b"silent": (200, b""),
    b"refused": (503, b"full"),
}


class Scripted(BaseHTTPRequestHandler):
    """Answer as the body orders; what has no answer breaks the connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(body)
        if body not in ANSWERS:
            self.close_connection = True
            return
        status, text = ANSWERS[body]
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A round of this endpoint, the plainest peer, one that fails, one not there."""
    folder = tmp_path_factory.mktemp("benchmarks")
    checkpoint.write(folder / "small", **checkpoint.SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "LARGEST", 0.5)
        patch.setitem(servers.KINDS, "broken", servers.Kind("-m nothing", "flask"))
        patch.setitem(servers.KINDS, "absent", servers.Kind("-m nothing", "nothing"))
        options = "--servers ours plain broken absent --clients 1 4 --rounds 1".split()
        options += "--seconds 1 --warmup 0 --pictures 4".split()
        options += ["--checkpoint", str(folder / "small")]
        options += ["--output", str(folder / "results" / "http.json")]
        run.run(run.parse(options))
    return folder / "results" / "http.json"


def test_pictures_are_the_same_every_time(monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 0.5)
    assert pictures.mix(5) == pictures.mix(5) != pictures.mix(5, seed=1)


def test_pictures_span_the_sizes_and_formats(monkeypatch):
    monkeypatch.setattr(pictures, "make", lambda size, kind, random: (size, kind))
    sizes, kinds = zip(*pictures.mix())
    assert (round(min(sizes), 1), round(max(sizes), 1)) == (0.1, 12.0)
    assert [kinds.count(kind) for kind in ("JPEG", "PNG", "WEBP")] == [18, 3, 3]


def test_load_counts_good_answers_and_errors(scripted):
    messages = [load.request(body) for body in (*ANSWERS, b"broken")]
    answers = load.measure(scripted.server_port, messages, 2, seconds=1)
    counts = [scripted.bodies.count(body) for body in (*ANSWERS, b"broken")]
    assert answers.captions == {(0, "a dog"): counts[0]}
    assert answers.errors == {
        **{"200": counts[1], "503": counts[2], "ConnectionError": counts[3]}
    }
    assert answers.summary()["answers"] == len(answers.seconds) == counts[0] > 1


def test_load_from_several_processes_adds_up(scripted):
    answers = load.measure(scripted.server_port, [load.request(b"good")], 3, 1, 2)
    assert answers.summary()["answers"] == len(scripted.bodies)
    assert 0.9 < answers.ended - answers.began < 2


def test_load_counts_a_server_that_is_not_there():
    answers = load.measure(servers.free_port(), [load.request(b"good")], 1, 0.2)
    assert not answers.seconds and set(answers.errors) == {"ConnectionRefusedError"}


@pytest.mark.parametrize(
    "body", [b"a dog\n", b'"a dog"', b'["a dog"]', b'{"caption": "a dog"}']
)
def test_caption_is_found_in_text_and_json(body):
    assert load.caption(body) == "a dog"


def test_run_measures_every_server(results):
    found = json.loads(results.read_text())
    assert found["machine"]["cores"] > 0 and "torch" in found["machine"]["versions"]
    for name in ("ours", "plain"):
        median = found["servers"][name]["median"]
        assert median["memory_mb"] > 100
        assert 0 < median["first_answer_seconds"] <= median["ready_seconds"]
        for step in median["steps"].values():
            assert step["errors"] == {} and step["answers"] > 0
            assert 0 < step["p50_seconds"] <= step["p99_seconds"]
    assert list(median["steps"]) == ["1", "4"]


def test_run_goes_on_after_a_server_that_fails_or_lacks(results):
    found = json.loads(results.read_text())["servers"]
    assert "No module named nothing" in found["broken"]["rounds"][0]["error"]
    reason = "skipped, the package nothing is not installed"
    assert found["absent"]["rounds"][0]["error"] == reason


def test_report_shows_the_figures(results, tmp_path):
    pytest.importorskip("matplotlib")
    readme = tmp_path / "benchmarks" / "README.md"
    readme.parent.mkdir()
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write(results.parent, readme)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and "| ours |" in text and "- broken: " in text
    assert (readme.parent / "http-rate.png").stat().st_size > 10_000


def test_report_shows_the_roofline(tmp_path):
    pytest.importorskip("matplotlib")
    config = checkpoint.config(**checkpoint.FULL)
    sizes = {
        str(size): engine.bound(config, size, 2, 1e12, 1e11)
        | {"seconds": size / 8, "per_second": 8.0}
        for size in (1, 8)
    }
    picture = {"megapixels": 1, "kind": "PNG", "seconds": 1, "transformers_seconds": 2}
    found = {
        "machine": run.machine.describe(),
        **{"settings": {}, "dtype": "bfloat16", "device": "cpu", "load_seconds": 1},
        **{"flops": 1e12, "bytes_per_second": 1e11, "batches": sizes},
        **{"decoding": [picture], "decoded_per_second": 100.0},
    }
    text = report.engine_section("engine", found, tmp_path)
    assert "| 8 | 1000.0 | 8.0 |" in text
    assert (tmp_path / "engine-roofline.png").stat().st_size > 10_000


def test_command_is_measured_beside_the_loop(tmp_path):
    command.draw_pictures(tmp_path / "pictures", 128)
    output = tmp_path / "answers.jsonl"
    found = command.one_round(command.ASLEEP, "demo", tmp_path / "pictures", output)
    assert 1000 < found["loop"] <= 2000
    assert 0.1 < found["share"] < 1.2
    assert 100 < found["early_mb"] < 10_000 and 100 < found["late_mb"] < 10_000
    results = {
        "machine": run.machine.describe(),
        **{"settings": {}, "median": {"asleep": found}},
    }
    assert f"| asleep | {found['loop']:.1f} |" in report.command_section("x", results)


def test_arithmetic_of_a_caption():
    config = checkpoint.config(**checkpoint.FULL)
    flop = engine.bound(config, 1, 2, 1e12, 1e11)["flop"]
    assert 57e9 < flop < 59e9


def test_page_names_every_server():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    names = {name.split("-")[0] for name in servers.KINDS} - {"ours", "noop"}
    assert [name for name in names if f"| `{name}` |" not in text] == []
