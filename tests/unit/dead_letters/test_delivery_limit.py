"""A queue is read only if that cannot delete its messages."""

import pytest

from taskqueue_operator.dead_letters.delivery_limit import (
    Version,
    counts_every_return,
    is_unlimited,
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
        ((3, 10), False),
        ((3, 13), False),
        ((4, 0), True),
        ((4, 2), True),
        ((4, 3), False),
        ((5, 0), False),
        (None, True),
    ],
)
def test_listings_count_from_4_0_until_4_3(version: Version | None, counts: bool) -> None:  # noqa: FBT001  a case
    assert counts_every_return(version) is counts


@pytest.mark.parametrize(
    ("queue", "unlimited"),
    [
        ({"type": "classic", "arguments": {}}, True),
        ({"type": "quorum", "arguments": {}, "effective_policy_definition": []}, False),
        ({"type": "quorum", "arguments": {"x-delivery-limit": -1}, "effective_policy_definition": {}}, True),
        ({"type": "quorum", "arguments": {}, "effective_policy_definition": {"delivery-limit": -1}}, True),
        ({"type": "quorum", "arguments": {"x-delivery-limit": 100}}, False),
        (
            {
                "type": "quorum",
                "arguments": {"x-delivery-limit": -1},
                "effective_policy_definition": {"delivery-limit": 20},
            },
            False,
        ),
        ({"type": "quorum", "arguments": {"x-delivery-limit": "-1"}}, False),
        ({}, False),
    ],
)
def test_a_queue_without_a_delivery_limit_drops_nothing(queue: dict[str, object], unlimited: bool) -> None:  # noqa: FBT001  a case
    assert is_unlimited(queue) is unlimited


def test_the_messages_name_the_way_out() -> None:
    assert_approved("dlq.delivery_limit", limited("jobs.dlq", (4, 0)).message)
    assert_approved("dlq.delivery_limit_unknown", limit_unknown("jobs.dlq", None, "No answer.").message)
