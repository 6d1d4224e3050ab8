"""The annotation of the first parameter says what payload a handler takes."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from taskqueue_worker import Call, Context, Proceed
from taskqueue_worker.payload import PayloadError
from taskqueue_worker.run_outcome import Outcome, Status
from taskqueue_worker.tasks import Registry
from tests.approved import assert_approved
from tests.unit.worker.messages import delivery, runner_of


@dataclass
class Size:
    width: int
    height: int = 100


class Person(TypedDict):
    name: NotRequired[str]
    born: datetime


class Image(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: UUID
    sizes: list[Size] = Field(max_length=2)


class Fields(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Tree(BaseModel):
    n: int
    children: "list[Tree]" = Field(default_factory=list)


class Careless(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def _exact(cls, n: int) -> int:
        if n == 1:
            raise ValueError("n must not be 1")
        raise LookupError(n)


class Circle(BaseModel):
    kind: Literal["circle"]


class Square(BaseModel):
    kind: Literal["square"]


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


async def run(annotation: object, body: bytes, *, is_def: bool = False) -> tuple[Outcome, list[object]]:
    """Run a handler with this annotation, and return what it received."""
    registry, received = Registry(), list[object]()

    async def coroutine(payload: object) -> None:
        received.append(payload)

    def function(payload: object) -> None:
        received.append(payload)

    handler: Callable[[Any], Any] = function if is_def else coroutine
    handler.__annotations__["payload"] = annotation
    registry.task("t")(handler)
    return await runner_of(registry).run(delivery(body=body)), received


ID = "8f2c7e3a-5d54-4a44-9d3c-0a3c6b1f2a11"


@pytest.mark.parametrize("is_def", [False, True])
@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (Size, b'{"width": 3}', Size(3)),
        (Person, b'{"born": "2026-01-01T00:00:00Z"}', {"born": datetime(2026, 1, 1, tzinfo=UTC)}),
        (Image, f'{{"id": "{ID}", "sizes": [{{"width": 1}}]}}'.encode(), Image(id=UUID(ID), sizes=[Size(1)])),
        ("Image", f'{{"id": "{ID}", "sizes": []}}'.encode(), Image(id=UUID(ID), sizes=[])),
        (list["Size"], b'[{"width": 3}]', [Size(3)]),
        (tuple[int, str], b'[1, "a"]', (1, "a")),
        (Annotated[int, Field(gt=0)], b"18446744073709551616", 2**64),
        (int | None, b"null", None),
        (dict[str, int], b'{"a": 1}', {"a": 1}),
        (dict[str, Any], b"[1]", [1]),
        (dict, b"[1]", [1]),
        (bytes, b"[1]", [1]),
        (object, b'"x"', "x"),
        ("dict[str, Any]", b'{"a": 1}', {"a": 1}),
    ],
)  # fmt: skip
async def test_a_handler_receives_what_its_annotation_says(
    annotation: object, body: bytes, expected: object, *, is_def: bool
) -> None:
    outcome, received = await run(annotation, body, is_def=is_def)
    assert (outcome.status, received) == (Status.DONE, [expected])


@pytest.mark.parametrize("is_def", [False, True])
@pytest.mark.parametrize(
    ("annotation", "body", "named"),
    [
        (Image, f'{{"id": "{ID}", "sizes": [{{"height": 1}}]}}'.encode(), "payload.sizes[0].width: Field required."),
        (
            Image,
            b'{"id": 5, "sizes": [{"width": 1}, {"width": 1}, {"width": 1}], "more": 1}',
            "payload.sizes: List should have at most 2 items",
        ),
        (Size, b"[]", "payload: "),
        (int, b'"verysecret"', "payload: Input should be a valid integer"),
        (Fields, b'{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}', "And 2 more."),
        (Careless, b'{"n": 1}', "payload.n: Value error, n must not be 1."),
        (Shape, b'{"kind": "verysecret"}', "payload: The tag of the union is none of the expected ones."),
    ],
)
async def test_a_payload_that_is_not_valid_is_refused_with_its_field(
    annotation: object, body: bytes, named: str, *, is_def: bool
) -> None:
    outcome, received = await run(annotation, body, is_def=is_def)
    assert (outcome.status, received) == (Status.INVALID_PAYLOAD, [])
    assert outcome.failure is not None
    assert named in outcome.failure.text
    assert "verysecret" not in outcome.failure.text + outcome.failure.stack


async def test_the_reason_of_a_refused_payload() -> None:
    outcome, _ = await run(Image, b'{"sizes": [{"width": "wide"}], "format": "png"}')
    assert outcome.failure is not None
    assert_approved("worker.invalid_payload", outcome.failure.text)


@pytest.mark.parametrize(
    ("annotation", "body", "named"),
    [
        (list[str], b"[" + b"1," * 100_000 + b"1]", "payload[0]: Input should be a valid string."),
        (dict[str, list[str]], b'{"a": [' + b"1," * 100_000 + b"1]}", "payload.a[0]: Input should be a valid string."),
        (
            Tree,
            b'{"n": 1, "children": [' + b'{"n": "x"},' * 100_000 + b'{"n": 1}]}',
            "payload.children[0].n: Input should be a valid integer, unable to parse string as an integer.",
        ),
        (
            Fields,
            b"{" + b",".join(b'"%d":1' % n for n in range(2000)) + b"}",
            "payload: 2000 fields are not valid or not known.",
        ),
    ],
)
async def test_a_payload_with_very_many_errors_is_refused_for_the_first(
    annotation: object, body: bytes, named: str
) -> None:
    outcome, _ = await run(annotation, body)
    assert outcome.status is Status.INVALID_PAYLOAD
    assert outcome.failure is not None
    assert outcome.failure.text == named


async def test_a_long_path_is_cut() -> None:
    outcome, _ = await run(dict[str, int], b'{"%s": "x"}' % (b"k" * 5000))
    assert outcome.failure is not None
    assert len(outcome.failure.text) < 400


async def test_an_error_of_a_validator_fails_the_task_as_one_of_the_handler() -> None:
    outcome, received = await run(Careless, b'{"n": 2}')
    assert (outcome.status, received) == (Status.FAILED, [])


async def test_a_payload_error_of_the_handler_is_a_failure() -> None:
    registry = Registry()

    @registry.task("t")
    async def handler(_: object) -> None:
        raise PayloadError("of a message that it publishes")

    assert (await runner_of(registry).run(delivery())).status is Status.FAILED


async def test_middleware_sees_the_validated_payload() -> None:
    registry, seen = Registry(), list[object]()

    async def middleware(call: Call, proceed: Proceed) -> object:
        seen.append(call.payload)
        return await proceed()

    @registry.task("t", around=[middleware])
    def handler(size: Size, context: Context) -> None:
        seen.append((size, context.type))

    assert (await runner_of(registry).run(delivery(body=b'{"width": 3}'))).status is Status.DONE
    assert seen == [Size(3), (Size(3), "t")]
    assert (await runner_of(registry).run(delivery(body=b'{"width": "x"}'))).status is Status.INVALID_PAYLOAD
    assert len(seen) == 2, "neither ran"


class Resizer:
    async def __call__(self, size: "Size") -> None: ...


def resize(_: str, size: Size) -> None: ...


@pytest.mark.parametrize("function", [Resizer(), functools.partial(resize, "png")])
def test_the_annotation_of_a_callable_object_counts(function: Callable[[Any], Any]) -> None:
    registry = Registry()
    registry.task("t")(function)
    (handler,) = registry
    assert handler.validate is not None
    assert handler.validate({"width": 3}) == Size(3)


def test_an_annotation_that_cannot_be_resolved_is_refused() -> None:
    def handler(size: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="payload") as refused:
        Registry().task("t")(handler)
    assert "outside of functions and of `if TYPE_CHECKING`" in str(refused.value)


def test_a_type_that_pydantic_does_not_know_is_refused() -> None:
    class Opaque: ...

    def handler(payload: Opaque) -> None: ...

    with pytest.raises(TypeError, match="payloads cannot be validated as Opaque"):
        Registry().task("t")(handler)


def test_without_pydantic_the_message_names_the_extra_and_untyped_handlers_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)
    monkeypatch.delitem(sys.modules, "taskqueue_worker.handlers.pydantic_payload", raising=False)
    registry = Registry()

    def resize(size: Size) -> None: ...

    resize.__module__, resize.__qualname__ = "tasks", "resize"
    with pytest.raises(TypeError) as refused:
        registry.task("t")(resize)
    text = str(refused.value)
    assert "pip install 'taskqueue-worker[pydantic]'" in text

    @registry.task("untyped")
    def untyped(payload: dict[str, Any]) -> None: ...

    assert registry.get("untyped") is not None
