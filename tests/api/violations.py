"""Objects that break one bound of their schema each, made from an example in which every field is set."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.api.examples import Manifest

Step = str | int


@dataclass(frozen=True, slots=True)
class Violation:
    """`manifest` breaks `bound` of the field at `path`; `told` stands in what the API server says about it."""

    path: str
    bound: str
    manifest: Manifest
    told: str

    def __str__(self) -> str:
        return f"{self.path} {self.bound}"


def violations(manifest: Manifest, schema: dict[str, Any]) -> Iterator[Violation]:
    """One object for each bound in `schema` (an openAPIV3Schema) of the fields of `manifest`'s spec."""
    for way, bound, value, told in _bad_values(manifest["spec"], schema["properties"]["spec"], ("spec",)):
        bad = copy.deepcopy(manifest)
        place: Any = bad
        for step in way[:-1]:
            place = place[step]
        if value is _MISSING:
            del place[way[-1]]
        else:
            place[way[-1]] = value
        yield Violation(".".join(map(str, (manifest["kind"], *way))), bound, bad, told)


_MISSING = object()
_Bad = tuple[tuple[Step, ...], str, Any, str]


def _bad_values(value: Any, schema: dict[str, Any], way: tuple[Step, ...]) -> Iterator[_Bad]:
    yield way, "type", {"string": 7, "integer": "7", "boolean": "yes"}.get(schema["type"], "text"), "must be of type"
    match schema["type"]:
        case "string":
            yield from _bad_strings(value, schema, way)
        case "integer":
            yield way, "minimum", schema["minimum"] - 1, "should be greater than or equal to"
            yield way, "maximum", schema["maximum"] + 1, "should be less than or equal to"
            yield way, "whole", value + 0.5, "must be of type integer"
        case "array":
            yield from _bad_lists(value, schema, way)
        case "object" if "properties" in schema:
            for name in schema.get("required", ()):
                yield (*way, name), "required", _MISSING, "Required value"
                yield (*way, name), "null", None, "Required value"
            yield (*way, "stranger"), "unknown", 1, "unknown field"
            for name, part in value.items():
                yield from _bad_values(part, schema["properties"][name], (*way, name))
        case "object":
            items = schema["maxProperties"] + 1
            some = next(iter(value.values()))
            yield way, "maxProperties", {f"key_{n}": some for n in range(items)}, "Too many"
            for name, part in value.items():
                yield from _bad_values(part, schema["additionalProperties"], (*way, name))


def _bad_strings(value: str, schema: dict[str, Any], way: tuple[Step, ...]) -> Iterator[_Bad]:
    if "enum" in schema:
        yield way, "enum", "Nonsense", "Unsupported value"
        return
    yield way, "maxLength", (value or "x") + "x" * schema["maxLength"], "Too long"
    if schema.get("minLength"):
        yield way, "minLength", "", "should be at least"
    if "pattern" in schema:
        yield way, "pattern", f"{value}\x00", "should match"
        yield way, "one line", f"{value}\n", "should match"


def _bad_lists(value: list[Any], schema: dict[str, Any], way: tuple[Step, ...]) -> Iterator[_Bad]:
    items, kind = schema["items"], schema["x-kubernetes-list-type"]
    if value and kind in {"map", "set"}:
        yield way, "twice", [*value, value[0]], "Duplicate value"
    if value and kind == "map":
        key = schema["x-kubernetes-list-map-keys"][0]
        yield way, "maxItems", [value[0] | {key: f"many{n}"} for n in range(schema["maxItems"] + 1)], "Too many"
    elif value and "enum" not in items:
        yield way, "maxItems", [f"many{n}" for n in range(schema["maxItems"] + 1)], "Too many"
    if schema.get("minItems"):
        yield way, "minItems", [], "should have at least"
    for place, item in enumerate(value):
        yield (*way, place), "null", None, "must be of type"
        yield from _bad_values(item, items, (*way, place))
