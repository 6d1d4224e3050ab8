"""Migrations in any order of what users, publishers, workers and an operator that may end at any step do."""

from collections import Counter
from copy import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskqueue_operator.resource.names import RETURN_EXCHANGE
from taskqueue_operator.topology.diff import Remove, Step, diff
from taskqueue_operator.topology.migration import Migration, Observed, Requested, migration
from taskqueue_operator.topology.objects import Queue, Topology
from taskqueue_operator.topology.retry_path import retry_steps
from tests.unit.topology.builders import OWNER, desired_topology
from tests.unit.topology.in_memory_vhost import apply_steps, routed

MAIN, INTERIM = "jobs", "taskqueue.interim.jobs"
BOTH = (MAIN, INTERIM)
CLASSIC = desired_topology(queue={"type": "Classic"})
SPECS = [CLASSIC, desired_topology(), desired_topology(queue={"type": "Classic", "maxPriority": 9})]
ROUNDS = 60


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
