"""What a version of RabbitMQ lacks is a message that names the version and the way out."""

import pytest

from taskqueue_operator.resource.faults import Reason, TopologyFault
from taskqueue_operator.topology.consumer_timeout import DEFAULT_SECONDS, timeout_requirement
from taskqueue_operator.topology.versions import Version, check_oldest
from tests.approved import assert_approved


@pytest.mark.parametrize(("version", "is_refused"), [((3, 9, 13), True), ((3, 10, 0), False), ((0, 0, 0), False)])
def test_a_queue_is_declared_only_where_its_messages_are_kept(version: Version, *, is_refused: bool) -> None:
    if not is_refused:
        check_oldest("jobs", version)
        return
    with pytest.raises(TopologyFault) as raised:
        check_oldest("jobs", version)
    assert (raised.value.reason, raised.value.terminal) == (Reason.TOPOLOGY_REFUSED, True)
    assert_approved("topology.declared_on_an_old_broker", raised.value.message)


@pytest.mark.parametrize(("version", "is_refused"), [((3, 11, 14), True), ((3, 11, 15), False), ((0, 0, 0), False)])
def test_a_longer_timeout_is_asked_for_only_where_one_queue_can_have_it(version: Version, *, is_refused: bool) -> None:
    timeout_requirement("jobs", DEFAULT_SECONDS, version)
    if not is_refused:
        timeout_requirement("jobs", DEFAULT_SECONDS + 1, version)
        return
    with pytest.raises(TopologyFault) as raised:
        timeout_requirement("jobs", DEFAULT_SECONDS + 1, version)
    assert (raised.value.reason, raised.value.terminal) == (Reason.TOPOLOGY_REFUSED, True)
    assert_approved("topology.timeout_on_an_old_broker", raised.value.message)
