"""From pydantic models to the structural schema that a CRD takes.

The API server knows a subset of JSON Schema: no references, no null, no titles, no unions. What has no counterpart
there is refused here, when the CRD is generated, rather than in a user's cluster.
"""

from typing import Any, Final

from pydantic import BaseModel

Schema = dict[str, Any]

_KEPT: Final = frozenset(
    {
        "type",
        "description",
        "default",
        "enum",
        "pattern",
        "format",
        "required",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "not",
        "x-kubernetes-validations",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
    }
)
_DROPPED: Final = frozenset({"title", "$defs"})


def structural(model: type[BaseModel]) -> Schema:
    """Write a model's schema as a CRD takes it.

    Raises:
        ValueError: The model says something that a structural schema cannot.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}))


def _convert(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _flatten(schema, definitions)
    if schema.get("x-kubernetes-int-or-string"):
        return {"x-kubernetes-int-or-string": True}
    result: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _convert(each, definitions) for name, each in value.items()}
        elif key == "items":
            result[key] = _convert(value, definitions)
        elif key == "additionalProperties":
            # A bare True marks an opaque object, which carries its own x-kubernetes-preserve-unknown-fields.
            result |= {key: _convert(value, definitions)} if isinstance(value, dict) else {}
        elif key in _KEPT:
            result[key] = value
        elif key not in _DROPPED:
            raise ValueError(f"{key} has no counterpart in a structural schema: {schema}")
    return result


def _flatten(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put the target of a reference, or the one real branch of an optional field, in its place."""
    schema = dict(schema)
    while "$ref" in schema or ("anyOf" in schema and not schema.get("x-kubernetes-int-or-string")):
        target = (
            definitions[schema.pop("$ref").rsplit("/", 1)[-1]] if "$ref" in schema else _branch(schema.pop("anyOf"))
        )
        schema = target | schema
    if "default" in schema and (schema := schema | {"default": _present(schema["default"])})["default"] is None:
        del schema["default"]
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("type") == "integer":
        schema.setdefault("format", "int32")
    return schema


def _present(default: Any) -> Any:  # noqa: ANN401  JSON
    """Leave out what is absent by default: a structural schema knows no null."""
    if not isinstance(default, dict):
        return default
    return {name: _present(each) for name, each in default.items() if each is not None}


def _branch(union: list[Schema]) -> Schema:
    branches = [branch for branch in union if branch.get("type") != "null"]
    if len(branches) != 1:
        raise ValueError(f"a structural schema has no unions: {branches}")
    return branches[0]
