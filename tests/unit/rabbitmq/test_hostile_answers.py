"""Whatever a management API answers, only declared faults come of it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

import httpcore
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from taskqueue_operator.rabbitmq.access import Access
from taskqueue_operator.rabbitmq.definitions_tag import DefinitionsTag
from taskqueue_operator.rabbitmq.management import Management
from taskqueue_operator.rabbitmq.network import Network
from taskqueue_operator.rabbitmq.turns import Turns
from taskqueue_operator.rabbitmq.vhost import Vhost
from taskqueue_operator.resource import bounds
from taskqueue_operator.resource.faults import BrokerFault, Fault
from taskqueue_operator.topology.diff import Declare, Remove, Step
from taskqueue_operator.topology.objects import Binding, Queue

from .fake_amqp import ENDPOINT

EXAMPLES: Final = 1000 if os.environ.get("TASKQUEUE_DEEP") else 300
NAMES = (
    *("name", "type", "state", "durable", "auto_delete", "arguments", "policy", "definition", "priority", "pattern"),
    *("source", "destination", "destination_type", "routing_key", "properties_key", "apply-to", "queue", "protocol"),
    *("messages", "messages_ready", "messages_unacknowledged", "channel_details", "connection_details", "peer_host"),
    *("connection_name", "ack_required", "user_provided_name", "error", "reason", "alarms", "resource"),
    *("rabbitmq_version", "x-queue-type", "x-taskqueue-owner", "effective_policy_definition"),
    "tags",
)
REQUIRED = {"name": st.just("jobs"), "arguments": st.just({}), "durable": st.just(True), "auto_delete": st.just(False)}
TEXTS = st.sampled_from([*NAMES, "running", "queue", "", "4.3", "9" * 5000 + ".1", "inequivalent arg", "\u0000"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(), TEXTS, st.text(max_size=20))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=8)),
    max_leaves=30,
)
ITEM = st.fixed_dictionaries(REQUIRED, optional={name: SCALARS for name in NAMES if name not in REQUIRED})
ANSWERS = st.one_of(VALUES, st.lists(st.one_of(ITEM, VALUES), max_size=4), st.lists(ITEM, max_size=3))


class _Answer:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.extensions = {"reason_phrase": b"Phrase"}
        self.headers = [(b"ETag", body)]
        self._body = body

    async def aiter_stream(self) -> AsyncIterator[bytes]:
        yield self._body


class _Pool:
    """Gives the same answer to every request."""

    connections: Final = ()

    def __init__(self, status: int, body: bytes) -> None:
        self._answer = _Answer(status, body)

    @asynccontextmanager
    async def stream(self, *_: object, **__: object) -> AsyncIterator[_Answer]:
        yield self._answer

    async def aclose(self) -> None: ...


class _OnePool(Network):
    def __init__(self, pool: _Pool) -> None:
        super().__init__()
        self._pool = pool

    @override
    def http(self, _: object) -> httpcore.AsyncConnectionPool:
        return cast("httpcore.AsyncConnectionPool", self._pool)


def access(status: int, body: bytes) -> Access:
    return Access(ENDPOINT, _OnePool(_Pool(status, body)))


def encoded(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


STEPS: list[Step] = [Declare(Queue("jobs")), Remove(Binding("a", "b", to_queue=True, routing_key="c"))]


async def use(status: int, body: bytes) -> list[Any]:
    rabbitmq, found = Vhost(access(status, body), lambda: datetime.now(UTC), Turns(1000)), list[Any]()
    calls = (rabbitmq.sweep, rabbitmq.topology, rabbitmq.consumers, rabbitmq.alarms)
    tag = DefinitionsTag(Management(access(status, body)))
    for call in (*calls, tag.is_unchanged, lambda: rabbitmq.apply(STEPS)):
        try:
            found.append(await call())
        except Fault as fault:
            found.append(fault)
    assert all(len(fault.message) < 2 * bounds.MESSAGE_CHARACTERS for fault in found if isinstance(fault, Fault))
    return found


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from([200, 204, 400, 401, 403, 404, 500, 503]), ANSWERS)
def test_any_json_is_an_answer_of_rabbitmq_or_a_fault(status: int, value: object) -> None:
    try:
        body = encoded(value)
    except orjson.JSONEncodeError:
        return
    sweeps, *_ = asyncio.run(use(status, body))
    if not isinstance(sweeps, Fault):
        for name, sweep in sweeps.items():
            assert isinstance(name, str)
            assert all(figure is None or figure >= 0 for figure in (sweep.ready, sweep.unacked))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2000 + b"]" * 2000,
        b'[{"name":"a","arguments":' + b"[" * bounds.JSON_DEPTH + b"]" * bounds.JSON_DEPTH + b"}]",
        b"[" + b"{}," * bounds.JSON_CONTAINERS + b"{}]",
        b"[" + b"0," * bounds.JSON_VALUES + b"0]",
        b"\x1f\x8b compressed",
        b"[1e999999999]",
        b'[{"name":"a"}',
        b"\xff",
        b"",
    ],
)
async def test_an_answer_that_takes_much_memory_or_is_no_json_is_refused(body: bytes) -> None:
    sweep, topology, consumers, *_ = await use(200, body)
    assert isinstance(sweep, BrokerFault)
    assert isinstance(topology, BrokerFault)
    assert isinstance(consumers, BrokerFault)


async def test_only_a_listing_may_be_long() -> None:
    sweep, _, _, alarms, *_ = await use(200, b" " * bounds.HTTP_OTHER_BODY_BYTES + b"[]")
    assert sweep == {}
    assert isinstance(alarms, BrokerFault)


async def test_a_long_reason_of_the_broker_is_cut() -> None:
    body = encoded({"error": "bad_request", "reason": "inequivalent arg " + "x" * 100_000})
    *_, applied = await use(400, body)
    assert len(applied.message) < 2 * bounds.MESSAGE_CHARACTERS
