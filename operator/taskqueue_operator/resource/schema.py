"""Converts pydantic models to the structural schema of a CRD.

The API server supports a subset of JSON Schema: no references, null, titles or unions. A model that needs more raises
an error here, when the CRD is generated, and not in a user's cluster.
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
_OF_INT_OR_STRING: Final = ("description", "x-kubernetes-int-or-string", "maxLength", "x-kubernetes-validations")
_DROPPED: Final = frozenset({"title", "$defs"})


def structural(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model.

    Raises:
        ValueError: The model uses a part of JSON Schema that a structural schema does not support.
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}))


def _convert(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _flatten(schema, definitions)
    if schema.get("x-kubernetes-int-or-string"):
        return {key: schema[key] for key in _OF_INT_OR_STRING if key in schema}
    result: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: _convert(field, definitions) for name, field in value.items()}
        elif key == "items":
            result[key] = _convert(value, definitions)
        elif key == "additionalProperties":
            # True marks an opaque object, which has x-kubernetes-preserve-unknown-fields.
            result |= {key: _convert(value, definitions)} if isinstance(value, dict) else {}
        elif key in _KEPT:
            result[key] = value
        elif key not in _DROPPED:
            raise ValueError(f"a structural schema does not support {key}: {schema}")
    return result


def _flatten(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Replace a reference by its target, and an optional field by its one branch that is not null."""
    schema = dict(schema)
    while "$ref" in schema or ("anyOf" in schema and not schema.get("x-kubernetes-int-or-string")):
        target = (
            definitions[schema.pop("$ref").rsplit("/", 1)[-1]] if "$ref" in schema else _branch(schema.pop("anyOf"))
        )
        schema = target | schema
    if "default" in schema and (schema := schema | {"default": _without_null(schema["default"])})["default"] is None:
        del schema["default"]
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if schema.get("type") == "integer":
        schema.setdefault("format", "int32")
    return schema


def _without_null(default: Any) -> Any:  # noqa: ANN401  JSON
    """Remove fields that are null by default: a structural schema does not support null."""
    if not isinstance(default, dict):
        return default
    return {name: _without_null(value) for name, value in default.items() if value is not None}


def _branch(union: list[Schema]) -> Schema:
    branches = [branch for branch in union if branch.get("type") != "null"]
    if len(branches) != 1:
        raise ValueError(f"a structural schema does not support unions: {branches}")
    return branches[0]
