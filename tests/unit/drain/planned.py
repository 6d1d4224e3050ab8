"""A plan with its actions by kind, so that a test asserts on the kind it is about."""

from dataclasses import dataclass

from taskqueue_operator.drain.actions import (
    Action,
    RestoreReplicas,
    ScaleIn,
    SendCommand,
    WriteDeletionCost,
    WriteDrainToken,
)
from taskqueue_operator.drain.plan import Plan
from taskqueue_operator.drain.protocol import Verb
from taskqueue_operator.drain.scale_in import Blocker
from taskqueue_operator.drain.worker import Worker


@dataclass(frozen=True)
class Planned:
    """Workers and pods are named by letters: "ac" stands for the workers a and c."""

    plan: Plan

    @property
    def actions(self) -> tuple[Action, ...]:
        return self.plan.actions

    @property
    def blocked_by(self) -> Blocker:
        return self.plan.blocked_by

    @property
    def unreported_pods(self) -> str:
        return "".join(key.name for key in self.plan.unreported_pods)

    @property
    def drains(self) -> str:
        return self._names(Verb.DRAIN)

    @property
    def undrains(self) -> str:
        return self._names(Verb.UNDRAIN)

    @property
    def report_requests(self) -> str:
        return self._names(Verb.REPORT)

    @property
    def costs(self) -> dict[str, int | None]:
        return {action.pod.uid: action.cost for action in self.actions if isinstance(action, WriteDeletionCost)}

    @property
    def scale_in_to(self) -> int | None:
        return next((action.replicas for action in self.actions if isinstance(action, ScaleIn)), None)

    @property
    def restore_to(self) -> int | None:
        return next((action.replicas for action in self.actions if isinstance(action, RestoreReplicas)), None)

    @property
    def token_update(self) -> tuple[str, str] | None:
        """The drain annotation before and after."""
        updates = (action for action in self.actions if isinstance(action, WriteDrainToken))
        return next(((update.before, update.after) for update in updates), None)

    def workers(self, *verbs: Verb) -> list[Worker]:
        """Return the workers that are sent one of these commands, or any command."""
        commands = (action for action in self.actions if isinstance(action, SendCommand))
        return [command.worker for command in commands if not verbs or command.verb in verbs]

    def _names(self, verb: Verb) -> str:
        return "".join(sorted(worker.uid for worker in self.workers(verb)))
