from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.topology.deletion import fence, fenced, removal
from taskqueue_operator.topology.diff import Declare, Remove, difference
from taskqueue_operator.topology.fence import exactly, fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.unit.topology.samples import OURS, THEIRS, marked, taken, vhost, wanted
from tests.unit.topology.test_difference import INLET, WANTED, vhosts

WALL = fence_topology("jobs", OURS)


def fenced_off(there: Topology) -> Topology:
    while steps := fence(WANTED, there, owner=OURS):
        there = taken(steps, there)
    return there


def test_the_queue_is_unbound_only_after_the_wall_was_seen() -> None:
    first = fence(WANTED, WANTED, owner=OURS)
    after = taken(first, WANTED)

    assert Remove(INLET) not in first
    assert not fenced(WANTED, after, owner=OURS)
    assert fence(WANTED, after, owner=OURS) == (Remove(INLET),)
    assert fenced(WANTED, taken([Remove(INLET)], after), owner=OURS)


def test_the_wall_refuses_and_is_reached_from_the_inlet_alone() -> None:
    policy = WALL.policies["jobs.fence"]

    assert WALL.queues["jobs.fence"].arguments == {
        "x-queue-type": "classic",
        "x-max-length": 0,
        "x-overflow": "reject-publish",
        "x-taskqueue-owner": OURS,
    }
    assert (policy.pattern, policy.apply_to, policy.definition) == (
        r"^jobs\.in$",
        "exchanges",
        {"alternate-exchange": "jobs.fence"},
    )


def test_a_pattern_matches_a_name_with_every_special_character_alone() -> None:
    assert exactly("a.b*c (d)") == r"^a\.b\*c\ \(d\)$"


def test_an_inlet_that_is_not_ours_is_not_fenced() -> None:
    there = taken([Declare(INLET)], vhost(marked(WANTED.exchanges["jobs.in"], None), WANTED.queues["jobs"]))

    assert fence(WANTED, there, owner=OURS) == ()


def test_queues_go_before_exchanges_and_the_wall_goes_last() -> None:
    steps = removal(WANTED, fenced_off(WANTED), owner=OURS)

    assert [(type(step.what).__name__, getattr(step.what, "name", "")) for step in steps] == [
        ("Queue", "jobs"),
        ("Queue", "jobs.dlq"),
        ("Exchange", "jobs"),
        ("Exchange", "jobs.in"),
        ("Policy", "jobs.fence"),
        ("Exchange", "jobs.fence"),
        ("Queue", "jobs.fence"),
    ]


def test_an_exchange_that_still_leads_to_another_taskqueue_stays() -> None:
    exchange = {"name": "tasks", "type": "Topic"}
    ours, other = wanted(exchange=exchange), wanted("other", exchange=exchange)
    shared = taken([Declare(item) for item in ours.exchanges.values()], Topology())
    there = taken(difference(ours, shared, owner=OURS), shared)
    there = taken(difference(other, there, owner=THEIRS), there)

    after = taken(removal(ours, there, owner=OURS), there)

    assert set(after.exchanges) == {"tasks", "other.in"}
    assert set(after.queues) == {"other", "other.dlq"}
    assert difference(other, after, owner=THEIRS) == ()


def test_an_exchange_that_somebody_bound_a_queue_to_stays() -> None:
    theirs = [Declare(Queue("audit")), Declare(Binding("jobs", "audit", to_queue=True, routing_key="jobs"))]
    there = taken(theirs, WANTED)

    after = taken(removal(WANTED, there, owner=OURS), there)

    assert set(after.exchanges) == {"jobs"}
    assert set(after.queues) == {"audit"}


def test_a_taskqueue_of_the_same_name_repairs_a_deletion_interrupted_anywhere() -> None:
    """Invariant: crash anywhere, converge after."""
    walled_off = fenced_off(WANTED)
    steps = removal(WANTED, walled_off, owner=OURS)
    for done in range(len(steps) + 1):
        there = taken(steps[:done], walled_off)

        revived = taken(difference(WANTED, there, owner=OURS), there)

        assert revived == WANTED


@given(vhosts(), st.integers(0, 20))
def test_a_removal_goes_on_where_it_was_interrupted_until_nothing_of_ours_is_left(there: Topology, done: int) -> None:
    halfway = taken(removal(WANTED, there, owner=OURS)[:done], there)
    after = taken(removal(WANTED, halfway, owner=OURS), halfway)

    assert removal(WANTED, after, owner=OURS) == ()
    left: list[Exchange | Queue] = [*after.queues.values(), *after.exchanges.values()]
    ours = {item.name for item in left if _owner(item) == OURS}
    leads_elsewhere = {each.source for each in after.bindings}
    assert ours <= leads_elsewhere | {"other", "elsewhere"}


@given(vhosts())
def test_a_removal_never_touches_what_is_not_ours(there: Topology) -> None:
    """Invariant: what we did not create is never changed or deleted."""
    after = taken(removal(WANTED, there, owner=OURS), there)

    assert {name: item for name, item in there.queues.items() if _owner(item) != OURS} == {
        name: item for name, item in after.queues.items() if _owner(item) != OURS
    }
    assert {name: item for name, item in there.exchanges.items() if _owner(item) != OURS} == {
        name: item for name, item in after.exchanges.items() if _owner(item) != OURS
    }


def _owner(item: Exchange | Queue) -> object:
    return item.arguments.get("x-taskqueue-owner")
