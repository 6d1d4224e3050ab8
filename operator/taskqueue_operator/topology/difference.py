"""From what should be and what is to the steps between, and to the faults that no step may mend."""

from dataclasses import dataclass

from .objects import Binding, Exchange, Policy, Queue


@dataclass(frozen=True, slots=True)
class Declare:
    """Make an object that is missing; for a policy: write it."""

    what: Exchange | Queue | Binding | Policy


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an object; one that is gone already counts as removed."""

    what: Exchange | Queue | Binding | Policy


Step = Declare | Remove
