"""The steps of a migration, and what it waits for."""

from dataclasses import replace

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import CELERY_DELIVERY
from taskqueue_operator.topology.diff import Declare, Remove, diff
from taskqueue_operator.topology.migration import Migration, Observed, Requested, Stage, migration
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from taskqueue_operator.topology.retry_path import retry_steps
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, with_owner
from tests.unit.topology.in_memory_vhost import apply_steps, routed

MAIN, INTERIM, PRIVATE = "jobs", "taskqueue.interim.jobs", "jobs.in"
BOTH = (MAIN, INTERIM)
CLASSIC, QUORUM = desired_topology(queue={"type": "Classic"}), desired_topology()
ROUNDS = 60


def declared(desired: Topology) -> Topology:
    actual = apply_steps(diff(desired, Topology(), owner=OWNER), Topology())
    return apply_steps(retry_steps(MAIN, actual, owner=OWNER), actual)


def migrate(desired: Topology, actual: Topology, *, replaces: bool = True, **observed: set[str]) -> Migration | None:
    seen = Observed(**observed)
    return migration(Requested(desired, OWNER, replaces=replaces, retries=True), actual, seen)


def migrated_until(stage: Stage, desired: Topology, actual: Topology, *, receiving: str) -> Topology:
    """Return the vhost at the first moment when a migration waits in this stage, or writes in it."""
    for _ in range(ROUNDS):
        empty = {MAIN} if receiving == MAIN else set[str]()
        found = migrate(desired, actual, consumed_by_all=set(BOTH), consumed_by_any=set(BOTH), empty=empty)
        assert found is not None
        if (found.stage, found.receiving) == (stage, receiving):
            return actual
        actual = apply_steps(found.steps, actual)
    raise AssertionError(f"the migration never comes to {stage}")


@pytest.mark.parametrize("replaces", [True, False])
def test_a_queue_that_fits_needs_no_migration(replaces: bool) -> None:  # noqa: FBT001  a parameter of the test
    assert migrate(QUORUM, declared(QUORUM), replaces=replaces) is None


def test_a_queue_that_differs_is_not_replaced_without_change_policy() -> None:
    assert migrate(QUORUM, declared(CLASSIC), replaces=False) is None


@pytest.mark.parametrize("name", ["queue", "private exchange"])
def test_a_queue_of_a_user_is_never_replaced(name: str) -> None:
    """Invariant: what the operator did not create is never changed or deleted."""
    actual = declared(CLASSIC)
    if name == "queue":
        actual = replace(actual, queues={**actual.queues, MAIN: with_owner(actual.queues[MAIN], None)})
    else:
        exchange = with_owner(actual.exchanges[PRIVATE], None)
        actual = replace(actual, exchanges={**actual.exchanges, PRIVATE: exchange})

    assert migrate(QUORUM, actual) is None


def test_an_interim_queue_of_another_client_is_a_conflict() -> None:
    actual = apply_steps([Declare(Queue(INTERIM))], declared(CLASSIC))

    with pytest.raises(TopologyFault) as raised:
        migrate(QUORUM, actual)

    assert raised.value.reason is Reason.NAME_CONFLICT
    assert_approved("migration.interim_queue_of_another_client", raised.value.message)


def test_publishers_are_switched_after_all_workers_consume_both_queues() -> None:
    actual = declared(CLASSIC)
    while (found := migrate(QUORUM, actual, consumed_by_all={MAIN})) is not None and found.steps:
        actual = apply_steps(found.steps, actual)

    assert found is not None
    assert (found.stage, found.queues) == (Stage.ROLLING_OUT, BOTH)
    assert routed(MAIN, MAIN, actual) == {MAIN}


def test_publishers_are_not_switched_while_another_policy_displaces_the_alternate_exchange() -> None:
    actual = migrated_until(Stage.SWITCHING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    actual = apply_steps(
        [Declare(Policy("company", ".*", "exchanges", {"alternate-exchange": "unrouted"}, 5000))], actual
    )
    found = migrate(QUORUM, actual, consumed_by_all=set(BOTH))
    assert found is not None
    actual = apply_steps(found.steps, actual)

    waiting = migrate(QUORUM, actual, consumed_by_all=set(BOTH))

    assert waiting is not None
    assert waiting.obstacle is not None
    assert (waiting.steps, waiting.queues) == ((), BOTH)
    assert waiting.obstacle.reason is Reason.POLICY_CONFLICT
    assert_approved("migration.alternate_exchange_displaced", waiting.obstacle.message)


@pytest.mark.parametrize("source", ["audit", CELERY_DELIVERY])
def test_the_old_queue_is_not_deleted_while_another_exchange_is_bound_to_it(source: str) -> None:
    actual = migrated_until(Stage.EMPTYING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    bypass = [Declare(Exchange(source, "fanout")), Declare(Binding(source, MAIN, to_queue=True))]
    actual = apply_steps(bypass, actual)

    waiting = migrate(QUORUM, actual, consumed_by_all=set(BOTH), empty={MAIN})

    assert waiting is not None
    assert waiting.obstacle is not None
    assert waiting.steps == ()
    assert_approved("migration.bypass", waiting.obstacle.message.replace(source, "audit"))


def test_a_classic_queue_is_not_migrated_together_with_a_change_to_linear() -> None:
    """It would return failed tasks at once, as long as they are in it."""
    requested = Requested(QUORUM, OWNER, replaces=True, retries=False, broker_delays=True)

    with pytest.raises(TopologyFault) as raised:
        migration(requested, declared(CLASSIC), Observed())

    assert raised.value.reason is Reason.IMMUTABLE_DRIFT
    assert_approved("migration.linear", raised.value.message)


@pytest.mark.parametrize(("desired", "replaces"), [(CLASSIC, True), (QUORUM, False)])
def test_an_abort_leads_publishers_back_to_the_old_queue(desired: Topology, replaces: bool) -> None:  # noqa: FBT001  a parameter of the test
    actual = migrated_until(Stage.EMPTYING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    old = actual.queues[MAIN]
    while found := migrate(desired, actual, replaces=replaces, consumed_by_all=set(BOTH), empty={INTERIM}):
        assert routed(MAIN, MAIN, actual) in ({MAIN}, {INTERIM})
        actual = apply_steps(found.steps, actual)

    assert actual == declared(CLASSIC)
    assert actual.queues[MAIN] == old


def test_an_abort_right_after_a_switch_leads_each_message_to_one_queue() -> None:
    """The alternate exchange still leads to the interim queue."""
    actual = migrated_until(Stage.EMPTYING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    left = Exchange(INTERIM, "fanout", arguments={"x-taskqueue-owner": OWNER})
    actual = apply_steps([Declare(left), Declare(Binding(INTERIM, INTERIM, to_queue=True))], actual)

    while found := migrate(CLASSIC, actual, consumed_by_all=set(BOTH), empty={INTERIM}):
        for step in found.steps:
            actual = apply_steps([step], actual)
            assert len(routed(MAIN, MAIN, actual)) == 1

    assert actual == declared(CLASSIC)


def test_the_interim_queue_is_deleted_after_the_last_worker_that_consumes_it() -> None:
    actual, both = declared(CLASSIC), set(BOTH)
    while found := migrate(QUORUM, actual, consumed_by_all=both, consumed_by_any=both, empty=both):
        if not found.steps:
            break
        actual = apply_steps(found.steps, actual)

    assert found is not None
    assert (found.stage, found.queues) == (Stage.ROLLING_BACK, (MAIN,))
    last = migrate(QUORUM, actual, consumed_by_all={MAIN}, consumed_by_any={MAIN}, empty=both)
    assert last is not None
    assert [step.item for step in last.steps] == [actual.queues[INTERIM]]
    assert migrate(QUORUM, apply_steps(last.steps, actual)) is None


def test_both_queues_share_a_dead_letter_queue_which_keeps_its_type() -> None:
    before = declared(CLASSIC)
    after = migrated_until(Stage.EMPTYING, QUORUM, before, receiving=MAIN)

    assert after.queues["jobs.dlq"] == before.queues["jobs.dlq"]
    assert {after.queues[name].arguments["x-dead-letter-routing-key"] for name in BOTH} == {"jobs.dlq"}
    assert diff(QUORUM, after, owner=OWNER) == ()


def test_changed_bindings_of_publishers_follow_during_a_migration() -> None:
    actual = migrated_until(Stage.EMPTYING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    found = migrate(desired_topology(bindings=[{"routingKey": "new"}]), actual)

    assert found is not None
    assert found.steps == (
        Declare(Binding(MAIN, PRIVATE, to_queue=False, routing_key="new")),
        Remove(Binding(MAIN, PRIVATE, to_queue=False, routing_key=MAIN)),
    )
