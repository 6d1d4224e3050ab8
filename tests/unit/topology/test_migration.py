from collections import Counter
from copy import copy
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.resource.names import RETURN_EXCHANGE
from taskqueue_operator.topology.diff import Declare, Remove, Step, diff
from taskqueue_operator.topology.migration import Migration, Observed, Requested, Stage, migration
from taskqueue_operator.topology.objects import Binding, Exchange, Policy, Queue, Topology
from taskqueue_operator.topology.retry_path import retry_steps
from tests.approved import assert_approved
from tests.unit.topology.builders import OWNER, desired_topology, with_owner
from tests.unit.topology.in_memory_vhost import apply_steps, routed

MAIN, INTERIM, PRIVATE = "jobs", "taskqueue.interim.jobs", "jobs.in"
BOTH = (MAIN, INTERIM)
CLASSIC, QUORUM = desired_topology(queue={"type": "Classic"}), desired_topology()
SPECS = [CLASSIC, QUORUM, desired_topology(queue={"type": "Classic", "maxPriority": 9})]
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


def test_the_old_queue_is_not_deleted_while_another_exchange_is_bound_to_it() -> None:
    actual = migrated_until(Stage.EMPTYING, QUORUM, declared(CLASSIC), receiving=INTERIM)
    bypass = [Declare(Exchange("audit", "fanout")), Declare(Binding("audit", MAIN, to_queue=True))]
    actual = apply_steps(bypass, actual)

    waiting = migrate(QUORUM, actual, consumed_by_all=set(BOTH), empty={MAIN})

    assert waiting is not None
    assert waiting.obstacle is not None
    assert waiting.steps == ()
    assert_approved("migration.bypass", waiting.obstacle.message)


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


class Migrations(RuleBasedStateMachine):
    """A TaskQueue whose spec changes, its operator that may end at any step, and its publishers and workers.

    Its operator reads, decides and writes in separate rules, so that any rule of publishers and workers comes between.
    """

    @initialize(desired=st.sampled_from(SPECS))
    def declare(self, desired: Topology) -> None:
        self.desired, self.replaces = desired, True
        actual = apply_steps(diff(CLASSIC, Topology(), owner=OWNER), Topology())
        self.actual = apply_steps(retry_steps(MAIN, actual, owner=OWNER), actual)
        self.messages = {state: Counter[str]() for state in ("ready", "unacked", "deferred", "delayed")}
        self.published = self.settled = 0
        self.template: tuple[str, ...] = (MAIN,)
        self.workers: list[tuple[str, ...]] = [(MAIN,), (MAIN,)]
        self.age = 0
        self.forget()

    # The operator.

    @rule()
    def forget(self) -> None:
        """The process ends."""
        self.read: Topology | None = None
        self.steps: list[Step] = []

    @precondition(lambda self: self.read is None and not self.steps)
    @rule()
    def read_topology(self) -> None:
        self.read = self.actual

    @precondition(lambda self: self.read is not None)
    @rule()
    def decide(self) -> None:
        assert self.read is not None
        actual, self.read = self.read, None
        found = self.migration_of(actual)
        self.template = found.queues if found is not None else (MAIN,)
        if found is not None:
            self.steps = list(found.steps)

    @precondition(lambda self: bool(self.steps))
    @rule()
    def write_step(self) -> None:
        step = self.steps.pop(0)
        if isinstance(step, Remove) and isinstance(step.item, Queue) and step.item.name in self.actual.queues:
            assert self.is_empty(step.item.name)
            assert step.item.name == MAIN or not any(INTERIM in worker for worker in self.workers)
        self.actual = apply_steps([step], self.actual)

    @rule(rounds=st.integers(1, 9), written=st.integers(0, 5), rolled_out=st.booleans())
    def reconcile(self, rounds: int, written: int, rolled_out: bool) -> None:  # noqa: FBT001  an argument of the rule
        """Reconcile some rounds; in the last one the process ends after some steps. So examples get far."""
        for number in range(rounds):
            self.forget()
            self.read_topology()
            self.decide()
            is_last = number == rounds - 1
            for _ in range(min(written, len(self.steps)) if is_last else len(self.steps)):
                self.write_step()
                self.each_message_reaches_exactly_one_queue()
            if rolled_out:
                self.roll_out(0)
                self.roll_out(1)

    def migration_of(self, actual: Topology) -> Migration | None:
        consumed = [*map(set, self.workers), set(self.template)]
        observed = Observed(
            consumed_by_all=set.intersection(*consumed),
            consumed_by_any=set.union(*consumed),
            empty={queue for queue in BOTH if self.is_empty(queue)},
        )
        return migration(Requested(self.desired, OWNER, replaces=self.replaces, retries=True), actual, observed)

    def is_empty(self, queue: str) -> bool:
        return not any(messages[queue] for messages in self.messages.values())

    # The user, publishers and workers.

    @precondition(lambda self: self.age > 10)
    @rule(desired=st.sampled_from(SPECS), replaces=st.sampled_from([True, True, False]))
    def change_spec(self, desired: Topology, replaces: bool) -> None:  # noqa: FBT001  an argument of the rule
        self.desired, self.replaces, self.age = desired, replaces, 0

    @rule()
    def publish(self) -> None:
        (queue,) = routed(MAIN, MAIN, self.actual)
        self.messages["ready"][queue] += 1
        self.published += 1

    @rule(queue=st.sampled_from(BOTH), to=st.sampled_from(["settled", "unacked", "deferred", "delayed"]))
    def work(self, queue: str, to: str) -> None:
        """Work until nothing is ready. The messages are settled, except for one."""
        while self.messages["ready"][queue] > 1 and any(queue in worker for worker in self.workers):
            self.move(queue, "ready", "settled")
        self.deliver(queue)
        self.settle(queue, to)

    @rule(worker=st.integers(0, 1))
    def roll_out(self, worker: int) -> None:
        self.workers[worker] = self.template

    @rule(queue=st.sampled_from(BOTH))
    def deliver(self, queue: str) -> None:
        if any(queue in worker for worker in self.workers):
            self.move(queue, "ready", "unacked")

    @rule(queue=st.sampled_from(BOTH), to=st.sampled_from(["settled", "ready", "deferred", "delayed"]))
    def settle(self, queue: str, to: str) -> None:
        self.move(queue, "unacked", to)

    @rule(queue=st.sampled_from(BOTH))
    def dead_letter(self, queue: str) -> None:
        self.move(queue, "deferred", "settled")

    @rule(queue=st.sampled_from(BOTH))
    def return_retry(self, queue: str) -> None:
        if self.messages["delayed"][queue]:
            assert routed(RETURN_EXCHANGE, queue, self.actual) == {queue}
            self.move(queue, "delayed", "ready")

    def move(self, queue: str, source: str, to: str) -> None:
        if not self.messages[source][queue]:
            return
        self.messages[source][queue] -= 1
        if to == "settled":
            self.settled += 1
        else:
            self.messages[to][queue] += 1

    # What always holds.

    @invariant()
    def each_message_reaches_exactly_one_queue(self) -> None:
        if hasattr(self, "actual"):
            found = routed(MAIN, MAIN, self.actual)
            assert len(found) == 1
            assert found <= set(BOTH)

    @invariant()
    def a_spec_is_kept_for_some_rules(self) -> None:
        if hasattr(self, "actual"):
            self.age += 1

    @invariant()
    def no_message_is_lost(self) -> None:
        if hasattr(self, "actual"):
            assert self.published == self.settled + sum(messages.total() for messages in self.messages.values())

    @rule()
    def a_migration_ends_from_any_state(self) -> None:
        """On a copy, so that the example goes on from this state."""
        copied = copy(self)
        copied.messages = {state: messages.copy() for state, messages in self.messages.items()}
        copied.workers = [*self.workers]
        copied.forget()
        copied.replaces = True
        copied.end()

    def end(self) -> None:
        """Reconcile and work until only the queue that the spec asks for is left."""
        for _ in range(ROUNDS):
            self.read_topology()
            self.decide()
            ended = self.template == (MAIN,) and not self.steps
            while self.steps:
                self.write_step()
                self.each_message_reaches_exactly_one_queue()
                self.publish()
            self.finish_all()
            if ended and self.migration_of(self.actual) is None:
                break
        assert diff(self.desired, self.actual, owner=OWNER) == ()
        assert INTERIM not in {*self.actual.queues, *self.actual.exchanges, *self.actual.policies}
        assert routed(MAIN, MAIN, self.actual) == {MAIN}
        assert self.published == self.settled

    def finish_all(self) -> None:
        for worker in (0, 1):
            self.roll_out(worker)
        for queue in BOTH:
            while self.messages["delayed"][queue]:
                self.return_retry(queue)
            while self.messages["ready"][queue] and queue in self.template:
                self.deliver(queue)
            for state in ("unacked", "deferred"):
                while self.messages[state][queue]:
                    self.move(queue, state, "settled")


TestMigrations = Migrations.TestCase
TestMigrations.settings = settings(stateful_step_count=50, max_examples=80, deadline=None)
