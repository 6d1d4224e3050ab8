"""Exchanges that a spec names and does not describe: the alternate exchange, and those of bindings."""

from collections import UserDict
from collections.abc import Iterator

import pytest
from typing_extensions import override

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.objects import Exchange, Topology
from taskqueue_operator.topology.other_exchanges import check_existence, check_other_exchanges, without_missing
from tests.approved import assert_approved
from tests.unit.topology.builders import OTHER_OWNER, OWNER, desired_topology, taskqueue
from tests.unit.topology.in_memory_vhost import vhost_with

VHOST = vhost_with(
    Exchange("events", "topic"),
    Exchange("documents", "headers"),
    Exchange("shares", "x-consistent-hash"),
    Exchange("random", "x-random"),
    Exchange("other.in", "fanout", arguments={"x-taskqueue-owner": OTHER_OWNER}),
    Exchange("jobs.in", "fanout", arguments={"x-taskqueue-owner": OWNER}),
)
PDF = {"format": "pdf"}


def check(*bindings: dict[str, object], **exchange: object) -> None:
    spec: dict[str, object] = {"bindings": list(bindings)} if bindings else {}
    check_other_exchanges(taskqueue(**spec, exchange=exchange), VHOST, owner=OWNER)
    check_existence(taskqueue(**spec, exchange=exchange), VHOST)


@pytest.mark.parametrize(
    "binding",
    [
        {"exchange": "events", "routingKey": "image.*"},
        {"exchange": "documents", "arguments": PDF},
        {"routingKey": "image"},
    ],
)
def test_an_existing_exchange_that_fits_the_binding_is_accepted(binding: dict[str, object]) -> None:
    check(binding, alternateExchange="documents")


@pytest.mark.parametrize(
    ("bindings", "exchange", "reason", "key"),
    [
        ([], {"alternateExchange": "lost"}, Reason.EXCHANGE_NOT_FOUND, "topology.alternate_exchange_not_found"),
        (
            [{"exchange": "events"}, {"exchange": "lost"}],
            {},
            Reason.EXCHANGE_NOT_FOUND,
            "topology.exchange_of_a_binding_not_found",
        ),
        ([], {"alternateExchange": "jobs"}, Reason.INVALID_SPEC, "topology.alternate_exchange_is_its_own"),
        ([{"exchange": "jobs"}], {}, Reason.INVALID_SPEC, "topology.exchange_of_a_binding_is_its_own"),
        ([{"exchange": "other.in"}], {}, Reason.NAME_CONFLICT, "topology.exchange_of_a_binding_is_private"),
        ([{"exchange": "jobs.in"}], {}, Reason.NAME_CONFLICT, "topology.exchange_of_a_binding_is_derived"),
        ([{"exchange": "shares"}], {}, Reason.TOPOLOGY_REFUSED, "topology.exchange_of_a_binding_has_shares"),
        ([{"exchange": "random"}], {}, Reason.TOPOLOGY_REFUSED, "topology.exchange_of_a_binding_is_unknown"),
        ([{"exchange": "documents"}], {}, Reason.TOPOLOGY_REFUSED, "topology.exchange_of_a_binding_needs_arguments"),
        (
            [{"exchange": "events", "arguments": PDF}],
            {},
            Reason.TOPOLOGY_REFUSED,
            "topology.exchange_of_a_binding_ignores_arguments",
        ),
    ],
)
def test_any_other_is_refused(
    bindings: list[dict[str, object]], exchange: dict[str, object], reason: Reason, key: str
) -> None:
    with pytest.raises(TopologyFault) as fault:
        check(*bindings, **exchange)

    assert fault.value.reason is reason
    assert fault.value.terminal is (reason is not Reason.EXCHANGE_NOT_FOUND)
    assert_approved(key, fault.value.message)


def test_only_the_bindings_from_missing_exchanges_are_left_out_and_the_exchanges_of_a_vhost_are_not_walked() -> None:
    class Exchanges(UserDict[str, Exchange]):
        """Exchanges that can only be looked up: each TaskQueue that walks them holds up all others."""

        @override
        def __iter__(self) -> Iterator[str]:
            raise AssertionError

    desired = desired_topology(bindings=[{"exchange": "events"}, {"exchange": "lost"}])
    kept = without_missing(desired, Topology(exchanges=Exchanges(VHOST.exchanges)))
    assert {binding.source for binding in desired.bindings - kept.bindings} == {"lost"}
    assert {binding.source for binding in kept.bindings} == {"jobs", "jobs.in", "events"}
