"""The settings of the operator, read from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from taskqueue_operator.rabbitmq.broker_hosts import BrokerHosts
from taskqueue_operator.resource.names import MANAGER, Key
from taskqueue_operator.workers.pod_security import DEFAULT_LIMITS, PodLimits, PodSecurity

LEVELS = ("debug", "info", "warning", "error")
LEASE = Key("default", MANAGER)


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one operator.

    Attributes:
        installation: Marks the broker objects that this operator owns; a rebuilt cluster with the same name
            owns them again.
        namespaces: The namespaces to watch; empty means all.
        http_port: Where /livez, /readyz and /metrics are served.
        log_level: The least severe lines to write.
        lease: The Lease by which several processes elect a leader.
        identity: Identifies this process in the Lease: the same after a restart, and never that of another process.
            Empty means a new one at each start.
        pod_limits: What a podTemplate may ask for.
        broker_hosts: The hosts that may be contacted as brokers, as entries of `BrokerHosts`.
    """

    installation: str = "default"
    namespaces: tuple[str, ...] = ()
    http_port: int = 8080
    log_level: str = "info"
    lease: Key = LEASE
    identity: str = ""
    pod_limits: PodLimits = DEFAULT_LIMITS
    broker_hosts: tuple[str, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment.

        Raises:
            ValueError: A variable is invalid; the message names it.
        """
        port, level = environment.get("TASKQUEUE_HTTP_PORT", "8080"), environment.get("TASKQUEUE_LOG_LEVEL", "info")
        if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004  the highest port there is
            raise ValueError(f"TASKQUEUE_HTTP_PORT: {port!r} is not a port. Set a number up to 65535.")
        if level not in LEVELS:
            raise ValueError(f"TASKQUEUE_LOG_LEVEL: {level!r} is not a level. Set one of {', '.join(LEVELS)}.")
        lease = (environment.get("TASKQUEUE_LEASE") or str(LEASE)).split("/")
        if len(lease) != 2 or not all(lease):  # noqa: PLR2004  namespace and name
            raise ValueError(f"TASKQUEUE_LEASE: {'/'.join(lease)!r} names no Lease. Set it to NAMESPACE/NAME.")
        return cls(
            installation=environment.get("TASKQUEUE_INSTALLATION") or "default",
            namespaces=_names(environment, "TASKQUEUE_NAMESPACES"),
            http_port=int(port),
            log_level=level,
            lease=Key(*lease),
            identity=environment.get("TASKQUEUE_IDENTITY", ""),
            pod_limits=_pod_limits(environment),
            broker_hosts=_broker_hosts(environment),
        )


def _names(environment: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, environment.get(variable, "").split(","))))


def _pod_limits(environment: Mapping[str, str]) -> PodLimits:
    security = environment.get("TASKQUEUE_POD_SECURITY") or PodSecurity.BASELINE
    if security not in list(PodSecurity):
        choices = ", ".join(PodSecurity)
        raise ValueError(f"TASKQUEUE_POD_SECURITY: {security!r} is not a profile. Set one of {choices}.")
    return PodLimits(PodSecurity(security), frozenset(_names(environment, "TASKQUEUE_SERVICE_ACCOUNTS")))


def _broker_hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    entries = _names(environment, "TASKQUEUE_BROKER_HOSTS")
    try:
        BrokerHosts(entries)
    except ValueError as error:
        raise ValueError(f"TASKQUEUE_BROKER_HOSTS: {error} Set names, such as *.example.com, or networks.") from None
    return entries
