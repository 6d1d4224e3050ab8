"""Policies of the operator for one queue.

RabbitMQ applies only one policy to a queue. So ours repeats the definition of the policy that it replaces, and its name
contains the name of that policy: a later change of that policy is repeated too. Only the broker evaluates patterns; it
lists which policy it applies to a queue. So ours is written once the queue exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .objects import POLICY_PRIORITY, Policy, Topology, exact_pattern


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """A policy for one purpose; a queue has one purpose at most.

    Attributes:
        queue: Name of the queue.
        purpose: Part of the name of the policy.
        keys: What the policy may set; it sets one of them at least.
    """

    queue: str
    purpose: str
    keys: frozenset[str]

    def existing(self, actual: Topology) -> Sequence[Policy]:
        """Return the existing policies, with any values; two while the replaced policy changes.

        One of the operator's priority is such a policy, even if another client has removed the settings from it.
        """
        name, prefix = self._name(None), self._prefix
        return [
            policy
            for policy in actual.policies_by_pattern.get(exact_pattern(self.queue), ())
            if (self.keys & policy.definition.keys() or policy.priority == POLICY_PRIORITY)
            and (policy.name == name or policy.name.startswith(prefix))
        ]

    def replaced(self, actual: Topology) -> Policy | None:
        """Return the policy that the broker applies to the queue; for ours, the one that it repeats, if that exists."""
        applied = actual.policies.get(actual.queues[self.queue].policy or "")
        if applied is None or applied not in self.existing(actual):
            return applied
        _, _, replaced = applied.name.partition(self._prefix)
        return actual.policies.get(replaced)

    def policy(self, settings: Mapping[str, Any], replaced: Policy | None) -> Policy:
        """Return the policy with these settings and all others of the replaced policy."""
        definition = {**(replaced.definition if replaced is not None else {}), **settings}
        return Policy(self._name(replaced), exact_pattern(self.queue), "queues", definition)

    def _name(self, replaced: Policy | None) -> str:
        return f"{self.queue}.{self.purpose}" if replaced is None else f"{self._prefix}{replaced.name}"

    @property
    def _prefix(self) -> str:
        return f"{self.queue}.{self.purpose} over "
