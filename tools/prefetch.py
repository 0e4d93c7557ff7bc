"""A model file to its weights on this machine, before a server needs them.

`python -m tools.prefetch` prints what ENDPOINT_MODEL should be; `make run` uses it.
"""

import ast
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path

from endpoint import weights
from endpoint.settings import EXIT_BOOT_FAILED, read_settings

BUNDLED_STANDS_FOR = "nlpconnect/vit-gpt2-image-captioning"


def pinned_checkpoint(module: str) -> tuple[str, str | None] | None:
    """Return CHECKPOINT and REVISION of a model file, None without a CHECKPOINT.

    The file is parsed and not imported, which would take seconds.
    """
    spec = None
    with suppress(ModuleNotFoundError):  # raised for a package that does not exist
        spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    constants = {}
    for line in ast.parse(Path(spec.origin).read_text()).body:
        match line:
            case ast.Assign([ast.Name(name)], ast.Constant(str(value))) | ast.AnnAssign(
                ast.Name(name), _, ast.Constant(str(value))
            ):
                constants[name] = value
    if "CHECKPOINT" not in constants:
        return None
    return constants["CHECKPOINT"], constants.get("REVISION")


def main() -> None:
    """Print what to serve: the model's name, or demo where it is unavailable."""
    settings = read_settings()
    checkpoint = pinned_checkpoint(settings.module)
    if checkpoint is None:  # This model file finds its weights by itself.
        return print(settings.model)
    try:
        weights.resolve(*checkpoint)
    except weights.ModelUnavailable as unavailable:
        if checkpoint[0] != BUNDLED_STANDS_FOR or not weights.BUNDLED.is_dir():
            print(unavailable, file=sys.stderr)
            sys.exit(EXIT_BOOT_FAILED)
        reason = str(unavailable).removesuffix(weights.HINT)
        print(f"{reason}Serving the bundled model, demo, instead.", file=sys.stderr)
        return print("demo")
    print(settings.model or "@".join(filter(None, checkpoint)))


if __name__ == "__main__":
    main()
