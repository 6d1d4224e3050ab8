"""kopf as informer and process lifecycle, and nothing more: its events feed the controller."""

from collections.abc import Callable, Coroutine, Iterator
from itertools import chain, repeat
from typing import Any

import kopf
from typing_extensions import override

from taskqueue_operator.control.controller import Controller
from taskqueue_operator.kube.bounded_objects import log_ignored
from taskqueue_operator.resource.bounds import BEYOND_BOUNDS, LIST_PAGE_OBJECTS
from taskqueue_operator.resource.names import GROUP, KIND, LABEL_NAME, PLURAL, VERSION

from .controller_task import ControllerTask
from .watch_session import login


def registry(controller: Controller, task: ControllerTask) -> kopf.OperatorRegistry:
    """Register the watches. A handler updates the cache and enqueues a key: it does no I/O and cannot fail."""
    handlers = kopf.OperatorRegistry()

    def feed(on_event: Callable[..., None]) -> Callable[..., Coroutine[None, None, None]]:
        # Not a plain function: kopf would run it in a thread, outside of the event loop and out of order.
        async def handler(*, type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002, ANN401  kopf's own names
            if body.get("kind") != KIND and BEYOND_BOUNDS in body:
                log_ignored(body)
            else:
                on_event(dict(body), deleted=type == "DELETED")

        return handler

    kopf.on.startup(registry=handlers)(task.start)
    kopf.on.cleanup(registry=handlers)(task.end)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, id="taskqueue")(feed(controller.on_taskqueue))
    kopf.on.event("apps", "v1", "deployments", registry=handlers, id="deployment", labels={LABEL_NAME: kopf.PRESENT})(
        feed(controller.on_deployment)
    )
    kopf.on.event("", "v1", "pods", registry=handlers, id="pod", labels={LABEL_NAME: kopf.PRESENT})(
        feed(controller.on_pod)
    )
    kopf.on.login(registry=handlers)(login)
    return handlers


class Backoffs:
    """Delays between the attempts of a request, without end: a namespace that is deleted must not end the others."""

    def __iter__(self) -> Iterator[float]:
        """Return the delays in seconds."""
        return chain((1, 2, 3, 5, 8, 15), repeat(30))


class NoDiffs(kopf.DiffBaseStorage):
    """Saves a third of the cost of an event: kopf computes differences even when no handler uses them."""

    @override
    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, *, body: kopf.Body) -> None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        raise NotImplementedError("no registered handler stores a difference")


def settings() -> kopf.OperatorSettings:
    """Return kopf settings for an informer of thousands of objects; docs/adr/0001 has the measurements."""
    tuned = kopf.OperatorSettings()
    tuned.peering.standalone = True
    tuned.scanning.disabled = True
    tuned.watching.label_selectors["apps", "v1", "deployments"] = LABEL_NAME
    tuned.watching.label_selectors["", "v1", "pods"] = LABEL_NAME
    tuned.watching.chunk_size = LIST_PAGE_OBJECTS
    tuned.watching.connect_timeout = 10
    tuned.networking.connect_timeout = 5
    tuned.networking.request_timeout = 30
    tuned.networking.error_backoffs = Backoffs()
    # Change both together: a worker holds its slot for idle_timeout, so one without the other throttles or floods.
    tuned.queueing.worker_limit = 200
    tuned.queueing.idle_timeout = 0.2
    tuned.posting.enabled = False
    tuned.persistence.diffbase_storage = NoDiffs()
    tuned.process.ultimate_exiting_timeout = None  # `exit_deadline` ends the process in time
    return tuned
