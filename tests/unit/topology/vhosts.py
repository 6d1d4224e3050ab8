"""Generates vhosts for property tests: some objects of a TaskQueue, of others and of no owner, equal or different."""

from hypothesis import strategies as st

from taskqueue_operator.topology.diff import Declare, Step
from taskqueue_operator.topology.fence import fence_topology
from taskqueue_operator.topology.objects import Binding, Exchange, Queue, Topology
from tests.unit.topology.builders import OTHER_OWNER, OWNER, desired_topology, with_argument, with_owner
from tests.unit.topology.in_memory_vhost import all_objects, apply_steps

DESIRED = desired_topology()
ENTRY_BINDING = Binding("jobs.in", "jobs", to_queue=True)
OLD_BINDING = Binding("jobs", "jobs.in", to_queue=False, routing_key="old")
OLD_HEADERS = Binding("jobs", "jobs.in", to_queue=False, routing_key="jobs", arguments=(("format", "pdf"),))
OLD_MARKED = Binding("elsewhere", "jobs.in", to_queue=False, arguments=(("x-taskqueue-owner", OWNER),))

_POSSIBLE = [
    *all_objects(DESIRED),
    *all_objects(fence_topology("jobs", OWNER)),
    OLD_BINDING,
    OLD_HEADERS,
    OLD_MARKED,
    Exchange("elsewhere", "topic"),
    Queue("other"),
    Binding("elsewhere", "jobs.in", to_queue=False, routing_key="x"),
    Binding("elsewhere", "jobs.in", to_queue=False, arguments=(("x-taskqueue-owner", OTHER_OWNER),)),
    Binding("elsewhere", "other", to_queue=True, routing_key="x"),
    Binding("jobs", "other", to_queue=True, routing_key="x"),
]


@st.composite
def vhosts(draw: st.DrawFn) -> Topology:
    """Return a vhost with some of the possible objects."""
    declared: list[Step] = []
    for item in _POSSIBLE:
        if not draw(st.booleans()):
            continue
        owner = draw(st.sampled_from([OWNER, OWNER, OWNER, None, OTHER_OWNER]))
        if isinstance(item, Queue) and draw(st.integers(0, 9)) == 0:
            item = with_argument(item, x_message_ttl=1)  # noqa: PLW2901  the variant replaces it
        declared.append(Declare(with_owner(item, owner) if isinstance(item, Exchange | Queue) else item))
    actual = apply_steps([step for step in declared if not isinstance(step.item, Binding)], Topology())
    bindings = [
        step
        for step in declared
        if isinstance(step.item, Binding)
        and step.item.source in actual.exchanges
        and step.item.destination in (actual.queues if step.item.to_queue else actual.exchanges)
    ]
    return apply_steps(bindings, actual)
