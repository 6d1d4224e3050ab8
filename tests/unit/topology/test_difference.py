from hypothesis import given
from hypothesis import strategies as st

from taskqueue_operator.resource.faults import TopologyFault
from taskqueue_operator.topology.diff import Declare, Remove, Step, difference
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.unit.topology.samples import OURS, THEIRS, everything, marked, taken, vhost, wanted, with_argument

WANTED = wanted()
INLET = Binding("jobs.in", "jobs", to_queue=True)
OLD_KEY = Binding("jobs", "jobs.in", to_queue=False, routing_key="old")


def steps(there: Topology) -> tuple[Step, ...]:
    return difference(WANTED, there, owner=OURS)


def test_an_empty_vhost_gets_everything_from_the_queue_outwards() -> None:
    assert [step.what for step in steps(vhost())] == [
        *WANTED.exchanges.values(),
        *WANTED.queues.values(),
        INLET,
        Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs"),
    ]


def test_no_change_no_write() -> None:
    assert steps(WANTED) == ()


def test_an_equal_queue_without_mark_is_used_and_stays_unmarked() -> None:
    there = vhost(marked(WANTED.queues["jobs"], None))

    after = taken(steps(there), there)

    assert after.queues["jobs"] == there.queues["jobs"]
    assert INLET in after.bindings
    assert steps(after) == ()


def test_a_binding_that_is_wanted_no_more_goes_after_the_new_one_came() -> None:
    there = taken([Remove(Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs")), Declare(OLD_KEY)], WANTED)

    assert steps(there) == (
        Declare(Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs")),
        Remove(OLD_KEY),
    )


def test_the_binding_of_an_exchange_that_was_renamed_goes() -> None:
    old = Exchange("before", "direct", arguments={"x-taskqueue-owner": OURS})
    way = Binding("before", "jobs.in", to_queue=False, routing_key="jobs")

    assert steps(taken([Declare(old), Declare(way)], WANTED)) == (Remove(way),)


def test_a_binding_that_somebody_made_from_an_exchange_of_theirs_stays() -> None:
    by_hand = Binding("headers", "jobs.in", to_queue=False)

    assert steps(taken([Declare(Exchange("headers", "headers")), Declare(by_hand)], WANTED)) == ()


def test_bindings_into_an_inlet_that_is_not_ours_stay() -> None:
    there = taken([Declare(OLD_KEY)], vhost(marked(WANTED.exchanges["jobs.in"], None), WANTED.exchanges["jobs"]))

    assert Remove(OLD_KEY) not in steps(there)


def test_a_wall_left_by_a_deletion_that_did_not_end_falls_after_the_queue_is_bound_again() -> None:
    wall = fence_topology("jobs", OURS)
    there = taken([Declare(item) for item in everything(wall)], taken([Remove(INLET)], WANTED))

    found = steps(there)

    assert found[0] == Declare(INLET)
    assert [step.what for step in found[1:]] == [
        wall.policies["jobs.fence"],
        wall.exchanges["jobs.fence"],
        wall.queues["jobs.fence"],
    ]
    assert all(isinstance(step, Remove) for step in found[1:])


_WALL = fence_topology("jobs", OURS)
_POSSIBLE = [
    *everything(WANTED),
    *everything(_WALL),
    OLD_KEY,
    Exchange("elsewhere", "topic"),
    Queue("other"),
    Binding("elsewhere", "jobs.in", to_queue=False, routing_key="x"),
    Binding("elsewhere", "other", to_queue=True, routing_key="x"),
    Binding("jobs", "other", to_queue=True, routing_key="x"),
]


@st.composite
def vhosts(draw: st.DrawFn) -> Topology:
    """Some of what there may be, ours, another's, nobody's, equal or not."""
    held: list[Step] = []
    for item in _POSSIBLE:
        if not draw(st.booleans()):
            continue
        mark = draw(st.sampled_from([OURS, OURS, OURS, None, THEIRS]))
        if isinstance(item, Queue) and draw(st.integers(0, 9)) == 0:
            item = with_argument(item, x_message_ttl=1)  # noqa: PLW2901  the variant stands for it
        held.append(Declare(marked(item, mark) if isinstance(item, Exchange | Queue) else item))
    objects = [step for step in held if not isinstance(step.what, Binding)]
    there = taken(objects, Topology())
    fitting = [
        step
        for step in held
        if isinstance(step.what, Binding)
        and step.what.source in there.exchanges
        and step.what.destination in (there.queues if step.what.to_queue else there.exchanges)
    ]
    return taken(fitting, there)


@given(vhosts(), st.integers(0, 20))
def test_steps_lead_to_no_difference_wherever_they_were_interrupted(there: Topology, done: int) -> None:
    try:
        planned = steps(there)
    except TopologyFault:
        return
    halfway = taken(planned[:done], there)
    after = taken(steps(halfway), halfway)

    assert steps(after) == ()
    assert WANTED.bindings <= after.bindings


@given(vhosts())
def test_what_is_not_ours_is_never_changed_nor_removed(there: Topology) -> None:
    try:
        after = taken(steps(there), there)
    except TopologyFault:
        return

    for before, now in ((there.exchanges, after.exchanges), (there.queues, after.queues)):
        for name, item in before.items():
            if item.arguments.get("x-taskqueue-owner") != OURS:
                assert now[name] == item
