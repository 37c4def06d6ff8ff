"""JSON Schema: what is looked at is right, what is not looked at never refuses."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.wire.schema import conforms

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20},
        "age": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "maxItems": 2},
        "boss": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
    "$defs": {"place": {"type": "object", "properties": {"zip~/code": {"const": 8000}}, "minProperties": 1}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ada", "age": 36},
        {"name": "Ada", "age": None, "tags": ["a", 1]},
        {"name": "Ada", "age": 36.0, "boss": {"name": "Eve", "age": 1, "boss": None}},
        {"name": "Ada", "age": 0, "home": {"zip~/code": 8000.0}},
    ],
)
def test_conforming_value_conforms(value: Any) -> None:
    assert conforms(value, PERSON)


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ada"},
        {"name": "", "age": 1},
        {"name": "Ada", "age": 1.5},
        {"name": "Ada", "age": True},
        {"name": "Ada", "age": 150},
        {"name": "Ada", "age": -1},
        {"name": "Ada", "age": 1, "other": 1},
        {"name": "Ada", "age": 1, "tags": ["c"]},
        {"name": "Ada", "age": 1, "tags": [True]},
        {"name": "Ada", "age": 1, "tags": ["a", "a", "a"]},
        {"name": "Ada", "age": 1, "boss": {"name": "Eve"}},
        {"name": "Ada", "age": 1, "home": {}},
        {"name": "Ada", "age": 1, "home": {"zip~/code": "8000"}},
        ["Ada", 1],
        None,
    ],
)
def test_wrong_value_does_not(value: Any) -> None:
    assert not conforms(value, PERSON)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (5, {"multipleOf": 2}),
        (0.35, {"multipleOf": 0.1}),
        ([1, "x"], {"prefixItems": [{"type": "integer"}], "items": {"type": "integer"}}),
        (["x"], {"items": [{"type": "integer"}]}),
        (3, {"allOf": [{"type": "integer"}, {"maximum": 2}]}),
        (3, {"oneOf": [{"type": "string"}, {"maximum": 2}]}),
        (3, False),
        ({"a": [1]}, {"const": {"a": [True]}}),
    ],
)
def test_each_rule_refuses(value: Any, schema: Any) -> None:
    assert not conforms(value, schema)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (4, {"multipleOf": 2}),
        (0.3, {"multipleOf": 0.1}),
        ("x", {"pattern": "^(a+)+$", "format": "email"}),
        ("x", {"not": {"type": "string"}}),
        ("x", {"$ref": "https://example.com/schema"}),
        ("x", {"$ref": "#/nowhere"}),
        ({"x-1": 1}, {"patternProperties": {"^x-": {}}, "additionalProperties": False}),
        (3, {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        (3, True),
        (3, {"type": "decimal"}),
        (3, {"enum": "abc", "required": 1, "properties": 2, "minimum": "x"}),
    ],
)
def test_what_is_not_looked_at_refuses_nothing(value: Any, schema: Any) -> None:
    assert conforms(value, schema)


def test_schema_without_end_is_given_up() -> None:
    """A caller's schema may refer to itself for ever, or branch without measure."""
    assert conforms(1, {"$ref": "#"})
    assert conforms([], {"allOf": [{"$ref": "#"}, {"$ref": "#"}]})
    wide = {"anyOf": [{"type": "string"}] * 1000}
    assert not conforms([1], {"items": wide})
    assert conforms([1] * 1000, {"items": {"anyOf": [*wide["anyOf"], {"type": "integer"}]}})
    assert conforms([*[1] * 1000, None], {"items": {"anyOf": [*wide["anyOf"], {"type": "integer"}]}})
