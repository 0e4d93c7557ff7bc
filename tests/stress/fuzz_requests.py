"""Random requests to a model with every kind of field, drawn from its OpenAPI document.

`python -m tests.stress.fuzz_requests` sends 7,000 and compares the responses with it.
"""

import argparse
import os
import subprocess
import sys
import tempfile

from tests.support.server import ROOT, Server

ALL_KINDS = "tests.support.all_kinds_model"
# A schema does not say that a string with commas is a list, and that an empty one,
# which the page sends, is no value.
LENIENT = ("negative_data_rejection",)


def fuzz(url: str, cases: int, *exclude: str) -> subprocess.CompletedProcess:
    """Send requests drawn from the document and compare the responses with it.

    `cases` is the most for each way to send; `exclude` names checks to leave out.
    """
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    # A schema cannot say which bytes are an image.
    checks = ",".join(["positive_data_acceptance", *exclude])
    command += ["--exclude-checks", checks, "--no-color"]
    command += ["--max-examples", str(cases), "--seed", "1"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks"}
    environment = os.environ | hooks | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:  # It leaves a cache there.
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=950, help="for each way to send")
    with Server("gunicorn", ENDPOINT_MODULE=ALL_KINDS) as server:
        done = fuzz(server.wait_for(200).url, parser.parse_args().cases, *LENIENT)
    for line in (done.stdout + done.stderr).splitlines():
        print(line[:200])  # A request may be long.
    sys.exit(done.returncode)
