"""Random values of each ENDPOINT_* variable: the setting they mean, or a sentence.

poetry run python -m tests.stress.fuzz_settings --cases 500
"""

import argparse
import contextlib
import io
import os
import random
from typing import Any

from endpoint import create_app
from endpoint.settings import EXIT_BOOT_FAILED, Settings, read_settings

SPECIAL = (
    *("", " ", "0", "-0", "-1", "1", "1.0", "0.1", "2.5", "1e3", "1e400", "-1e400"),
    *("nan", "NaN", "inf", "-Infinity", "null", "None", "true", "[]", "{}", '"1"'),
    *("0x10", "1_000", "1,000", "1.000,5", "٣", "½", "1\x0b", "1\n2", "+5", "5 6"),
    *("cuda", "cuda:", "cuda:99", "cuda:-1", "CUDA:0", "cpu ", "gpu", "xyz", "mps"),
    *("demo", "~nobody", "~", "/", "..", ".", "@", "a@", "@b", "a/b@c@d", "a/b/c"),
    *("endpoint.model", "endpoint", "a..b", ".a", "a.", "os", "a-b", "a b", "é.ü"),
    *("localhost", "a.b, c.d", ".a", "*.a", "[::1]", "a:80", "http://a", ",", "xn--a"),
    *("text", "json", "JSON", "t\ud83d", "\udcff\udcfe", "\ufeff1", "\u202e1", "\x7f"),
)


def random_value(chance: random.Random) -> str:
    """Return a special value, a number or a text, sometimes damaged or very long."""
    kind = chance.randrange(6)
    if kind < 2:
        value = chance.choice(SPECIAL)
    elif kind == 2:
        power = 10 ** chance.randint(0, 30)
        value = str(chance.choice([1, 1.0]) * chance.randint(-9, 9) * power)
    elif kind == 3:
        points = [chance.randint(1, 0xFFFF) for _ in range(chance.randint(1, 9))]
        value = "".join(map(chr, points))
    elif kind == 4:
        value = os.fsdecode(bytes(chance.choices(range(1, 256), k=5)))
    else:
        value = chance.choice(SPECIAL) * chance.choice([2, 100, 20_000])
    return value if chance.random() < 0.9 else f" {value}\n"


def means_the_same(name: str, text: str, setting: Any) -> bool:
    """Tell whether a setting is what a reader takes the text for."""
    text = text.strip()
    if not text and name != "api_key":
        return bool(setting == Settings.model_fields[name].default)
    return bool(setting == (text if isinstance(setting, str) else float(text)))


def fuzz(name: str, cases: int, seed: int = 0) -> dict[str, Any]:
    """Try random values of a variable; return counts, and the values that failed."""
    chance, variable = random.Random(f"{seed} {name}"), f"ENDPOINT_{name.upper()}"
    before, counts = os.environ.get(variable), {"set": 0, "refused": 0}
    wrong = []
    for _ in range(cases):
        value = random_value(chance)
        try:
            os.environ[variable] = value
        except ValueError:  # No environment can hold it.
            continue
        try:
            output = io.StringIO()
            with contextlib.redirect_stderr(output):
                setting = getattr(read_settings(), name)
                create_app()
            counts["set"] += 1
            if not means_the_same(name, value, setting):
                wrong.append((value[:60], setting))
        except SystemExit as end:
            counts["refused"] += 1
            lines = output.getvalue().splitlines()
            is_sentence = len(lines) == 1 and lines[0].startswith(
                f"{variable} must be "
            )
            if not is_sentence or end.code != EXIT_BOOT_FAILED:
                wrong.append((value[:60], lines))
        except Exception as error:
            wrong.append((value[:60], repr(error)))
    os.environ.pop(variable)
    if before is not None:
        os.environ[variable] = before
    return counts | {"wrong": wrong}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for field in Settings.model_fields:
        print(field, fuzz(field, arguments.cases, arguments.seed), flush=True)
