"""ENDPOINT_* variables: defaults, bounds, and one sentence for a wrong value."""

import re
import subprocess
import sys

import pytest

from endpoint.settings import EXIT_BOOT_FAILED, Settings, read_settings
from tests.stress import fuzz_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.setenv(f"ENDPOINT_{name.upper()}", "")  # restored after the test
        monkeypatch.delenv(f"ENDPOINT_{name.upper()}")


def refusal(capsys) -> str:
    """Return the one line on stderr with which the process ends."""
    with pytest.raises(SystemExit) as end:
        read_settings()
    assert end.value.code == EXIT_BOOT_FAILED == 3
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_defaults_are_used_without_variables():
    assert read_settings() == Settings()
    assert read_settings().module == "endpoint.model"
    assert (read_settings().queue, read_settings().deadline) == (64, 90)
    assert read_settings().api_key is None and read_settings().max_batch is None


def test_variables_are_read_on_every_call(monkeypatch):
    for value in ("1000", "2000"):
        monkeypatch.setenv("ENDPOINT_MAX_PIXELS", value)
        assert read_settings().max_pixels == int(value)


def test_spaces_around_a_value_are_ignored(monkeypatch):
    monkeypatch.setenv("ENDPOINT_QUEUE", " 8\n")
    monkeypatch.setenv("ENDPOINT_API_KEY", " 12345 ")
    assert (read_settings().queue, read_settings().api_key) == (8, "12345")


@pytest.mark.parametrize(
    "name, value",
    [
        ("MAX_BATCH", "65536"),
        ("MAX_BATCH_DELAY", "0"),
        ("MAX_BATCH_DELAY", "2.5"),
        ("QUEUE", "1"),
        ("DEADLINE", "0.5"),
        ("MAX_UPLOAD_MB", "0.5"),
        ("MAX_PIXELS", "1"),
        ("DEVICE", "cuda:1"),
        ("LOG", "json"),
    ],
)
def test_values_within_bounds_are_accepted(monkeypatch, name, value):
    monkeypatch.setenv(f"ENDPOINT_{name}", value)
    assert str(getattr(read_settings(), name.lower())).removesuffix(".0") == value


NUMBERS = ("MAX_BATCH", "MAX_BATCH_DELAY", "QUEUE", "DEADLINE", "MAX_UPLOAD_MB")


@pytest.mark.attack(12)
@pytest.mark.parametrize("name", [*NUMBERS, "MAX_PIXELS"])
@pytest.mark.parametrize("value", ["-1", "Infinity", "nan", "true", "null", "many"])
def test_value_that_is_no_finite_number_is_refused(monkeypatch, capsys, name, value):
    monkeypatch.setenv(f"ENDPOINT_{name}", value)
    assert re.fullmatch(
        f"ENDPOINT_{name} must be a[a-z0-9., ]+ from [0-9.]+ to [0-9,]+\\.",
        refusal(capsys),
    )


@pytest.mark.attack(12)
@pytest.mark.parametrize("name", ["MAX_BATCH", "QUEUE", "MAX_PIXELS"])
def test_fraction_of_a_count_is_refused(monkeypatch, capsys, name):
    monkeypatch.setenv(f"ENDPOINT_{name}", "2.5")
    assert refusal(capsys).startswith(f"ENDPOINT_{name} ")


@pytest.mark.attack(12)
@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("QUEUE", "0", "a whole number from 1 to 10,000"),
        ("QUEUE", "10001", "a whole number from 1 to 10,000"),
        ("QUEUE", "2.5", "a whole number from 1 to 10,000"),
        ("MAX_BATCH", "0", "a whole number from 1 to 65,536"),
        ("MAX_PIXELS", "0", "a whole number from 1 to 10,000,000,000"),
        ("MAX_BATCH_DELAY", "-1", "a number from 0 to 10,000"),
        ("DEADLINE", "0", "a number from 0.1 to 86,400"),
        ("MAX_UPLOAD_MB", "0", "a number from 0.001 to 4,000"),
        ("LOG", "xml", "text or json"),
        ("DEVICE", "the first", "cpu, mps, cuda or a GPU like cuda:1"),
        ("DEVICE", "xyz", "cpu, mps, cuda or a GPU like cuda:1"),
        ("MODULE", "my-model.py", "the dotted name of a Python module"),
        ("MODULE", "./model", "the dotted name of a Python module"),
        ("MODEL", "a\nb", "demo, a folder or a name on the hub"),
        ("MODEL", "x" * 5000, "demo, a folder or a name on the hub"),
        ("MODEL", "\udcff", "demo, a folder or a name on the hub"),
        ("HOSTS", "https://a.example", "host names, separated by commas"),
        ("HOSTS", "a..example", "host names, separated by commas"),
    ],
)
def test_value_out_of_bounds_is_refused_with_what_is_allowed(
    monkeypatch, capsys, name, value, allowed
):
    monkeypatch.setenv(f"ENDPOINT_{name}", value)
    assert refusal(capsys) == f"ENDPOINT_{name} must be {allowed}."


@pytest.mark.parametrize(
    "name", [*NUMBERS, "MODEL", "MODULE", "DEVICE", "HOSTS", "LOG"]
)
def test_empty_value_means_the_default(monkeypatch, name):
    monkeypatch.setenv(f"ENDPOINT_{name}", "")
    assert read_settings() == Settings()


@pytest.mark.attack(5)
@pytest.mark.parametrize("key", ["", "  ", "two words", "é", "a\tb"])
def test_api_key_that_no_header_can_carry_is_refused(monkeypatch, capsys, key):
    monkeypatch.setenv("ENDPOINT_API_KEY", key)
    expected = "ENDPOINT_API_KEY must be visible ASCII characters, or unset."
    assert refusal(capsys) == expected


def test_wrong_setting_ends_the_process_with_one_sentence(monkeypatch):
    monkeypatch.setenv("ENDPOINT_QUEUE", "2.5")
    program = "import endpoint; endpoint.create_app('tests.support.fake_model')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("ENDPOINT_QUEUE ")


@pytest.mark.attack(12)
@pytest.mark.parametrize("name", Settings.model_fields)
def test_random_value_is_a_setting_or_a_sentence(name):
    assert fuzz_settings.fuzz(name, 30, seed=1)["wrong"] == []
