"""What the refusal of a management API means."""

import orjson

from taskqueue_operator.rabbitmq.answer import Answer
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.resource.faults import Reason
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved

DATA = {"uri": b"amqp://app-team:hunter2@BROKER:5672/team", "management-uri": b"http://MANAGEMENT:15672"}
ENDPOINT = parse_secret(Key("team", "rabbitmq"), DATA, None)


def test_a_missing_plugin_is_named_with_the_command_that_enables_it() -> None:
    """An integration test shows the text of RabbitMQ for an unknown type; the brokers of the tests have the plugin."""
    refusal = {"error": "bad_request", "reason": "unknown exchange type 'x-consistent-hash'"}
    fault = Answer(400, "Bad Request", bytearray(orjson.dumps(refusal))).fault(ENDPOINT, 'configure exchange "jobs"')

    assert fault.reason is Reason.TOPOLOGY_REFUSED
    assert not fault.terminal, "the operator tries again: the plugin may be enabled meanwhile"
    assert_approved("topology.plugin_missing", fault.message)
