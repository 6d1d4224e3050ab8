import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.external import check_external
from taskqueue_operator.topology.objects import Argument, Binding, Exchange, Queue, Topology
from tests.approved import assert_approved
from tests.unit.topology.builders import OTHER_OWNER, taskqueue
from tests.unit.topology.in_memory_vhost import vhost_with

DEAD_LETTERS = Queue("celery.dlq")


def check(
    actual: Topology,
    *,
    queues: list[str] | None = None,
    protocol: str = "TaskQueue",
    declaring: str = "default/media/third",
    **spec: object,
) -> None:
    worker = {"image": "example.org/jobs:1", "protocol": protocol}
    named = {"queue": {"name": "celery", "external": True}} if queues is None else {"externalQueues": queues}
    external = taskqueue(worker=worker, **named, **spec)
    check_external(external, actual, lambda name, owner: (name, owner) == ("celery", declaring))


def fault(
    actual: Topology, *, declaring: str = "default/media/third", queues: list[str] | None = None
) -> TopologyFault:
    with pytest.raises(TopologyFault) as raised:
        check(actual, declaring=declaring, queues=queues)
    return raised.value


def external(**arguments: Argument) -> Queue:
    return Queue("celery", arguments={name.replace("_", "-"): value for name, value in arguments.items()})


def test_a_missing_queue_is_reported_with_the_way_to_let_the_workers_declare_it() -> None:
    missing = fault(vhost_with())

    assert (missing.reason, missing.terminal) == (Reason.QUEUE_NOT_FOUND, False)
    assert_approved("topology.external_queue_missing", missing.message)


def test_the_length_of_a_stream_is_no_backlog() -> None:
    stream = fault(vhost_with(external(x_queue_type="stream")))

    assert stream.reason is Reason.TOPOLOGY_REFUSED
    assert_approved("topology.external_queue_is_a_stream", stream.message)


def test_two_taskqueues_do_not_start_workers_for_the_same_messages() -> None:
    queue = external(x_taskqueue_owner=OTHER_OWNER)
    owned = fault(vhost_with(queue, DEAD_LETTERS), declaring=OTHER_OWNER)

    assert owned.reason is Reason.NAME_CONFLICT
    assert_approved("topology.external_queue_of_a_taskqueue", owned.message)
    check(vhost_with(queue, DEAD_LETTERS))


def test_each_of_several_queues_is_checked_and_named() -> None:
    mails, stream = Queue("mails"), Queue("mails", arguments={"x-queue-type": "stream"})
    two = ["celery", "mails"]
    missing = fault(vhost_with(external()), queues=["celery", "mails", "videos"])
    refused = fault(vhost_with(external(), stream, DEAD_LETTERS), queues=two)
    owned = fault(vhost_with(mails, external(x_taskqueue_owner=OTHER_OWNER)), declaring=OTHER_OWNER, queues=two)
    without = fault(vhost_with(external(), mails, DEAD_LETTERS), queues=two)

    assert (missing.reason, missing.terminal) == (Reason.QUEUE_NOT_FOUND, False)
    assert_approved("topology.external_queues_missing", missing.message)
    assert refused.reason is Reason.TOPOLOGY_REFUSED
    assert refused.message.startswith('Queue "mails" is a stream')
    assert owned.reason is Reason.NAME_CONFLICT
    assert "correct spec.externalQueues" in owned.message
    assert without.reason is Reason.DEAD_LETTER_QUEUE_MISSING
    assert 'external queue "mails"' in without.message
    assert 'Declare queue "mails.dlq"' in without.message
    check(vhost_with(external(), mails, DEAD_LETTERS, Queue("mails.dlq")), queues=two)
    check(vhost_with(external(), mails, Queue("failed")), deadLetter={"routingKey": "failed"}, queues=two)


def test_workers_need_a_place_for_tasks_that_they_cannot_do() -> None:
    missing = fault(vhost_with(external(x_dead_letter_exchange="dlx")))

    assert missing.reason is Reason.DEAD_LETTER_QUEUE_MISSING
    assert_approved("topology.external_queue_without_dead_letter_queue", missing.message)
    check(vhost_with(external(), DEAD_LETTERS))


def test_the_place_for_dead_letters_that_the_spec_names_must_keep_them() -> None:
    target = {"exchange": "dlx", "routingKey": "failed"}
    exchange, binding = Exchange("dlx", "direct"), Binding("dlx", "celery.dlq", to_queue=True, routing_key="failed")

    with pytest.raises(TopologyFault) as raised:
        check(vhost_with(external(), DEAD_LETTERS, exchange), deadLetter=target)

    assert raised.value.reason is Reason.DEAD_LETTER_QUEUE_MISSING
    assert_approved("topology.dead_letter_exchange_leads_to_no_queue", raised.value.message)
    check(vhost_with(external(), DEAD_LETTERS, exchange, binding), deadLetter=target)


def test_where_plain_workers_put_failed_tasks_is_their_own_affair() -> None:
    check(vhost_with(external()), protocol="Plain")
