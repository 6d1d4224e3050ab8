import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import PublishError
from pamqp.commands import Basic

from taskqueue_operator.rabbitmq.vhost import Vhost, VhostFactory
from taskqueue_operator.resource.faults import BrokerFault, LeadershipLost, Reason, TopologyFault
from taskqueue_operator.resource.names import Key
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from taskqueue_operator.topology.retry_path import retry_path, retry_steps
from tests.cluster.broker import Broker
from tests.integration.harness.versions import every_version
from tests.integration.rabbitmq.conftest import PASSWORD, Connect, MakeUser, approve, probed
from tests.integration.rabbitmq.management_proxy import proxied
from tests.unit.topology.builders import OWNER, desired_topology, timeout_policy
from tests.unit.topology.in_memory_vhost import all_objects

TOPIC = desired_topology(
    exchange={"name": "tasks", "type": "Topic"},
    queue={"name": "a queue/with 100% odd?characters", "type": "Classic", "maxPriority": 5},
    bindings=[{"routingKey": "image.*"}, {"routingKey": "#"}, {"routingKey": "~/ %*"}, {"routingKey": ""}],
)

HEADERS = desired_topology(
    exchange={"name": "docs", "type": "Headers", "alternateExchange": "amq.fanout"},
    bindings=[
        {"arguments": {"format": "pdf", "pages": 1}},
        {"arguments": {"x-match": "any", "format": "pdf", "a b/~%": "\u00e9 ~%/"}},
        {"arguments": {"format": "pdf", "pages": "1"}},
        {"exchange": "amq.topic", "routingKey": "docs.#"},
        {"exchange": "amq.match", "arguments": {"format": "png"}},
    ],
)
HASH = desired_topology(exchange={"name": "shares", "type": "ConsistentHash"})


async def declare(rabbitmq: Vhost, desired: Topology) -> tuple[Step, ...]:
    steps = diff(desired, await rabbitmq.topology(), owner=OWNER)
    await rabbitmq.apply(steps)
    return steps


@every_version
@pytest.mark.parametrize(
    "desired", [desired_topology(), TOPIC, desired_topology(exchange={"type": "Fanout"}), HEADERS, HASH]
)
async def test_the_steps_create_the_topology_and_leave_no_difference(connect: Connect, desired: Topology) -> None:
    rabbitmq = connect()

    assert await declare(rabbitmq, desired) != ()

    actual = await rabbitmq.topology()
    assert diff(desired, actual, owner=OWNER) == ()
    assert desired.exchanges.items() <= actual.exchanges.items()
    assert actual.queues == desired.queues
    assert actual.bindings == desired.bindings


@every_version
async def test_a_message_that_drains_give_back_fifty_times_stays_in_its_queue(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """RabbitMQ 4.0 to 4.2 counts what a drain gives back, and by default drops a message after 20 returns."""
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())
    channel = await amqp.channel()
    await channel.basic_publish(b"task", routing_key="jobs")
    for _ in range(50):
        tag = await until_got(channel, "jobs")
        await channel.basic_nack(tag, requeue=True)
    assert await until_got(channel, "jobs")
    assert (await probed(rabbitmq, "jobs.dlq")).ready == 0


async def until_got(channel: AbstractChannel, queue: str) -> int:
    """Get a message, and return its delivery tag; what was given back is ready a moment later."""
    async with asyncio.timeout(30):
        while (tag := (await channel.basic_get(queue)).delivery_tag) is None:  # noqa: ASYNC110  no event says it
            await asyncio.sleep(0.05)
    return tag


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
        async with asyncio.timeout(60):
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


@every_version
async def test_a_binding_is_removed_by_its_arguments_and_the_others_stay(connect: Connect) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, HEADERS)
    fewer = desired_topology(
        exchange={"name": "docs", "type": "Headers", "alternateExchange": "amq.fanout"},
        bindings=[{"arguments": {"format": "pdf", "pages": "1"}}],
    )

    await declare(rabbitmq, fewer)

    assert (await rabbitmq.topology()).bindings == fewer.bindings


@every_version
async def test_messages_reach_the_queue_by_their_headers_whatever_the_owner_of_the_binding(
    connect: Connect, amqp: AbstractConnection
) -> None:
    rabbitmq = connect()
    await declare(rabbitmq, HEADERS)
    channel = await amqp.channel(on_return_raises=True)

    await publish(channel, "docs", format="pdf", pages=1)
    await publish(channel, "docs", **{"a b/~%": "\u00e9 ~%/"})
    await publish(channel, "amq.match", format="png", pages=3)
    await publish(channel, "amq.topic", "docs.a.b")

    assert (await probed(rabbitmq, "jobs")).ready == 4
    for exchange, format_ in (("docs", "png"), ("amq.match", "pdf")):
        with pytest.raises(PublishError):
            await publish(channel, exchange, format=format_)


async def publish(channel: AbstractChannel, exchange: str, key: str = "", **headers: str | int) -> None:
    """Publish a message that must reach a queue."""
    properties = Basic.Properties(headers={**headers}, delivery_mode=2)
    await channel.basic_publish(b"task", exchange=exchange, routing_key=key, properties=properties, mandatory=True)


@every_version
async def test_a_queue_keeps_its_share_of_a_consistent_hash_exchange_whose_binding_was_changed(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """RabbitMQ knows one share for each destination: removed last, the changed binding takes it along."""
    rabbitmq = connect()
    await declare(rabbitmq, HASH)
    (share,) = (binding for binding in HASH.bindings if binding.source == "shares")
    await rabbitmq.apply([Remove(share), Declare(replace(share, routing_key="10"))])

    await declare(rabbitmq, HASH)

    assert (await rabbitmq.topology()).bindings == HASH.bindings
    channel = await amqp.channel(on_return_raises=True)
    for number in range(20):
        await publish(channel, "shares", f"key-{number}")
    assert (await probed(rabbitmq, "jobs")).ready == 20


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


@pytest.mark.parametrize(("writes", "reads"), [("unrouted", "events"), ("events", "events"), ("unrouted", "unrouted")])
async def test_exchanges_of_others_need_the_documented_permissions(
    connect: Connect, user: MakeUser, writes: str, reads: str
) -> None:
    """Write on the alternate exchange, and read on that of a binding."""
    await connect().apply([Declare(Exchange("events", "topic")), Declare(Exchange("unrouted", "fanout"))])
    names = r"jobs(\..*)?"
    permissions = {"write": rf"^({names}|amq\.default|{writes})$", "read": rf"^({names}|{reads})$"}
    rabbitmq = connect(username=user("management", configure=f"^{names}$", **permissions), password=PASSWORD)
    desired = desired_topology(
        exchange={"alternateExchange": "unrouted"}, bindings=[{"exchange": "events", "routingKey": "image"}]
    )

    if (writes, reads) == ("unrouted", "events"):
        await declare(rabbitmq, desired)
        assert diff(desired, await rabbitmq.topology(), owner=OWNER) == ()
    else:
        with pytest.raises(BrokerFault) as fault:
            await declare(rabbitmq, desired)
        assert fault.value.reason is Reason.PERMISSION_DENIED


@every_version
async def test_the_documented_permissions_are_sufficient(connect: Connect, user: MakeUser) -> None:
    """The tag management, and all permissions on the names of the TaskQueue and on amq.default for dead letters."""
    names = r"^(jobs(\..*)?|amq\.default|taskqueue\.(return|return\.jobs|parking))$"
    rabbitmq = connect(username=user("management", configure=names, write=names, read=names), password=PASSWORD)

    await declare(rabbitmq, desired_topology())

    assert diff(desired_topology(), await rabbitmq.topology(), owner=OWNER) == ()
    for path in (retry_path("jobs", OWNER), retry_path("jobs", OWNER, has_limit=True)):
        await declare(rabbitmq, path)
        assert diff(path, await rabbitmq.topology(), owner=OWNER) == ()
    assert (await probed(rabbitmq, "jobs")).ready == 0
    await rabbitmq.apply([Remove(item) for item in reversed([*all_objects(desired_topology())])])


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


async def test_a_user_policy_with_the_name_of_the_fence_stays(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "queues", "definition": {"max-length": 5}, "priority": 1}
    path = f"/policies/{quote(vhost, safe='')}/jobs.fence"
    (await asyncio.to_thread(admin.put, path, json=theirs)).raise_for_status()
    rabbitmq = connect()

    await declare(rabbitmq, desired_topology())

    assert (await rabbitmq.topology()).policies["jobs.fence"].definition == {"max-length": 5}


@every_version
async def test_a_queue_that_a_policy_limits_gets_a_landing_queue_for_its_retries(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    limit = {"pattern": "^jobs$", "apply-to": "queues", "definition": {"max-length": 5}}
    (await asyncio.to_thread(admin.put, f"/policies/{quote(vhost, safe='')}/limit", json=limit)).raise_for_status()
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())

    await rabbitmq.apply(retry_steps("jobs", await rabbitmq.topology(), owner=OWNER))

    actual = await rabbitmq.topology()
    assert "taskqueue.return.jobs" in actual.queues
    assert retry_steps("jobs", actual, owner=OWNER) == ()


@every_version
async def test_a_timeout_for_one_queue_is_written_where_rabbitmq_has_it_and_refused_where_not(
    connect: Connect, broker: Broker
) -> None:
    policy = Policy("jobs.timeout", "^jobs$", "queues", {"consumer-timeout": 7_200_000})
    if broker.version != "3.10":
        await connect().apply([Declare(policy)])
        return
    with pytest.raises(TopologyFault, match="consumer-timeout") as fault:
        await connect().apply([Declare(policy)])
    assert fault.value.reason is Reason.TOPOLOGY_REFUSED


async def test_the_timeout_policy_keeps_the_effect_of_the_policy_that_it_replaces(
    connect: Connect, admin: httpx.Client, vhost: str
) -> None:
    theirs = {"pattern": "^jobs", "apply-to": "all", "definition": {"max-length": 5}, "priority": 1}
    path = quote(vhost, safe="")
    (await asyncio.to_thread(admin.put, f"/policies/{path}/theirs", json=theirs)).raise_for_status()
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())
    actual = await rabbitmq.topology()
    assert actual.supports_consumer_timeout, "this is RabbitMQ 4.3 or newer"
    assert actual.queues["jobs"].policy == "theirs"
    policy = timeout_policy("jobs", 7200, actual)
    assert policy is not None
    desired = replace(desired_topology(), policies={policy.name: policy})

    await declare(rabbitmq, desired)

    actual = await rabbitmq.topology()
    assert actual.queues["jobs"].policy == "jobs.timeout over theirs", "the listing is right at once"
    assert timeout_policy("jobs", 7200, actual) == policy, "the policy repeats only the definition of the user's policy"
    assert diff(desired, actual, owner=OWNER) == ()
    applied = {"max-length": 5, "consumer-timeout": 7_200_000}
    async with asyncio.timeout(20):
        while await effective_policy(admin, f"/queues/{path}/jobs") != applied:  # noqa: ASYNC110  shown with the next statistics
            await asyncio.sleep(0.2)


async def effective_policy(admin: httpx.Client, queue: str) -> object:
    """Return the settings that the broker applies to a queue; None while no statistics show them."""
    shown: dict[str, object] = (await asyncio.to_thread(admin.get, queue)).raise_for_status().json()
    return shown.get("effective_policy_definition")


@every_version
async def test_a_rejected_message_stays_until_the_dead_letter_queue_exists_again(
    connect: Connect, amqp: AbstractConnection
) -> None:
    """Another client has deleted the dead-letter queue."""
    rabbitmq = connect()
    await declare(rabbitmq, desired_topology())
    await rabbitmq.apply([Remove(desired_topology().queues["jobs.dlq"])])
    channel = await amqp.channel()
    await channel.basic_publish(b"task", exchange="jobs", routing_key="jobs")
    message = await channel.basic_get("jobs")
    assert message.delivery_tag is not None

    await channel.basic_nack(message.delivery_tag, requeue=False)

    async with asyncio.timeout(60):
        while (sweep := (await rabbitmq.sweep())["jobs"]).deferred != 1:  # noqa: ASYNC110  the broker has no event
            await asyncio.sleep(0.2)
    assert (sweep.ready, sweep.unacked, sweep.is_empty) == (0, 0, False)
