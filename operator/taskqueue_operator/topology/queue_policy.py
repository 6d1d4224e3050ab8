"""Policies of the operator for one queue.

RabbitMQ applies only one policy to a queue. So ours repeats the definition of the policy that it replaces, and its name
contains the name of that policy: a later change of that policy is repeated too. Only the broker evaluates patterns; it
lists which policy it applies to a queue. So ours is written once the queue exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, TopologyFault

from .objects import POLICY_PRIORITY, Policy, Topology, exact_pattern

Definition = Mapping[str, Any]
_OVER: Final = " over "
"""Stands in the name of a policy before that of the policy that it repeats."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one part of the spec needs of the policy that the broker applies to a queue.

    Attributes:
        purpose: Part of the name of the policy.
        settings: The settings that fulfil it.
        need: Beginning of a message: what needs these settings.
        way_out: End of that message: how to do without them.
    """

    purpose: str
    settings: Definition
    need: str
    way_out: str

    def is_met_by(self, definition: Definition) -> bool:
        """Whether a policy with this definition does."""
        return self.settings.items() <= definition.items()


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The policy for one queue.

    Attributes:
        queue: Name of the queue.
        purposes: All purposes that the policy may have, and the settings of each. The name of the policy contains the
            first one that it has, and the policy has one of the settings of that one at least.
    """

    queue: str
    purposes: Mapping[str, frozenset[str]]

    def required(self, requirements: Sequence[Requirement], actual: Topology) -> Policy | None:
        """Return the policy that fulfils all requirements; None if none is needed, or the queue does not exist yet.

        Raises:
            TopologyFault: The policy would have no effect, because another one has at least the same priority.
        """
        if self.queue not in actual.queues:
            return None
        replaced = self.replaced(actual)
        definition = replaced.definition if replaced is not None else {}
        unmet = [requirement for requirement in requirements if not requirement.is_met_by(definition)]
        if not unmet:
            return None
        if replaced is not None and replaced.priority >= POLICY_PRIORITY:
            raise _displaced(unmet[0], replaced)
        settings = {key: value for requirement in unmet for key, value in requirement.settings.items()}
        name = self._name(unmet[0].purpose, replaced)
        return Policy(name, exact_pattern(self.queue), "queues", {**definition, **settings})

    def existing(self, actual: Topology) -> Sequence[Policy]:
        """Return the existing policies, with any values; two while the replaced policy or the purpose changes.

        One of the operator's priority is such a policy, even if another client has removed the settings from it.
        """
        return [
            policy
            for policy in actual.policies_by_pattern.get(exact_pattern(self.queue), ())
            if (purpose := self._purpose(policy)) is not None
            and (self.purposes[purpose] & policy.definition.keys() or policy.priority == POLICY_PRIORITY)
        ]

    def replaced(self, actual: Topology) -> Policy | None:
        """Return the policy that the broker applies to the queue; for ours, the one that it repeats, if that exists."""
        applied = actual.policies.get(actual.queues[self.queue].policy or "")
        if applied is None or applied not in self.existing(actual):
            return applied
        own = self._name(self._purpose(applied) or "")
        return actual.policies.get(applied.name.removeprefix(own).removeprefix(_OVER))

    def _purpose(self, policy: Policy) -> str | None:
        """Return the purpose that the name of a policy contains; None if it is no name of the operator."""
        names = ((purpose, self._name(purpose)) for purpose in self.purposes)
        return next(
            (purpose for purpose, own in names if policy.name == own or policy.name.startswith(own + _OVER)), None
        )

    def _name(self, purpose: str, replaced: Policy | None = None) -> str:
        own = f"{self.queue}.{purpose}"
        return own if replaced is None else own + _OVER + replaced.name


def shown(settings: Definition) -> str:
    """Return settings as a message shows them."""
    return ", ".join(f"{key}: {value if value != '' else '(empty)'}" for key, value in settings.items())


def _displaced(unmet: Requirement, other: Policy) -> TopologyFault:
    return TopologyFault(
        Reason.POLICY_CONFLICT,
        f'{unmet.need}, and policy "{other.name}" of priority {other.priority} displaces the operator\'s policy of '
        f"priority {POLICY_PRIORITY}. Set {shown(unmet.settings)} in that policy, lower its priority, or "
        f"{unmet.way_out}.",
        terminal=True,
    )
