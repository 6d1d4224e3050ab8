"""Watched namespaces that cannot be listed, while the others are served."""

from http import HTTPStatus

import structlog

from taskqueue_operator.resource.faults import Fault

from .faults import ApiError, unavailable

_log = structlog.get_logger("namespaces")


class ForbiddenNamespaces:
    """Remembers which namespaces the API server refuses to list: with a namespace, its Role is deleted."""

    def __init__(self) -> None:
        self._faults: dict[tuple[str, str], Fault] = {}

    def add(self, plural: str, namespace: str | None, error: ApiError) -> None:
        """Record a namespace whose objects cannot be listed.

        Raises:
            Fault: The error is not one of this namespace alone.
        """
        fault = unavailable(f"list {plural}" + (f" of namespace {namespace}" if namespace else ""), error)
        if namespace is None or error.status != HTTPStatus.FORBIDDEN:
            raise fault
        if namespace not in self.namespaces():
            _log.warning(
                "namespace not served",
                namespace=namespace,
                detail=f"{fault.message} If the namespace does not exist, remove it from TASKQUEUE_NAMESPACES.",
            )
        self._faults[plural, namespace] = fault

    def remove(self, plural: str, namespace: str | None) -> None:
        """Record that the objects of a namespace were listed."""
        if (
            namespace is not None
            and self._faults.pop((plural, namespace), None) is not None
            and namespace not in self.namespaces()
        ):
            _log.info("namespace served again", namespace=namespace)

    def namespaces(self) -> frozenset[str]:
        """Return the namespaces that cannot be listed."""
        return frozenset(namespace for _, namespace in self._faults)

    def fault(self) -> Fault:
        """Return the fault of one of the namespaces."""
        return next(iter(self._faults.values()))
