import asyncio
import re
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.faults import BrokerFault, LeadershipLost, Reason, TopologyFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, approve, declare
from tests.integration.rabbitmq.management_proxy import proxied
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import all_objects

TOPIC = desired_topology(
    exchange={"name": "tasks", "type": "Topic"},
    queue={"name": "a queue/with 100% odd?characters", "type": "Classic", "maxPriority": 5},
    bindings=[{"routingKey": "image.*"}, {"routingKey": "#"}, {"routingKey": "~/ %*"}, {"routingKey": ""}],
)


@every_version
@pytest.mark.parametrize("desired", [desired_topology(), TOPIC, desired_topology(exchange={"type": "Fanout"})])
async def test_the_steps_create_the_topology_and_leave_no_difference(connect: Connect, desired: Topology) -> None:
    rabbitmq = connect()

    assert await declare(rabbitmq, desired) != ()

    actual = await rabbitmq.topology()
    assert diff(desired, actual, owner=OWNER) == ()
    assert desired.exchanges.items() <= actual.exchanges.items()
    assert actual.queues == desired.queues
    assert actual.bindings == desired.bindings


async def test_every_step_may_be_repeated(connect: Connect) -> None:
    rabbitmq = connect()
    declare = [Declare(item) for topology in (TOPIC, fence_topology("jobs", OWNER)) for item in all_objects(topology)]
    remove = [Remove(step.item) for step in reversed(declare)]

    for steps in (declare, declare, remove, remove):
        await rabbitmq.apply(steps)

    actual = await rabbitmq.topology()
    assert (actual.queues, actual.bindings, actual.policies) == ({}, frozenset(), {})
    assert all(not name or name.startswith("amq.") for name in actual.exchanges)


async def test_a_process_that_lost_leadership_reads_and_applies_no_step(
    connect: Connect, broker: Broker, vhost: str
) -> None:
    def refuse() -> None:
        raise LeadershipLost("not the leader")

    mine = connect()
    await declare(mine, desired_topology())
    before = await mine.topology()
    factory = VhostFactory(lambda: datetime.now(UTC), refuse)
    data = {"uri": f"{broker.url}{quote(vhost, safe='')}".encode(), "management-uri": broker.management_url.encode()}
    former_leader = factory.connect(factory.endpoint(Key("media", "rabbitmq"), data, None))
    steps: list[Step] = [Declare(item) for item in all_objects(TOPIC)]
    for step in [*steps, *(Remove(item) for item in all_objects(desired_topology()))]:
        with pytest.raises(LeadershipLost):
            await former_leader.apply([step])
    assert await former_leader.topology() == before
    await former_leader.close()


async def test_drift_is_repaired(connect: Connect) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())
    await rabbitmq.apply([Remove(desired_topology().exchanges["jobs.in"]), Remove(desired_topology().queues["jobs"])])

    await declare(rabbitmq, desired_topology())

    assert diff(desired_topology(), await rabbitmq.topology(), owner=OWNER) == ()


async def test_the_digest_of_a_vhost_shows_whether_it_has_changed(connect: Connect) -> None:
    rabbitmq, other = connect(), connect()
    await declare(rabbitmq, TOPIC)
    before = await rabbitmq.topology()
    while (again := await other.topology()).digest != before.digest:  # new queues change for a moment
        before = again
    binding = Binding("tasks", "a queue/with 100% odd?characters.in", to_queue=False, routing_key="#")

    await rabbitmq.apply([Remove(binding)])
    removed = await rabbitmq.topology()
    await rabbitmq.apply([Declare(binding)])
    restored = await rabbitmq.topology()

    assert removed.digest != before.digest == restored.digest
    assert removed.bindings == before.bindings - {binding}
    assert restored == before


async def test_an_unchanged_vhost_costs_an_administrator_one_request(connect: Connect, broker: Broker) -> None:
    async with proxied(broker.management_url) as proxy:
        rabbitmq = connect(management_uri=f"{proxy.url}/fine")
        await declare(rabbitmq, desired_topology())
        whole = await rabbitmq.topology()
        async with asyncio.timeout(120):
            proxy.requests = 0
            while await rabbitmq.topology() == whole and proxy.requests != 1:  # other tests write metadata, too
                proxy.requests = 0
        assert proxy.requests == 1

        await connect().apply([Remove(desired_topology().queues["jobs"])])

        assert "jobs" not in (await rabbitmq.topology()).queues


async def test_an_obsolete_binding_is_removed_and_the_others_stay(connect: Connect) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, TOPIC)
    fewer = desired_topology(
        exchange={"name": "tasks", "type": "Topic"},
        queue={"name": "a queue/with 100% odd?characters", "type": "Classic", "maxPriority": 5},
        bindings=[{"routingKey": "#"}],
    )

    await declare(rabbitmq, fewer)

    assert (await rabbitmq.topology()).bindings == fewer.bindings


async def test_a_queue_that_a_user_made_is_not_changed(connect: Connect, amqp: AbstractConnection) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": "classic", "x-max-length": 7})
    await channel.basic_publish(b"theirs", routing_key="jobs")
    rabbitmq = connect()
    before = await rabbitmq.topology()

    with pytest.raises(TopologyFault) as fault:
        await declare(rabbitmq, desired_topology())

    assert fault.value.reason is Reason.IMMUTABLE_DRIFT
    assert "x-max-length is 7, not absent" in fault.value.message
    assert 'x-queue-type is "classic", not "quorum"' in fault.value.message
    assert await rabbitmq.topology() == before
    assert (await channel.queue_declare("jobs", passive=True)).message_count == 1


async def test_the_owner_is_read_back_because_the_broker_does_not_compare_it(connect: Connect) -> None:
    rabbitmq = connect()
    queue = desired_topology().queues["jobs"]
    stolen = Queue("jobs", arguments={**queue.arguments, "x-taskqueue-owner": "default/media/other"})

    await rabbitmq.apply([Declare(queue), Declare(stolen)])

    assert (await rabbitmq.topology()).queues["jobs"] == queue
    with pytest.raises(TopologyFault) as fault:
        diff(desired_topology(), await rabbitmq.topology(), owner="default/media/other")
    assert fault.value.reason is Reason.NAME_CONFLICT
    approve("topology.name_conflict", fault.value.message, {'Queue "jobs"': 'KIND "NAME"', "media/jobs": "media/other"})


async def test_a_conflict_that_arises_after_the_read_is_refused_by_the_broker(connect: Connect) -> None:
    rabbitmq = connect()
    await rabbitmq.apply([Declare(desired_topology().queues["jobs"])])

    with pytest.raises(TopologyFault) as fault:
        await rabbitmq.apply([Declare(desired_topology(queue={"type": "Classic"}).queues["jobs"])])

    assert fault.value.reason is Reason.IMMUTABLE_DRIFT
    assert 'queue "jobs": inequivalent arg' in fault.value.message


async def test_a_refused_exchange_is_reported_in_the_text_of_rabbitmq(connect: Connect) -> None:
    with pytest.raises(TopologyFault) as fault:
        await connect().apply([Declare(Exchange("jobs", "nonsense"))])

    assert fault.value.reason is Reason.TOPOLOGY_REFUSED
    approve("topology.refused", fault.value.message, {"unknown exchange type 'nonsense'": "TEXT OF RABBITMQ"})


async def test_a_binding_to_a_missing_exchange_is_reported_in_the_text_of_rabbitmq(connect: Connect) -> None:
    with pytest.raises(TopologyFault, match="no exchange 'b'") as fault:
        await connect().apply([Declare(Binding("amq.direct", "b", to_queue=False, routing_key="x"))])

    assert fault.value.reason is Reason.TOPOLOGY_REFUSED


@pytest.mark.parametrize(
    ("rights", "operation"),
    [
        ({"configure": "^$"}, 'configure exchange "jobs"'),
        ({"write": "^amq.default$"}, 'bind exchange "jobs.in" (read) to queue "jobs" (write)'),
        ({"read": "^jobs$"}, 'bind exchange "jobs.in" (read) to queue "jobs" (write)'),
    ],
)
async def test_a_missing_permission_is_reported_with_the_command_that_grants_it(
    connect: Connect, user: MakeUser, vhost: str, rights: dict[str, str], operation: str
) -> None:
    name = user("management", **rights)

    with pytest.raises(BrokerFault) as fault:
        await declare(connect(username=name, password=PASSWORD), desired_topology())

    assert fault.value.reason is Reason.PERMISSION_DENIED
    placeholders = {
        operation: 'configure exchange "jobs"',
        f"'{vhost}'": "team",
        vhost: "team",
        name: "app-team",
    }
    approve("broker.operation_forbidden", re.sub(r"127\.0\.0\.1:\d+", "BROKER", fault.value.message), placeholders)
