"""Messages of all faults of the broker, and the description of a network error."""

from itertools import pairwise

import orjson
import pytest

from taskqueue_operator.rabbitmq import faults
from taskqueue_operator.rabbitmq.answer import Answer
from taskqueue_operator.rabbitmq.secret import parse_secret
from taskqueue_operator.resource.faults import BrokerFault, Reason
from taskqueue_operator.resource.names import Key
from tests.approved import assert_approved

DATA = {"uri": b"amqp://app-team:hunter2@BROKER:5672/team", "management-uri": b"http://MANAGEMENT:15672"}
ENDPOINT = parse_secret(Key("team", "rabbitmq"), DATA, None)
NOWHERE = parse_secret(Key("team", "rabbitmq"), DATA, "nowhere")


@pytest.mark.parametrize(
    ("fault", "reason", "key"),
    [
        (faults.wrong_password(ENDPOINT), Reason.AUTHENTICATION_FAILED, "broker.wrong_password"),
        (faults.wrong_management_password(ENDPOINT), Reason.AUTHENTICATION_FAILED, "broker.wrong_management_password"),
        (faults.no_vhost(NOWHERE), Reason.VHOST_NOT_FOUND, "broker.no_vhost"),
        (faults.vhost_refused(ENDPOINT, "TEXT OF RABBITMQ"), Reason.VHOST_NOT_FOUND, "broker.vhost_refused"),
        (faults.vhost_forbidden(ENDPOINT, "app-team"), Reason.PERMISSION_DENIED, "broker.vhost_forbidden"),
        (faults.no_queue(ENDPOINT, "jobs.dlq"), Reason.QUEUE_NOT_FOUND, "broker.no_queue"),
        (
            faults.forbidden(ENDPOINT, "app-team", 'configure exchange "jobs"'),
            Reason.PERMISSION_DENIED,
            "broker.operation_forbidden",
        ),
        (
            faults.refused(ENDPOINT, 'read the depth of queue "jobs"', "TEXT OF RABBITMQ"),
            Reason.TOPOLOGY_REFUSED,
            "broker.operation_refused",
        ),
        (
            faults.no_tag(ENDPOINT, "management", "use the management API"),
            Reason.PERMISSION_DENIED,
            "broker.management_tag_missing",
        ),
    ],
)
def test_a_fault_that_only_a_user_can_fix_is_terminal_and_names_the_way_out(
    fault: BrokerFault, reason: Reason, key: str
) -> None:
    assert (fault.reason, fault.terminal) == (reason, True)
    assert_approved(key, with_placeholders(fault.message))


@pytest.mark.parametrize(
    ("fault", "reason", "key"),
    [
        (faults.unreachable(ENDPOINT, "WHY"), Reason.BROKER_UNREACHABLE, "broker.unreachable"),
        (
            faults.management_unreachable(ENDPOINT, "WHY"),
            Reason.MANAGEMENT_UNREACHABLE,
            "broker.management_unreachable",
        ),
        (faults.not_written(ENDPOINT), Reason.MANAGEMENT_UNREACHABLE, "broker.not_written"),
        (
            faults.consumer_cancelled(ENDPOINT, "jobs.dlq"),
            Reason.QUEUE_NOT_FOUND,
            "broker.consumer_cancelled",
        ),
        (faults.not_delivered(ENDPOINT, "jobs.dlq", 7), Reason.BROKER_UNREACHABLE, "broker.not_delivered"),
        (faults.not_confirmed(ENDPOINT, 30), Reason.BROKER_UNREACHABLE, "broker.not_confirmed"),
    ],
)
def test_an_unreachable_broker_is_not_terminal(fault: BrokerFault, reason: Reason, key: str) -> None:
    assert (fault.reason, fault.terminal) == (reason, False)
    assert_approved(key, with_placeholders(fault.message))


@pytest.mark.parametrize(
    "reason",
    [
        "failed to declare exchange 'late' in vhost '/' because the operation timed out",
        "Could not declare queue 'late' in vhost '/' on node 'rabbit@a' because the metadata store operation timed out",
        "Could not add binding due to timeout",
    ],
)
def test_what_no_majority_stores_is_not_refused(reason: str) -> None:
    body = bytearray(orjson.dumps({"error": "bad_request", "reason": reason}))
    fault = Answer(400, "Bad Request", body).fault(ENDPOINT, 'configure exchange "late"')
    assert isinstance(fault, BrokerFault)
    assert fault.message == faults.not_written(ENDPOINT).message


def with_placeholders(message: str) -> str:
    """Replace addresses as tests with a real broker do."""
    assert "hunter2" not in message
    for endpoint in (ENDPOINT, NOWHERE):
        message = message.replace(endpoint.address, "BROKER").replace(endpoint.management, "MANAGEMENT")
    return message


def chained(*errors: BaseException) -> BaseException:
    for outer, inner in pairwise(errors):
        outer.__context__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (chained(RuntimeError("amqp://user:secret@host"), ConnectionRefusedError()), "broker.cause_refused"),
        (chained(RuntimeError(), ValueError(), TimeoutError()), "broker.cause_timeout"),
        (RuntimeError("amqp://user:secret@host"), "broker.cause_unknown"),
    ],
)
def test_the_innermost_cause_describes_a_network_error(error: BaseException, key: str) -> None:
    assert_approved(key, faults.cause(error))


def test_a_circular_chain_of_errors_ends() -> None:
    first, second = RuntimeError(), ConnectionResetError()
    first.__context__ = second
    second.__cause__ = first
    assert_approved("broker.cause_closed", faults.cause(first))
