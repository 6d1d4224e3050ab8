"""A queue is read only if that cannot delete its messages."""

import pytest

from taskqueue_operator.dead_letters.delivery_limit import (
    NOT_SHOWN,
    Version,
    counts_every_return,
    drops_nothing,
    limit_unknown,
    limited,
    parse_version,
)
from tests.approved import assert_approved


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.0.5", (4, 0)), ("3.13.7+rc.1", (3, 13)), ("", None), ("four", None), (None, None), (b"4.0", None)],
)
def test_the_version_of_the_broker_is_parsed(text: object, version: Version | None) -> None:
    assert parse_version(text) == version


@pytest.mark.parametrize(
    ("version", "counts"),
    [
        ((3, 10), True),
        ((4, 0), True),
        ((4, 2), True),
        ((4, 3), False),
        ((5, 0), False),
        (None, True),
    ],
)
def test_listings_count_until_4_3(version: Version | None, counts: bool) -> None:  # noqa: FBT001  a case
    assert counts_every_return(version) is counts


def queue(limit: object = None, policy: object = None, *, type_: str = "quorum") -> dict[str, object]:
    return {
        "type": type_,
        "arguments": {} if limit is None else {"x-delivery-limit": limit},
        "effective_policy_definition": [] if policy is None else {"delivery-limit": policy},
    }


@pytest.mark.parametrize(
    ("described", "before_4_0", "from_4_0_on"),
    [
        (queue(type_="classic"), True, True),
        (queue(), True, False),
        (queue(1_000_000), True, True),
        (queue(policy=1_000_000), True, True),
        (queue(100), False, False),
        (queue(1_000_000, policy=3), False, False),
        (queue(3, policy=1_000_000), False, False),
        # RabbitMQ 3 accepts a negative limit, and drops each message at its first return.
        (queue(-1), False, True),
        (queue(policy=-1), False, True),
        (queue(-1, policy=20), False, False),
        (queue("1000000"), False, False),
        # In the first seconds of a queue, the management API does not show its policy.
        ({"type": "quorum", "arguments": {}}, None, None),
        ({"type": "quorum", "arguments": {}, "effective_policy_definition": "none"}, None, None),
        ({}, None, None),
    ],
)
def test_a_queue_drops_nothing_if_no_message_reaches_its_limit(
    described: dict[str, object],
    before_4_0: bool | None,  # noqa: FBT001  a case
    from_4_0_on: bool | None,  # noqa: FBT001  a case
) -> None:
    assert drops_nothing(described, (3, 10)) is before_4_0
    assert drops_nothing(described, (4, 0)) is from_4_0_on


def test_a_queue_of_an_unknown_version_needs_a_limit_out_of_reach() -> None:
    assert drops_nothing(queue(1_000_000), None)
    assert not drops_nothing(queue(), None)
    assert not drops_nothing(queue(-1), None)


def test_the_messages_name_the_way_out() -> None:
    assert_approved("dlq.delivery_limit", limited("jobs.dlq", (4, 0)).message)
    assert_approved("dlq.delivery_limit_unknown", limit_unknown("jobs.dlq", None, NOT_SHOWN).message)
