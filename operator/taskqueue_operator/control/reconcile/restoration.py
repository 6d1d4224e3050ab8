"""When the Deployment is restored after another client has changed it: at once, and then less and less often."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from taskqueue_operator.control.reconcile_state import ReconcileState, Restoration
from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.faults import Reason, WorkersFault
from taskqueue_operator.resource.names import ANNOTATION_APPLIED
from taskqueue_operator.workers.api_objects import Deployment
from taskqueue_operator.workers.ownership import lost_fields

RESTORATIONS: Final = Backoff(first_seconds=10.0, longest_seconds=600.0)
"""Time between restorations of a Deployment that another client changes again and again: each is a rollout."""
PEACE: Final = timedelta(hours=1)
"""After so long without a restoration, the next one does not wait."""
_FIELDS_SHOWN: Final = 3
_WAY_OUT: Final = "These fields follow from spec.worker of the TaskQueue: change them there, and stop other changes."


def taken_fields(manifest: dict[str, Any], deployment: Deployment, state: ReconcileState) -> dict[str, str]:
    """Return the fields that another client has changed or removed, and its name as far as it is known.

    A field without an owner was removed, unless an operator of another version has applied another manifest.
    """
    if not deployment.field_owners:
        return {}
    same_manifest = manifest["metadata"]["annotations"][ANNOTATION_APPLIED] == deployment.applied_digest
    return {
        path: manager
        for path, manager in lost_fields(manifest, deployment.field_owners).items()
        if (manager or same_manifest) and path not in state.unowned_fields
    }


def next_restoration(
    deployment: Deployment, taken: Mapping[str, str], last: Restoration | None, now: datetime
) -> Restoration:
    """Return the restoration that is due now.

    Raises:
        WorkersFault: Another client has changed the Deployment again, and it is too early to restore it.
    """
    shown = {path: manager for path, manager in taken.items() if manager} or taken
    fields = ", ".join([path.removeprefix(".") for path in sorted(shown)][:_FIELDS_SHOWN])
    who = " and ".join(sorted({f'"{manager}"' for manager in shown.values() if manager})) or "Another client"
    if last is None or now - last.at > PEACE:
        message = f"{who} changed {fields} of Deployment {deployment.key}, and the operator restored it. {_WAY_OUT}"
        return Restoration(now, 1, message)
    message = f"{who} changes {fields} of Deployment {deployment.key} again and again. {_WAY_OUT}"
    if now - last.at < timedelta(seconds=RESTORATIONS.seconds(last.times - 1)):
        raise WorkersFault(Reason.FIELD_CONFLICT, message)
    return Restoration(now, last.times + 1, message)
