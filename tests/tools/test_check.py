"""`flask check`: what it says of a good model file and of each way to spoil one."""

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from endpoint import check
from tests.support.server import ROOT

GOOD = """
    from endpoint.decoders.image import decode_image

    class Model:
        max_batch = 5

        def __init__(self, device):
            self.scale = 10

        def decode(self, upload):
            return decode_image(upload).size

        def predict(self, sizes):
            return [width * self.scale for width, height in sizes]

        def encode(self, number):
            return {"width": number}
"""
WIDTHS = "[width * self.scale for width, height in sizes]"
WIDTH = '{"width": number}'
# What stands in the good file, what takes its place, what is said then.
MISTAKES = {
    "one output": (WIDTHS, "str(sizes)", "returned a str for 1 inputs: it must return"),
    "too few": (WIDTHS, "sizes[:1]", "returned 1 outputs for 2 inputs"),
    "wrong order": (WIDTHS, f"{WIDTHS}[::-1]", "wrong order: number 1 of 2 belongs to"),
    "neighbours": (WIDTHS, "[max(sizes)[0] + len(sizes)] * len(sizes)", "neighbours"),
    "only one": (WIDTHS, f"len(sizes) < 5 and {WIDTHS}", "returned a bool for 5"),
    "raises": (WIDTHS, "[1 / 0]", "fails at line 14 of .*py, return .1 / 0.: ZeroDiv"),
    "no list": (WIDTHS, "iter(sizes)", "returned a list_iterator for 1 inputs"),
    "no dict": (WIDTH, "number", "encode returned a int: return a dict"),
    "nothing": (WIDTH, "{}", "encode returned an empty dict"),
    "no JSON": (WIDTH, '{"size": {number}}', '"size", a set, is no JSON'),
    "no number": (WIDTH, '{"size": float("nan")}', '"size", a float, is no JSON'),
    "no encode": ("def encode", "def encoded", r"no method encode\(self, output\)"),
    "no class": ("class Model", "class Network", "has no class Model"),
    "no syntax": (
        "class Model:",
        "class Model",
        "line 4 of .*class Model: SyntaxError",
    ),
    "no import": ("import inputs", "import inputz", "at line 2 .*ImportError"),
    "slow import": (
        "class Model",
        "__import__('time').sleep(1.1)\n\n    class Model",
        "load in __init__",
    ),
    "loading": ("= 10", "= 1 / 0", r"Model\(device\) fails at line 8"),
    "exit": ("= 10", "= exit('No weights.')", "ends the process: No weights."),
    "junk": (
        "decode_image(upload)",
        "__import__('PIL.Image').Image.open(__import__('io').BytesIO(upload.data))",
        "decode fails with UnidentifiedImageError",
    ),
    "all taken": (
        "decode_image(upload).size",
        "len(upload.data), 0",
        "it should raise a 4xx",
    ),
}


def run(module):
    done = CliRunner().invoke(check.check, [module])
    return done.exit_code, done.output


def test_good_model_is_told_so_with_its_figures(model_file):
    status, told = run(model_file(GOOD).stem)
    assert status == 0 and told.endswith("All is well.\n")
    assert '{"width": 6400}' in told and "ms for 5" in told and "MB at most" in told
    assert "not known" not in told


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_told_in_a_sentence(model_file, mistake):
    good, bad, sentence = MISTAKES[mistake]
    assert good in GOOD
    status, told = run(model_file(GOOD.replace(good, bad)).stem)
    *_, last = told.strip().splitlines()
    assert status == 1 and re.search(sentence, last), told


def test_tensor_for_a_number_is_told(model_file):
    pytest.importorskip("torch")
    source = GOOD.replace("width * self.scale", "torch.tensor(width)")
    path = model_file(
        source.replace("from endpoint", "import torch\n    from endpoint")
    )
    assert '"width", a Tensor, is no JSON' in run(path.stem)[1]


def test_pictures_of_two_sizes_must_fit_in_a_batch(model_file):
    source = GOOD.replace("image(upload).size", "image(upload)")
    stack = "np.stack([np.asarray(size) for size in sizes]).mean((1, 2, 3)).tolist()"
    source = source.replace(WIDTHS, stack).replace(
        "from", "import numpy as np\n    from"
    )
    status, told = run(model_file(source).stem)
    assert status == 1 and "np.stack" in told and "same shape" in told


def test_step_that_hangs_is_told_with_its_line(model_file, monkeypatch):
    monkeypatch.setattr(check, "LIMIT", 0.3)
    status, told = run(
        model_file(GOOD.replace(WIDTHS, "__import__('time').sleep(9)")).stem
    )
    assert status == 1 and "predict takes over 0.3 s at line 14" in told


def test_model_that_answers_alike_leaves_the_order_open(model_file):
    status, told = run(model_file(GOOD.replace(WIDTH, '{"width": 0}')).stem)
    assert status == 0 and "order    not known" in told


def test_module_that_is_none_is_told():
    for module in ("nothing", "nothing.at.all", "tests"):
        assert run(module)[0] == 1
    assert "There is no module nothing." in run("nothing")[1]


@pytest.mark.parametrize("name", ["tests.support.fake_model", "tests/support/fake_model.py"])
def test_module_runs_by_itself(name):
    command = [sys.executable, "-m", "tools.check", name]
    assert b"All is well." in subprocess.check_output(command, cwd=ROOT)


def test_pictures_are_alike_within_a_hundredth():
    grey, brighter = (Image.new("RGB", (9, 9), (99 + more,) * 3) for more in (0, 30))
    hair = grey.copy()
    hair.putpixel((4, 4), (100, 99, 99))
    assert check.same(grey, hair) and not check.same(grey, brighter)
    assert not check.same(grey, grey.resize((9, 8)))
    assert check.shown(grey) == "a picture of 9 x 9"
