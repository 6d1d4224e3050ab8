"""The CRD and the models accept and reject the same specs."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from taskqueue_operator.resource import crd
from taskqueue_operator.resource.schema import structural
from taskqueue_operator.resource.spec import Spec

from .spec_examples import ACCEPTED, MINIMAL, REJECTED

Schema = dict[str, Any]

ROOT: Schema = crd.document()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC: Schema = ROOT["properties"]["spec"]


def as_json_schema(schema: Schema) -> Schema:
    """Convert a structural schema to JSON Schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    converted = dict(schema)
    if "properties" in schema:
        converted["properties"] = {name: as_json_schema(field) for name, field in schema["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            converted[inner] = as_json_schema(schema[inner])
    return converted


VALIDATOR = jsonschema.Draft202012Validator(as_json_schema(SPEC))


def parses(spec: object) -> bool:
    try:
        Spec.model_validate(spec)
    except ValidationError:
        return False
    return True


def nodes(schema: Schema, path: str = "spec") -> Iterator[tuple[str, Schema]]:
    """Return all nodes of a schema with their paths."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for inner in ("items", "additionalProperties"):
        if inner in schema:
            yield from nodes(schema[inner], f"{path}[]")


@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_schema_and_models_accept_a_valid_spec(spec: Schema) -> None:
    VALIDATOR.validate(spec)
    assert parses(spec)


@pytest.mark.parametrize(("path", "spec"), REJECTED.values(), ids=REJECTED.keys())
def test_schema_and_models_reject_an_invalid_spec(path: str, spec: Schema) -> None:
    assert path
    assert not VALIDATOR.is_valid(spec)
    assert not parses(spec)


WRONG_TYPES = st.sampled_from([[], {}, "x", 1.5, -1])
TEXTS = ["", "a", "A b", "a,b", "a.b-c", "é", "-a", "a\tb"]


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    """Values on both sides of each bound of a schema."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([0, 1, "1", "64Mi", 1.5, [], {}])
    if "type" not in schema:
        return st.sampled_from(
            [0, 0.1, 1e-7, 1000, 1001, -1, True, "0.1", ".5", "50m", "a", "-1", "1e3", "", [], {}, [1]]
        )
    return _STRATEGIES[schema["type"]](schema) | (
        WRONG_TYPES if schema["type"] != "object" else st.sampled_from([[], "x"])
    )


def _objects(schema: Schema) -> st.SearchStrategy[Any]:
    fields = {name: values_of(field) for name, field in schema.get("properties", {}).items()}
    required = {name: field for name, field in fields.items() if name in schema.get("required", ())}
    optional = {name: field for name, field in fields.items() if name not in required}
    if "additionalProperties" in schema:
        return st.dictionaries(st.sampled_from(["cpu", "memory"]), values_of(schema["additionalProperties"]))
    return st.fixed_dictionaries(required, optional=optional)


def _arrays(schema: Schema) -> st.SearchStrategy[Any]:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique = (lambda item: str(item.get(keys[0])) if isinstance(item, dict) else str(item)) if keys else str
    return st.lists(values_of(schema["items"]), max_size=2, unique_by=unique)


def _integers(schema: Schema) -> st.SearchStrategy[Any]:
    edges = [edge + step for edge in (schema.get("minimum", 0), schema.get("maximum", 1000)) for step in (-1, 0, 1)]
    return st.sampled_from(edges)


def _strings(schema: Schema) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], schema["enum"][0].lower()])
    longest = schema.get("maxLength", 10)
    return st.sampled_from(
        [*TEXTS, "0 8 * * 1-5", "*/5 0 1,15 JAN-DEC SUN", "60 8 * * *", "0 8 * *", "a" * longest, "a" * (longest + 1)]
    )


_STRATEGIES: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "object": _objects,
    "array": _arrays,
    "integer": _integers,
    "string": _strings,
    "boolean": lambda _: st.booleans(),
}


def leaves(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field
        yield from leaves(field, (*path, name))


@st.composite
def nearly_valid_specs(draw: st.DrawFn) -> Schema:
    """A valid spec in which up to three fields have values on either side of their bounds."""
    spec: Schema = _copy(draw(st.sampled_from(list(ACCEPTED.values()))))
    for path, schema in draw(st.lists(st.sampled_from(list(leaves(SPEC))), max_size=3)):
        inner: Any = spec
        for name in path[:-1]:
            inner = inner.setdefault(name, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[path[-1]] = draw(values_of(schema))
    return spec


def _copy(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def has_one_source(spec: object) -> bool:
    """Whether the worker has an image or a deploymentRef, and not both: a rule of CEL, which the schema alone lacks."""
    worker = spec.get("worker") if isinstance(spec, dict) else None
    return not isinstance(worker, dict) or (worker.get("image") is None) != (worker.get("deploymentRef") is None)


@given(nearly_valid_specs() | values_of(SPEC))
@example(MINIMAL | {"worker": {"image": "acme/app:1", "deploymentRef": {"name": "a"}}})
@example(MINIMAL | {"worker": {}})
def test_schema_and_models_accept_and_reject_the_same_specs(spec: object) -> None:
    assert parses(spec) == (VALIDATOR.is_valid(spec) and has_one_source(spec))


def test_schema_and_models_have_the_same_defaults() -> None:
    """The API server stores its own defaults, so a different default of a model would never apply."""
    filled = _with_defaults(SPEC, _copy(ACCEPTED["empty parts"]))
    defaults = Spec.model_validate(ACCEPTED["empty parts"]).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert filled == defaults
    assert Spec.model_validate(filled) == Spec.model_validate(ACCEPTED["empty parts"])


def _with_defaults(schema: Schema, value: Any) -> Any:  # noqa: ANN401  JSON
    for name, field in schema.get("properties", {}).items():
        if name not in value and "default" in field:
            value[name] = _copy(field["default"])
        if isinstance(value.get(name), dict):
            _with_defaults(field, value[name])
    return value


def test_every_default_is_valid() -> None:
    for path, schema in nodes(SPEC):
        if "default" in schema:
            jsonschema.validate(schema["default"], as_json_schema(schema))
            assert schema["default"] is not None, path


def test_every_field_has_a_description() -> None:
    undescribed = [path for path, schema in nodes(ROOT, "root") if "description" not in schema]
    assert [path for path in undescribed if not path.endswith(("[]", "root.metadata"))] == []


def test_every_integer_has_bounds() -> None:
    unbounded = [
        path
        for path, schema in nodes(SPEC)
        if schema.get("type") == "integer" and not {"minimum", "maximum"} <= schema.keys()
    ]
    assert unbounded == []


def test_no_field_is_a_float() -> None:
    assert [path for path, schema in nodes(ROOT) if schema.get("type") == "number"] == []


class Union(BaseModel):
    either: int | str


class Tuple(BaseModel):
    pair: tuple[int, str]


class Odd(BaseModel):
    number: Annotated[int, Field(multiple_of=2)]


@pytest.mark.parametrize(
    ("model", "keyword"),
    [(Union, "unions"), (Tuple, "prefixItems"), (Odd, "multipleOf")],
)
def test_a_model_that_a_structural_schema_does_not_support_raises_an_error(
    model: type[BaseModel], keyword: str
) -> None:
    with pytest.raises(ValueError, match=f" {keyword}: "):
        structural(model)


def test_optional_fields_references_and_maps_are_converted() -> None:
    class Inner(BaseModel):
        name: str = Field(description="Its name.")

    class Outer(BaseModel):
        single: Inner = Field(description="The single one.")
        maybe: int | None = Field(None, ge=1, description="Perhaps.")
        many: dict[str, Inner]

    inner = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "description": "Its name."}},
    }
    assert structural(Outer) == {
        "type": "object",
        "required": ["single", "many"],
        "properties": {
            "single": inner | {"description": "The single one."},
            "maybe": {"type": "integer", "format": "int32", "minimum": 1, "description": "Perhaps."},
            "many": {"type": "object", "additionalProperties": inner},
        },
    }


def test_the_printer_columns_have_these_names() -> None:
    columns = crd.document()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"].upper() for column in columns] == [
        "READY",
        "BACKLOG",
        "DEAD",
        "WORKERS",
        "DESIRED",
        "MAX",
        "REASON",
        "AGE",
        "UNACKED",
        "DELAYED",
    ]
    assert [column["name"] for column in columns if column.get("priority")] == ["Unacked", "Delayed"], (
        "only with -o wide"
    )


def test_the_crd_has_no_scale_subresource() -> None:
    """`kubectl scale --replicas=0` would report "scaled", but the operator would scale out again."""
    assert crd.document()["spec"]["versions"][0]["subresources"] == {"status": {}}


def test_the_minimal_spec_sets_only_required_fields() -> None:
    required = {name: set(SPEC["properties"][name].get("required", ())) for name in SPEC["required"]}
    assert required | {"worker": {"image"}} == {name: set(part) for name, part in MINIMAL.items()}, "or deploymentRef"
