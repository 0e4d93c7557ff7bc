"""A model file to its weights on this machine, before a server needs them.

`python -m tools.prefetch` prints what ENDPOINT_MODEL should be; `make run` uses it.
"""

import ast
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path

from endpoint.settings import EXIT_BOOT_FAILED, read_settings
from model_helpers import weights

RESOLVE = ("weights.resolve", "resolve")
BUNDLED_STANDS_FOR = "nlpconnect/vit-gpt2-image-captioning"


def pinned_checkpoint(module: str) -> tuple[str, str | None] | None:
    """Return what a model file passes to `weights.resolve`, None without a call."""
    nodes = list(ast.walk(parse(module)))
    constants: dict[str, str] = {}
    for node in nodes:  # those of the module come before those in it
        match node:
            case ast.Assign([ast.Name(name)], ast.Constant(str(value))) | ast.AnnAssign(
                ast.Name(name), _, ast.Constant(str(value))
            ):
                constants.setdefault(name, value)
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in RESOLVE:
            arguments = (*node.args, *(keyword.value for keyword in node.keywords))
            texts = [text_of(each, constants) for each in arguments]
            name, revision = [*texts, "", ""][:2]
            return (name, revision or None) if name else None
    return None


def parse(module: str) -> ast.Module:
    """Parse a module; importing it would take seconds. An empty one if it is broken."""
    # The first two are raised for a package that does not exist or is none.
    with suppress(ImportError, ValueError, SyntaxError):
        spec = importlib.util.find_spec(module)
        if spec and spec.origin and spec.origin.endswith(".py"):
            return ast.parse(Path(spec.origin).read_text())
    return ast.Module([], [])


def text_of(node: ast.expr, constants: dict[str, str]) -> str:
    """Return the text that an expression stands for, "" if only running it tells."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants.get(ast.unparse(node).removeprefix("self."), "")


def main() -> None:
    """Print what to serve: the model's name, or demo where it is unavailable."""
    settings = read_settings()
    checkpoint = pinned_checkpoint(settings.module)
    if checkpoint is None:  # This model file finds its weights by itself.
        return print(settings.model)
    try:
        weights.resolve(*checkpoint)
    except weights.ModelUnavailable as unavailable:
        name = (settings.model or checkpoint[0]).partition("@")[0]
        if name != BUNDLED_STANDS_FOR or not weights.BUNDLED.is_dir():
            print(unavailable, file=sys.stderr)
            sys.exit(EXIT_BOOT_FAILED)
        reason = str(unavailable).removesuffix(weights.HINT)
        print(f"{reason}Serving the bundled model, demo, instead.", file=sys.stderr)
        return print("demo")
    print(settings.model or "@".join(filter(None, checkpoint)))


if __name__ == "__main__":
    main()
