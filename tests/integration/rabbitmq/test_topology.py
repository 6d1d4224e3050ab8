import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractConnection

from taskqueue_operator.rabbitmq.vhost import Vhost, VhostFactory
from taskqueue_operator.resource.faults import BrokerFault, LeadershipLost, Reason, TopologyFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.consumer_timeout import consumer_timeout
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.cluster.broker import Broker
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, probed
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import all_objects

TOPIC = desired_topology(
    exchange={"name": "tasks", "type": "Topic"},
    queue={"name": "a queue/with 100% odd?characters", "type": "Classic", "maxPriority": 5},
    bindings=[{"routingKey": "image.*"}, {"routingKey": "#"}, {"routingKey": "~/ %*"}, {"routingKey": ""}],
)


async def settle(rabbitmq: Vhost, asked: Topology) -> tuple[Step, ...]:
    steps = diff(asked, await rabbitmq.topology(), owner=OWNER)
    await rabbitmq.apply(steps)
    return steps


@pytest.mark.parametrize("asked", [desired_topology(), TOPIC, desired_topology(exchange={"type": "Fanout"})])
async def test_the_steps_make_the_topology_and_then_there_is_no_difference(connect: Connect, asked: Topology) -> None:
    rabbitmq = connect()

    assert await settle(rabbitmq, asked) != ()

    there = await rabbitmq.topology()
    assert diff(asked, there, owner=OWNER) == ()
    assert asked.exchanges.items() <= there.exchanges.items()
    assert there.queues == asked.queues
    assert there.bindings == asked.bindings


async def test_every_step_may_be_taken_twice(connect: Connect) -> None:
    rabbitmq = connect()
    declare = [Declare(item) for topology in (TOPIC, fence_topology("jobs", OWNER)) for item in all_objects(topology)]
    remove = [Remove(step.item) for step in reversed(declare)]

    for steps in (declare, declare, remove, remove):
        await rabbitmq.apply(steps)

    there = await rabbitmq.topology()
    assert (there.queues, there.bindings, there.policies) == ({}, frozenset(), {})
    assert all(not name or name.startswith("amq.") for name in there.exchanges)


async def test_who_may_not_act_any_more_still_reads_and_takes_no_step(
    connect: Connect, broker: Broker, vhost: str
) -> None:
    def refuse() -> None:
        raise LeadershipLost("not any more")

    mine = connect()
    await settle(mine, desired_topology())
    before = await mine.topology()
    brokers = VhostFactory(lambda: datetime.now(UTC), refuse)
    data = {"uri": f"{broker.url}{quote(vhost, safe='')}".encode(), "management-uri": broker.management_url.encode()}
    deposed = brokers.connect(brokers.endpoint(Key("media", "rabbitmq"), data, None))
    steps: list[Step] = [Declare(item) for item in all_objects(TOPIC)]
    for step in [*steps, *(Remove(item) for item in all_objects(desired_topology()))]:
        with pytest.raises(LeadershipLost):
            await deposed.apply([step])
    assert await deposed.topology() == before
    await deposed.close()


async def test_drift_is_repaired(connect: Connect) -> None:
    rabbitmq = connect()
    await settle(rabbitmq, desired_topology())
    await rabbitmq.apply([Remove(desired_topology().exchanges["jobs.in"]), Remove(desired_topology().queues["jobs"])])

    await settle(rabbitmq, desired_topology())

    assert diff(desired_topology(), await rabbitmq.topology(), owner=OWNER) == ()


async def test_a_binding_that_is_wanted_no_more_goes_and_its_neighbours_stay(connect: Connect) -> None:
    rabbitmq = connect()
    await settle(rabbitmq, TOPIC)
    fewer = desired_topology(
        exchange={"name": "tasks", "type": "Topic"},
        queue={"name": "a queue/with 100% odd?characters", "type": "Classic", "maxPriority": 5},
        bindings=[{"routingKey": "#"}],
    )

    await settle(rabbitmq, fewer)

    assert (await rabbitmq.topology()).bindings == fewer.bindings


async def test_a_queue_that_somebody_else_made_is_untouched(connect: Connect, amqp: AbstractConnection) -> None:
    channel = await amqp.channel()
    await channel.queue_declare("jobs", durable=True, arguments={"x-queue-type": "classic", "x-max-length": 7})
    await channel.basic_publish(b"theirs", routing_key="jobs")
    rabbitmq = connect()
    before = await rabbitmq.topology()

    with pytest.raises(TopologyFault, match=r'"jobs" .* classic.*spec\.queue\.type') as fault:
        await settle(rabbitmq, desired_topology())

    assert fault.value.reason is Reason.IMMUTABLE_DRIFT
    assert await rabbitmq.topology() == before
    assert (await channel.queue_declare("jobs", passive=True)).message_count == 1


async def test_the_owner_is_read_back_because_the_broker_does_not_compare_it(connect: Connect) -> None:
    rabbitmq = connect()
    queue = desired_topology().queues["jobs"]
    stolen = Queue("jobs", arguments={**queue.arguments, "x-taskqueue-owner": "default/media/other"})

    await rabbitmq.apply([Declare(queue), Declare(stolen)])

    assert (await rabbitmq.topology()).queues["jobs"] == queue
    with pytest.raises(TopologyFault, match="belongs to TaskQueue media/jobs") as fault:
        diff(desired_topology(), await rabbitmq.topology(), owner="default/media/other")
    assert fault.value.reason is Reason.NAME_CONFLICT


async def test_a_difference_that_came_after_reading_is_refused_by_the_broker(connect: Connect) -> None:
    rabbitmq = connect()
    await rabbitmq.apply([Declare(desired_topology().queues["jobs"])])

    with pytest.raises(TopologyFault) as fault:
        await rabbitmq.apply([Declare(desired_topology(queue={"type": "Classic"}).queues["jobs"])])

    assert fault.value.reason is Reason.IMMUTABLE_DRIFT
    assert fault.value.message.startswith(
        "RabbitMQ refuses to configure queue \"jobs\": inequivalent arg 'x-queue-type'"
    )


async def test_what_the_broker_does_not_take_is_told_in_its_own_words(connect: Connect) -> None:
    with pytest.raises(TopologyFault) as fault:
        await connect().apply([Declare(Exchange("jobs", "nonsense"))])

    assert fault.value.reason is Reason.TOPOLOGY_REFUSED
    assert fault.value.message == "RabbitMQ refuses to configure exchange \"jobs\": unknown exchange type 'nonsense'"


async def test_a_binding_to_nowhere_is_told_in_the_brokers_own_words(connect: Connect) -> None:
    with pytest.raises(TopologyFault, match="no exchange 'b'") as fault:
        await connect().apply([Declare(Binding("amq.direct", "b", to_queue=False, routing_key="x"))])

    assert fault.value.reason is Reason.TOPOLOGY_REFUSED


async def test_the_least_rights_that_the_documentation_names_suffice(connect: Connect, user: MakeUser) -> None:
    """The tag management; all rights on the names of the TaskQueue, and on amq.default for its dead letters."""
    names = "^(jobs(\\..*)?|amq\\.default)$"
    rabbitmq = connect(username=user("management", configure=names, write=names, read=names), password=PASSWORD)

    await settle(rabbitmq, desired_topology())

    assert diff(desired_topology(), await rabbitmq.topology(), owner=OWNER) == ()
    assert (await probed(rabbitmq, "jobs")).ready == 0
    await rabbitmq.apply([Remove(item) for item in reversed([*all_objects(desired_topology())])])


@pytest.mark.parametrize(
    ("rights", "act"),
    [
        ({"configure": "^$"}, 'configure exchange "jobs"'),
        ({"write": "^amq.default$"}, 'bind exchange "jobs.in" (read) to queue "jobs" (write)'),
        ({"read": "^jobs$"}, 'bind exchange "jobs.in" (read) to queue "jobs" (write)'),
    ],
)
async def test_a_missing_permission_is_named_with_the_command_that_grants_it(
    connect: Connect, user: MakeUser, vhost: str, rights: dict[str, str], act: str
) -> None:
    name = user("management", **rights)

    with pytest.raises(BrokerFault) as fault:
        await settle(connect(username=name, password=PASSWORD), desired_topology())

    assert fault.value.reason is Reason.PERMISSION_DENIED
    assert fault.value.message.startswith(f'User "{name}" may not {act} in vhost "{vhost}" of RabbitMQ at 127.0.0.1:')
    assert fault.value.message.endswith(f"rabbitmqctl set_permissions -p '{vhost}' {name} '.*' '.*' '.*'")


async def test_a_policy_with_the_name_of_ours_but_another_content_stays(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 1}
    path = f"/policies/{quote(vhost, safe='')}/jobs.fence"
    (await asyncio.to_thread(admin.put, path, json=theirs)).raise_for_status()
    rabbitmq = connect()

    await settle(rabbitmq, desired_topology())

    assert (await rabbitmq.topology()).policies["jobs.fence"].definition == {"max-length": 5}


async def test_a_timeout_applies_to_its_queue_beside_what_applied_before(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "all", "definition": {"max-length": 5}, "priority": 1}
    path = quote(vhost, safe="")
    (await asyncio.to_thread(admin.put, f"/policies/{path}/theirs", json=theirs)).raise_for_status()
    rabbitmq, queue = connect(), desired_topology().queues["jobs"]
    there = await rabbitmq.topology()
    assert there.supports_consumer_timeout, "this is RabbitMQ 4.3 or newer"
    policy = consumer_timeout(queue, 7200, there)
    assert policy is not None
    asked = replace(desired_topology(), policies={policy.name: policy})

    await settle(rabbitmq, asked)

    there = await rabbitmq.topology()
    assert consumer_timeout(queue, 7200, there) == policy, "what it repeats is not its own"
    assert diff(asked, there, owner=OWNER) == ()
    shown: dict[str, object] = {}
    async with asyncio.timeout(20):
        while "effective_policy_definition" not in shown:  # it is shown with the first statistics
            await asyncio.sleep(0.2)
            shown = (await asyncio.to_thread(admin.get, f"/queues/{path}/jobs")).raise_for_status().json()
    assert shown["effective_policy_definition"] == {"max-length": 5, "consumer-timeout": 7_200_000}
