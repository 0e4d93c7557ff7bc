"""The benchmarks, with a small checkpoint and for a second each."""

import asyncio
import json
import os
import re
import statistics
import subprocess
import threading
import time
from argparse import Namespace
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

import pytest

from benchmarks import (
    command,
    engine,
    floor,
    images,
    load,
    machine,
    open_loop,
    report,
    run,
    servers,
)
from tests.support import random_checkpoint
from tests.support.gpu import PROBLEM
from tests.support.server import ROOT, free_port

ANSWERS = {  # body to status and text
    b"good": (200, b'{"caption": "a dog"}'),
    b"silent": (200, b""),
    b"refused": (503, b"full"),
}


class Scripted(BaseHTTPRequestHandler):
    """Answer by the body; close the connection if there is no answer for it."""

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


class Slow(Scripted):
    """Answer one request after the other, each after some time."""

    protocol_version = "HTTP/1.0"

    def do_POST(self):
        time.sleep(0.05)
        super().do_POST()


@pytest.fixture(scope="module")
def values():
    """Skip a test whose servers use a GPU if there is one, where it is a stub."""
    if "stub" in PROBLEM:
        pytest.skip(PROBLEM)


@pytest.fixture(scope="module")
def results(values, tmp_path_factory):
    """Measure the endpoint, a peer, a server that fails and one that is missing."""
    folder = tmp_path_factory.mktemp("benchmarks")
    random_checkpoint.write(folder / "small", **random_checkpoint.SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "LARGEST", 0.5)
        patch.setitem(servers.KINDS, "broken", servers.Kind("-m nothing", "flask"))
        patch.setitem(servers.KINDS, "absent", servers.Kind("-m nothing", "nothing"))
        options = "--servers ours plain broken absent --clients 1 4 --rounds 1".split()
        options += "--seconds 1 --warmup 0 --images 4".split()
        options += ["--checkpoint", str(folder / "small")]
        options += ["--output", str(folder / "results" / "http.json")]
        run.run(run.parse(options))
    return folder / "results" / "http.json"


def test_same_seed_gives_the_same_images(monkeypatch):
    monkeypatch.setattr(images, "LARGEST", 0.5)
    assert images.make_images(5) == images.make_images(5)
    assert images.make_images(5) != images.make_images(5, seed=1)


def test_images_have_all_sizes_and_formats(monkeypatch):
    monkeypatch.setattr(images, "make_image", lambda size, format, _: (size, format))
    sizes, formats = zip(*images.make_images())
    assert (round(min(sizes), 1), round(max(sizes), 1)) == (0.1, 12.0)
    assert [formats.count(each) for each in ("JPEG", "PNG", "WEBP")] == [18, 3, 3]


def test_load_counts_good_answers_and_errors(scripted):
    requests = [load.make_request(body) for body in (*ANSWERS, b"broken")]
    tally = load.measure(scripted.server_port, requests, 2, seconds=1)
    counts = [scripted.bodies.count(body) for body in (*ANSWERS, b"broken")]
    assert tally.captions == {(0, "a dog"): counts[0]}
    assert tally.errors == {
        **{"200": counts[1], "503": counts[2], "ConnectionError": counts[3]}
    }
    assert tally.summary()["answers"] == len(tally.seconds) == counts[0] > 1


def test_load_adds_the_answers_to_several_processes(scripted):
    requests = [load.make_request(b"good")]
    tally = load.measure(scripted.server_port, requests, 3, seconds=1, processes=2)
    assert tally.summary()["answers"] == len(scripted.bodies)
    assert tally.ended > tally.began > 0


def test_load_counts_refused_connections():
    tally = load.measure(free_port(), [load.make_request(b"good")], 1, 0.2)
    assert not tally.seconds and set(tally.errors) == {"ConnectionRefusedError"}


def test_arrivals_are_random_at_the_rate():
    times = load.draw_arrivals(100, seconds=50)
    gaps = [later - sooner for sooner, later in zip([0, *times], times)]
    assert times == sorted(times) and times[-1] < 50
    # Of a Poisson process: as many as this, and the gaps vary by their own mean.
    assert 4_700 < len(times) < 5_300
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.1)
    assert times == load.draw_arrivals(100, 50) != load.draw_arrivals(100, 50, seed=1)


def test_time_of_an_answer_counts_from_the_planned_time(scripted):
    requests = [load.make_request(b"good")]
    # The second request was planned five seconds before it can be sent.
    tally = asyncio.run(load.send_at(scripted.server_port, requests, [0.1, -5.0]))
    assert len(tally.seconds) == 2
    assert max(tally.seconds) >= 5 and max(tally.lags) >= 5


def test_open_loop_does_not_wait_for_answers():
    with HTTPServer(("127.0.0.1", 0), Slow) as server:
        server.bodies = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        requests = [load.make_request(b"good"), load.make_request(b"refused")]
        found = load.measure_open(server.server_port, requests, rate=100, seconds=0.2)
        server.shutdown()
    good, bad = found["answers"], found["errors"].get("503", 0)
    assert good + bad == found["requests"] == len(server.bodies) > 10
    assert found["p99_seconds"] >= 0.05 * found["requests"] - 0.2 - 0.1
    assert found["drain_seconds"] >= 0.05 * found["requests"] - 0.2


@pytest.mark.parametrize(
    "body", [b"a dog\n", b'"a dog"', b'["a dog"]', b'{"caption": "a dog"}']
)
def test_caption_is_found_in_text_and_json(body):
    assert load.parse_caption(body) == "a dog"


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


def test_run_continues_after_a_server_that_fails_or_is_missing(results):
    found = json.loads(results.read_text())["servers"]
    assert "No module named nothing" in found["broken"]["rounds"][0]["error"]
    reason = "skipped, the package nothing is not installed"
    assert found["absent"]["rounds"][0]["error"] == reason


def test_report_shows_the_results(results, tmp_path):
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
    config = random_checkpoint.config(**random_checkpoint.FULL)
    sizes = {
        str(size): engine.bound(config, size, 2, 1e12, 1e11)
        | {"seconds": size / 8, "per_second": 8.0}
        for size in (1, 8)
    }
    image = {"megapixels": 1, "format": "PNG", "seconds": 1}
    image["transformers_seconds"] = 2
    found = {
        "machine": machine.describe(),
        **{"settings": {}, "dtype": "bfloat16", "device": "cpu", "load_seconds": 1},
        **{"flops": 1e12, "bytes_per_second": 1e11, "batches": sizes},
        **{"decoding": [image], "decoded_per_second": 100.0},
    }
    text = report.engine_section("engine", found, tmp_path)
    assert "| 8 | 1000.0 | 8.0 |" in text
    assert (tmp_path / "engine-roofline.png").stat().st_size > 10_000


@pytest.fixture(scope="module")
def open_results(values, tmp_path_factory):
    """Measure the endpoint at a low rate, and at one that no server keeps up with."""
    folder = tmp_path_factory.mktemp("open")
    random_checkpoint.write(folder / "small", **random_checkpoint.SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "LARGEST", 0.2)
        patch.setattr(open_loop, "LIMIT", 0.0)
        patch.setitem(servers.KINDS, "absent", servers.Kind("-m nothing", "nothing"))
        options = "--servers ours-no-delay absent --rates 2 4 --clients 2".split()
        options += "--seconds 1 --warmup 0 --images 2".split()
        options += ["--checkpoint", str(folder / "small")]
        options += ["--output", str(folder / "open-loop.json")]
        return open_loop.run(open_loop.parse(options))


def test_rates_end_with_the_first_that_is_too_high(open_results):
    found = open_results["servers"]["ours-no-delay"]
    assert list(found["open"]) == ["2"] and not found["open"]["2"]["keeps_up"]
    assert found["open"]["2"]["errors"] == {} == found["closed"]["2"]["errors"]
    assert "nothing is not installed" in open_results["servers"]["absent"]["error"]


def test_report_shows_the_rates_that_a_server_keeps_up_with(open_results, tmp_path):
    pytest.importorskip("matplotlib")
    step = open_results["servers"]["ours-no-delay"]["open"]["2"]
    step |= {"p50_seconds": 0.5, "p99_seconds": 2.0}
    worse = step | {"keeps_up": False, "errors": {"503": 3}}
    steps = {"2": step | {"keeps_up": True}, "4": worse}
    open_results["servers"]["ours-no-delay"]["open"] = steps
    text = report.open_loop_section("open-loop", open_results, tmp_path)
    line = "| ours-no-delay | 500 ms, 2.0 s | **500 ms, 2.0 s, 3 errors** |"
    assert line in text and "- absent: skipped" in text
    assert (tmp_path / "open-loop.png").stat().st_size > 10_000


def test_floor_is_measured_and_shown(tmp_path):
    options = Namespace(rounds=1, seconds=0.5, clients=2)
    (found,) = floor.measure_floor(options)
    assert list(found) == list(floor.FLOOR)
    for row in found.values():
        assert row["errors"] == {} and row["per_second"] > 0 and row["cpu_ms"] > 0
    found["upload-reading no-op"]["cpu_ms"], found["ours, body"]["cpu_ms"] = 0.5, 1.25
    worker = {"memory_mb": 300.0, "per_second": 5, "captions": [(0, "a"), (1, "b")]}
    other = worker | {"memory_mb": 700.0, "captions": [(0, "a"), (1, "c")]}
    results = {"settings": {}, "machine": machine.describe(), "median": found}
    results |= {"workers": {"1": worker, "3": other}, "busy_before": 0.1}
    text = report.floor_section("floor", results, tmp_path)
    assert "| 1.25 | 2.5x |" in text
    assert "| 3 | 700 | 200 | 5.0 | 1 of 2 |" in text


@pytest.mark.parametrize("share, counts", [(0.05, True), (0.9, False)])
def test_report_says_whether_a_machine_was_quiet(share, counts):
    (line,) = report.describe_busy([0.0, share])
    assert f"0% to {share:.0%} of the cores" in line
    assert ("only show that the measurement works" in line) != counts
    assert report.describe_busy([]) == []


def test_command_is_measured_beside_the_model_alone(values, tmp_path):
    folder, output = tmp_path / "images", tmp_path / "answers.jsonl"
    command.draw_images(folder, 128)
    found = command.measure_round(command.SLEEPING, "demo", folder, output)
    assert 0 < found["loop"] <= 2000  # It sleeps for half a millisecond an image.
    assert 0.1 < found["share"] < 2
    assert 100 < found["early_mb"] < 10_000 and 100 < found["late_mb"] < 10_000
    results = {
        "machine": machine.describe(),
        **{"settings": {}, "median": {"sleeping": found}},
    }
    text = report.command_section("command", results, tmp_path)
    assert f"| sleeping | {found['loop']:.1f} |" in text


# Stands for Python with a GPU: it writes what it is called with, and fails on request.
PYTHON = """#!/bin/bash
echo "$@" >>"$OUT/calls"
[[ "$*" != *"$FAILS"* ]]
"""


@pytest.fixture
def gpu_steps(tmp_path):
    """Return a function that runs steps of gpu.sh: its status, calls and output."""
    python, calls = tmp_path / "python", tmp_path / "out" / "calls"
    python.write_text(PYTHON)
    python.chmod(0o755)
    calls.parent.mkdir()
    folders = {"OUT": calls.parent, "CHECKPOINT": tmp_path / "full"}

    def steps(*names, fails="nothing"):
        calls.write_text("")
        script = ["bash", ROOT / "benchmarks" / "gpu.sh", *names]
        variables = {"PYTHON": python, "FAILS": fails, **folders}
        environment = {name: str(value) for name, value in variables.items()}
        done = subprocess.run(
            script, env=os.environ | environment, capture_output=True, text=True
        )
        return done.returncode, calls.read_text().splitlines(), done.stdout

    return steps


def test_gpu_script_runs_all_steps_and_skips_finished_ones(gpu_steps):
    status, calls, _ = gpu_steps()
    assert (status, len(calls)) == (0, 9) and "tools.gpu_check" in calls[0]
    status, calls, output = gpu_steps()
    assert (status, calls) == (0, [])
    assert "engine: done before; to repeat it" in output
    status, calls, _ = gpu_steps("=engine", "tests")
    assert len(calls) == 1 and "benchmarks.engine" in calls[0]


def test_gpu_script_repeats_a_step_that_failed(gpu_steps):
    status, calls, _ = gpu_steps("engine", "tests", fails="benchmarks.engine")
    assert (status, len(calls)) == (1, 2)
    status, calls, _ = gpu_steps("engine", "tests")
    assert (status, len(calls)) == (0, 1) and "benchmarks.engine" in calls[0]


def test_gpu_script_measures_nothing_on_a_sick_gpu(gpu_steps):
    status, calls, output = gpu_steps(fails="gpu_check")
    assert (status, len(calls)) == (1, 1)
    assert "doctor: status 1" in output


def test_gpu_script_refuses_an_unknown_step(gpu_steps):
    status, calls, output = gpu_steps("engines")
    assert (status, calls) == (1, []) and "Unknown step: engines." in output


def test_gpu_script_measures_only_servers_that_exist():
    lines = (ROOT / "benchmarks" / "gpu.sh").read_text().splitlines()
    measured = [line.split(") measure ")[1] for line in lines if ") measure " in line]
    names = [name for line in measured for name in line.split()[1:-1]]
    assert len(measured) == 4 and len(names) > 15
    for name in names:
        servers.parse_name(name)


def test_gpu_script_names_only_files_that_exist():
    text = (ROOT / "benchmarks" / "gpu.sh").read_text()
    paths = re.findall(r"\btests/[\w/.]+", text)
    paths += [
        f"{name.replace('.', '/')}.py" for name in re.findall(r"-m ([\w.]+)", text)
    ]
    paths.remove("pytest.py")
    assert len(paths) > 6
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_arithmetic_of_one_caption_is_58_gflop():
    config = random_checkpoint.config(**random_checkpoint.FULL)
    flop = engine.bound(config, 1, 2, 1e12, 1e11)["flop"]
    assert 57e9 < flop < 59e9


def test_readme_mentions_every_server():
    text = (ROOT / "benchmarks" / "README.md").read_text()
    names = {name.split("-")[0] for name in servers.KINDS} - {"ours", "noop"}
    assert [name for name in names if f"| `{name}` |" not in text] == []
