from dataclasses import replace

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.diff import difference
from taskqueue_operator.topology.objects import Argument, Exchange, Queue, Topology
from tests.unit.topology.samples import OURS, THEIRS, marked, taskqueue, vhost, wanted, with_argument

CELERY: dict[str, object] = {"queue": {"name": "celery"}}


def fault(there: Topology, **spec: object) -> TopologyFault:
    with pytest.raises(TopologyFault) as raised:
        difference(wanted(**spec), there, owner=OURS)
    assert raised.value.terminal
    return raised.value


def plain(name: str, queue_type: str = "quorum", **arguments: Argument | None) -> Queue:
    """A queue that somebody made without a TaskQueue, but with the dead letters of one."""
    dead_letter_queue = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{name}.dlq"}
    return with_argument(Queue(name, arguments={"x-queue-type": queue_type, **dead_letter_queue}), **arguments)


QUEUE_WAYS_OUT = (
    "Delete it when it is empty, choose another spec.queue.name, or set queue.external: true to leave it as it is."
)


@pytest.mark.parametrize(
    ("there", "spec", "message"),
    [
        (
            Queue("celery", arguments={"x-queue-type": "classic"}),
            CELERY,
            (
                'Queue "celery" exists as classic, spec.queue.type says Quorum. '
                "Set type: Classic, or external: true to leave it as it is."
            ),
        ),
        (
            Queue("celery"),
            CELERY,
            (
                'Queue "celery" exists as classic, spec.queue.type says Quorum. '
                "Set type: Classic, or external: true to leave it as it is."
            ),
        ),
        (
            plain("celery"),
            {"queue": {"name": "celery", "type": "Classic"}},
            (
                'Queue "celery" exists as quorum, spec.queue.type says Classic. '
                "Set type: Quorum, or external: true to leave it as it is."
            ),
        ),
        (
            plain("celery", "stream"),
            CELERY,
            (
                'Queue "celery" exists as stream, spec.queue.type says Quorum. '
                "Choose another spec.queue.name, or set external: true to leave it as it is."
            ),
        ),
        (
            plain("jobs", "classic", x_max_priority=5),
            {"queue": {"type": "Classic"}},
            (
                'Queue "jobs" exists with maxPriority 5, spec.queue.maxPriority is not set. '
                "Set maxPriority: 5, or external: true to leave it as it is."
            ),
        ),
        (
            plain("jobs", "classic"),
            {"queue": {"type": "Classic", "maxPriority": 9}},
            (
                'Queue "jobs" exists without maxPriority, spec.queue.maxPriority says 9. '
                "Remove maxPriority, or external: true to leave it as it is."
            ),
        ),
        (
            replace(plain("jobs", "classic"), durable=False),
            {"queue": {"type": "Classic"}},
            (
                'Queue "jobs" exists as transient (durable: false), a TaskQueue\'s queue must outlive a restart of the '
                f"broker. {QUEUE_WAYS_OUT}"
            ),
        ),
        (
            replace(plain("jobs", "classic"), auto_delete=True),
            {"queue": {"type": "Classic"}},
            (
                'Queue "jobs" exists with auto-delete, a TaskQueue\'s queue must outlive its last consumer or binding. '
                f"{QUEUE_WAYS_OUT}"
            ),
        ),
        (
            Queue("jobs", arguments={"x-queue-type": "quorum"}),
            {},
            (
                'Queue "jobs" exists without x-dead-letter-exchange, a TaskQueue\'s queue is made with '
                f'x-dead-letter-exchange "". {QUEUE_WAYS_OUT}'
            ),
        ),
        (
            plain("jobs", x_message_ttl=60000),
            {},
            (
                'Queue "jobs" exists with x-message-ttl 60000, a TaskQueue\'s queue is made without x-message-ttl. '
                f"{QUEUE_WAYS_OUT}"
            ),
        ),
        (
            Queue("jobs.dlq"),
            {},
            (
                'Queue "jobs.dlq" exists as classic, and it has to be quorum. '
                "Delete it when nothing needs it any more, or choose another spec.queue.name."
            ),
        ),
        (
            Exchange("jobs", "fanout"),
            {},
            (
                'Exchange "jobs" exists as fanout, spec.exchange.type says Direct. '
                "Set type: Fanout, or choose another spec.exchange.name."
            ),
        ),
        (
            Exchange("jobs", "headers"),
            {},
            'Exchange "jobs" exists as headers, spec.exchange.type says Direct. Choose another spec.exchange.name.',
        ),
        (
            Exchange("jobs", "direct", durable=False),
            {},
            (
                'Exchange "jobs" exists as transient (durable: false), a TaskQueue\'s exchange must outlive a restart '
                "of the broker. Delete it when nothing needs it any more, or choose another spec.exchange.name."
            ),
        ),
        (
            Exchange("jobs.in", "fanout", arguments={"alternate-exchange": "elsewhere"}),
            {},
            (
                'Exchange "jobs.in" exists with alternate-exchange "elsewhere", it is made without alternate-exchange. '
                "Delete it when nothing needs it any more, or choose another spec.queue.name."
            ),
        ),
    ],
)
def test_what_differs_is_named_with_both_values_and_the_way_out(
    there: Exchange | Queue, spec: dict[str, object], message: str
) -> None:
    trouble = fault(vhost(there), **spec)

    assert trouble.reason is Reason.IMMUTABLE_DRIFT
    assert trouble.message == message


def test_a_queue_of_ours_cannot_change_its_type_either() -> None:
    trouble = fault(vhost(*wanted().queues.values()), queue={"type": "Classic"})

    assert trouble.message.startswith('Queue "jobs" exists as quorum, spec.queue.type says Classic. Set type: Quorum,')


@pytest.mark.parametrize("kind", ["Queue", "Exchange"])
def test_the_queue_or_inlet_of_another_taskqueue_is_taken(kind: str) -> None:
    item = wanted().queues["jobs"] if kind == "Queue" else wanted().exchanges["jobs.in"]

    trouble = fault(vhost(marked(item, THEIRS)))

    assert trouble.reason is Reason.NAME_CONFLICT
    assert trouble.message == (
        f'{kind} "{item.name}" belongs to TaskQueue media/other (installation default). Choose another spec.queue.name.'
    )


def test_the_queue_of_a_namesake_in_another_installation_is_taken() -> None:
    trouble = fault(vhost(marked(wanted().queues["jobs"], "staging/media/jobs")))

    assert trouble.message.startswith('Queue "jobs" belongs to TaskQueue media/jobs (installation staging).')


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"exchange": {"name": "amq.tasks"}},
            (
                'Exchange "amq.tasks" does not exist, and RabbitMQ keeps names that begin with amq. to itself. '
                "Choose another spec.exchange.name."
            ),
        ),
        (
            {"queue": {"name": "amq.tasks"}},
            (
                'Queue "amq.tasks" does not exist, and RabbitMQ keeps names that begin with amq. to itself. '
                "Choose another spec.queue.name."
            ),
        ),
    ],
)
def test_reserved_names_are_not_tried(spec: dict[str, object], message: str) -> None:
    trouble = fault(vhost(), **spec)

    assert trouble.reason is Reason.TOPOLOGY_REFUSED
    assert trouble.message == message


def test_an_exchange_of_the_broker_is_used() -> None:
    steps = difference(
        wanted(exchange={"name": "amq.topic", "type": "Topic"}), vhost(Exchange("amq.topic", "topic")), owner=OURS
    )

    assert not any(isinstance(step.what, Exchange) and step.what.name == "amq.topic" for step in steps)


@pytest.mark.parametrize("mark", [THEIRS, None])
def test_taskqueues_may_share_the_exchange_of_publishers(mark: str | None) -> None:
    shared = Exchange("tasks", "topic", arguments={"alternate-exchange": "lost"})
    asked = wanted(exchange={"name": "tasks", "type": "Topic"})

    steps = difference(asked, vhost(marked(shared, mark)), owner=OURS)

    assert not any(isinstance(step.what, Exchange) and step.what.name == "tasks" for step in steps)


def test_every_conflict_is_found_before_the_first_step() -> None:
    """The exchange is fine and missing; the fault of the last object must come before it is made."""
    assert fault(vhost(marked(wanted().exchanges["jobs.in"], THEIRS))).reason is Reason.NAME_CONFLICT


def test_the_key_of_the_sample_is_the_mark() -> None:
    assert f"default/{taskqueue().key}" == OURS
