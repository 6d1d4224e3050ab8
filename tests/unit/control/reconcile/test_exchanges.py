"""Exchanges that a spec names and others declare."""

import pytest

from taskqueue_operator.topology.diff import Declare, Remove
from taskqueue_operator.topology.objects import Binding, Exchange
from tests.unit.control.control_harness import ControlHarness

from .test_drift import QUEUE, change, repairs

pytestmark = pytest.mark.looptime

EVENTS = Exchange("events", "topic")
FROM_EVENTS = {"exchange": "events", "routingKey": "image.*"}
DOCUMENTS = {"type": "Headers"}
PDF = {"arguments": {"format": "pdf"}}


def bindings_from(harness: ControlHarness, source: str) -> list[Binding]:
    return [item for item in harness.broker.topology_.bindings if item.source == source]


async def test_nothing_is_declared_before_the_exchange_of_a_binding_exists(harness: ControlHarness) -> None:
    await harness.apply(bindings=[FROM_EVENTS])
    assert harness.cluster.condition("TopologyReady")["reason"] == "ExchangeNotFound"
    assert (harness.broker.queues, harness.broker.exchanges) == ({}, {})
    change(harness.broker, Declare(EVENTS))
    await harness.settle(120)
    assert harness.cluster.condition("TopologyReady")["status"] == "True"
    (binding,) = bindings_from(harness, "events")
    assert (binding.destination, binding.routing_key) == ("thumbnails.in", "image.*")
    assert not repairs(harness)


async def test_what_is_missing_elsewhere_stops_no_repair(harness: ControlHarness) -> None:
    change(harness.broker, Declare(EVENTS))
    await harness.apply(bindings=[FROM_EVENTS])
    whole = harness.broker.topology_
    change(harness.broker, *map(Remove, bindings_from(harness, "events")), Remove(EVENTS), Remove(QUEUE))
    await harness.settle(10)
    assert harness.broker.topology_.queues == whole.queues
    assert ['queue "thumbnails" was missing' in message for message in repairs(harness)] == [True]
    assert harness.cluster.condition("TopologyReady")["reason"] == "ExchangeNotFound"
    change(harness.broker, Declare(EVENTS))
    await harness.settle(120)
    assert harness.broker.topology_ == whole
    assert harness.cluster.condition("TopologyReady")["status"] == "True"


async def test_the_binding_from_an_exchange_of_others_goes_with_its_line_in_the_spec(harness: ControlHarness) -> None:
    change(harness.broker, Declare(EVENTS))
    await harness.apply(bindings=[FROM_EVENTS])
    await harness.apply()
    await harness.settle(30)
    assert not bindings_from(harness, "events")
    assert bindings_from(harness, "thumbnails")
    assert harness.broker.topology_.exchanges["events"] == EVENTS


async def test_a_binding_whose_arguments_were_changed_is_repaired(harness: ControlHarness) -> None:
    await harness.apply(exchange=DOCUMENTS, bindings=[PDF])
    whole = harness.broker.topology_.bindings
    (binding,) = bindings_from(harness, "thumbnails")
    theirs = Binding("thumbnails", "thumbnails.in", to_queue=False, arguments=(("format", "png"),))
    change(harness.broker, Remove(binding), Declare(theirs))
    await harness.settle(10)
    assert harness.broker.topology_.bindings == whole
    (message,) = repairs(harness)
    assert "with arguments {format: pdf} was missing" in message
    assert "with arguments {format: png} was not declared" in message
