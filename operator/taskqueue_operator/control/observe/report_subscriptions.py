"""The TaskQueues whose worker reports are received."""

from taskqueue_operator.control.ports import ControlChannel
from taskqueue_operator.resource.names import CONTROL_EXCHANGE, Key
from taskqueue_operator.topology.objects import Topology


class ReportSubscriptions:
    """The subscriptions of one control channel.

    Attributes:
        control_channel: What receives the reports.
    """

    def __init__(self, control_channel: ControlChannel) -> None:
        self.control_channel = control_channel
        self._subscribed: set[Key] = set()

    def subscribe(self, key: Key, *, enabled: bool) -> None:
        """Subscribe to the worker reports of a TaskQueue, or unsubscribe."""
        if enabled != (key in self._subscribed):
            self._subscribed ^= {key}
            self.control_channel.listen(str(key), enabled=enabled)

    def restore(self, actual: Topology) -> None:
        """Restore the bindings for reports, which go with their exchange. A needless restoration changes nothing."""
        bound = {binding.routing_key for binding in actual.bindings_from.get(CONTROL_EXCHANGE, ())}
        unbound = {str(key) for key in self._subscribed} - bound
        if unbound and self.control_channel.fault is None:
            self.control_channel.restore(unbound)
