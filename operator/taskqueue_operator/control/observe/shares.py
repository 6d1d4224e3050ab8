"""What all observers of the process share."""

from dataclasses import dataclass, field

from .probe_shares import ProbeShares
from .topology_shares import TopologyShares


@dataclass(frozen=True, slots=True)
class Shares:
    """How often queues at zero are probed, and topologies are read."""

    probes: ProbeShares = field(default_factory=ProbeShares)
    topology: TopologyShares = field(default_factory=TopologyShares)

    def forget(self, reader: object) -> None:
        """Record that a reader has ended."""
        self.probes.forget(reader)
        self.topology.forget(reader)
