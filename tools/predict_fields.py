"""The fields of the model as options of `flask predict`, and their part of --help."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
from flask.cli import ScriptInfo
from pydantic import BaseModel

from model_interface.fields import Schema, Values, schemas, types_of
from tools.predict_sources import InputError, read_source

NO_SOURCES = "Name at least one file, folder or URL, or -."
TYPES = {"integer": "INTEGER", "number": "NUMBER", "boolean": "BOOLEAN"}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "like {}",
    "minItems": "at least {} values",
    "maxItems": "at most {} values",
}


class CommandWithFields(click.Command):
    """A command whose --help lists the fields of the model."""

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        super().format_options(ctx, formatter)
        module = ctx.ensure_object(ScriptInfo).load_app().config["MODULE"]
        own = {name for param in self.params for name in param.opts}
        try:
            rows = list(describe_fields(class_fields(module), own))
        except (Exception, SystemExit) as error:  # whatever a broken file raises
            reason = f"{module} cannot be imported: {error}".splitlines()[0]
            rows = [("unknown", reason)]
        if rows:
            with formatter.section("Fields of the model"):
                formatter.write_dl(rows)


def class_fields(module: str) -> type[BaseModel] | None:
    """Return the Fields of a module's class Model, which is not loaded."""
    fields = getattr(importlib.import_module(module).Model, "Fields", None)
    is_model = isinstance(fields, type) and issubclass(fields, BaseModel)
    return fields if is_model else None  # Loading the model tells what is wrong.


def describe_fields(
    fields: type[BaseModel] | None, own: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield each field as an option, and what it means and allows.

    `own` are the options of the command, which a field of the same name cannot be.
    """
    for name, schema in schemas(fields).items() if fields else ():
        option = to_option(name)
        if option in own:
            option = f"--field {name}={metavar(schema)}"
        elif is_flag(schema):
            option = f"{option} / {to_option(f'no_{name}')}"
        else:
            option = f"{option} {metavar(schema)}"
        notes = "; ".join(limits(schema))
        text = schema.get("description", "")
        yield option, f"{text}  [{notes}]".strip() if notes else text


def limits(schema: Schema) -> Iterator[str]:
    """Yield what a schema allows, and its default."""
    if "array" in types_of(schema):
        yield "repeatable"
    for part in branches(schema):
        for key, sentence in LIMITS.items():
            if key in part:
                yield sentence.format(part[key])
    default = schema.get("default")
    if is_flag(schema) and default is not None:
        default = "on" if default else "off"
    if isinstance(default, list):
        default = ", ".join(map(str, default))
    if default not in (None, ""):
        yield f"default: {default}"
    if "default" not in schema:
        yield "required"


def metavar(schema: Schema) -> str:
    """Return what stands for the value of an option: INTEGER, FILE, [cat|dog]."""
    for part in branches(schema):
        values = part.get("enum", [part["const"]] if "const" in part else [])
        if part.get("format") == "binary":
            return "FILE"
        if values:
            return f"[{'|'.join(map(str, values))}]"
        if part.get("type") in TYPES:
            return TYPES[part["type"]]
    return "TEXT"


def branches(schema: Schema) -> Iterator[Schema]:
    """Yield the schema of each type that is allowed, and of the items of a list."""
    for part in schema.get("anyOf", [schema]):
        yield part
        if isinstance(items := part.get("items"), dict):
            yield from branches(items)


def is_flag(schema: Schema) -> bool:
    return types_of(schema) - {"null"} == {"boolean"}


def is_file(schema: Schema) -> bool:
    return any(part.get("format") == "binary" for part in branches(schema))


def to_option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_arguments(
    arguments: Iterable[str], fields: Mapping[str, Schema]
) -> tuple[Values, list[str]]:
    """Separate the fields, --name value or --name=value, from the sources."""
    values, sources, rest = Values(), [], iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            sources.append(argument)
            continue
        option, equals, given = argument.partition("=")
        name, flag = find_field(option, fields)
        if flag == "false" and equals:
            raise click.UsageError(f"Option {option} does not take a value.")
        value: Any = given if equals else flag or next(rest, None)
        if value is None:
            raise click.UsageError(f"Option {option} requires a value.")
        if is_file(fields[name]):
            value = read_file(option, value)
        values.add(name, value)
    if not sources:
        raise click.UsageError(NO_SOURCES)
    return values, sources


def find_field(option: str, fields: Mapping[str, Schema]) -> tuple[str, str]:
    """Return the field that an option sets, and the value that a flag gives it."""
    names = {to_option(name): name for name in fields}
    option = to_option(option.removeprefix("--"))
    if name := names.get(option):
        return name, "true" if is_flag(fields[name]) else ""
    name = names.get(option.replace("--no-", "--", 1), "")
    if name and is_flag(fields[name]):
        return name, "false"
    known = ", ".join(names) or "none"
    raise click.UsageError(f"No option {option}; the model's own: {known}.")


def read_file(option: str, path: str) -> Any:
    """Return the file of a field as an upload."""
    try:
        return read_source(path)
    except (InputError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise click.UsageError(f"{option} {path}: {reason}") from None
