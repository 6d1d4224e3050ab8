"""What a podTemplate may ask for: the Baseline profile of the Pod Security Standards, and allowed service accounts.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ is the source of the tables. Only the podTemplate
of the user is checked: the template of the operator meets the Restricted profile, and without any one of its defaults
it still meets Baseline.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from taskqueue_operator.resource.faults import Reason, WorkersFault

from .pod_template import ROOT

ANY: Final = "*"
"""Allows every service account."""


class PodSecurity(StrEnum):
    """Profile of the Pod Security Standards that worker pods must meet."""

    BASELINE = "baseline"
    PRIVILEGED = "privileged"


@dataclass(frozen=True, slots=True)
class PodLimits:
    """What the platform team allows worker pods to ask for.

    Attributes:
        security: The profile.
        service_accounts: Names that a podTemplate may set, in each namespace; `default` is always allowed.
    """

    security: PodSecurity = PodSecurity.BASELINE
    service_accounts: frozenset[str] = frozenset()


DEFAULT_LIMITS: Final = PodLimits()

Allowed = Callable[[object], bool]


def _one_of(*values: object) -> Allowed:
    return lambda value: value is None or value in values


_OFF: Final = _one_of(False)
_EMPTY: Final = _one_of("")
_CONFINED: Final = _one_of("RuntimeDefault", "Localhost")
_CAPABILITIES: Final = _one_of(
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
_SYSCTLS: Final = _one_of(
    *("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start"),
    *("net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports"),
    *("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"),
    *("net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"),
)
_EVERY_CONTEXT: Final[Mapping[str, Allowed]] = {
    "securityContext.seccompProfile.type": _CONFINED,
    "securityContext.appArmorProfile.type": _CONFINED,
    "securityContext.seLinuxOptions.type": _one_of(
        "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"
    ),
    "securityContext.seLinuxOptions.user": _EMPTY,
    "securityContext.seLinuxOptions.role": _EMPTY,
    "securityContext.windowsOptions.hostProcess": _OFF,
}
_POD: Final[Mapping[str, Allowed]] = {
    **_EVERY_CONTEXT,
    "hostNetwork": _OFF,
    "hostPID": _OFF,
    "hostIPC": _OFF,
    "volumes[].hostPath": _one_of(),
    "securityContext.sysctls[].name": _SYSCTLS,
}
_CONTAINER: Final[Mapping[str, Allowed]] = {
    **_EVERY_CONTEXT,
    "securityContext.privileged": _OFF,
    "securityContext.procMount": _one_of("Default"),
    "securityContext.capabilities.add[]": _CAPABILITIES,
    "ports[].hostPort": _one_of(0),
    **{
        f"{check}.{handler}.host": _EMPTY
        for check in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop")
        for handler in ("httpGet", "tcpSocket")
    },
}
_CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def check_pod_template(template: Mapping[str, Any] | None, limits: PodLimits) -> None:
    """Check a podTemplate.

    Raises:
        WorkersFault: The podTemplate asks for more than the limits allow.
    """
    spec = (template or {}).get("spec") or {}
    for name in ("serviceAccountName", "serviceAccount"):
        for path, account in _values(spec, name, f"{ROOT}.spec"):
            if account not in (None, "", "default") and not {ANY, str(account)} & limits.service_accounts:
                raise _forbidden(path, "selects a service account other than default", "workers.serviceAccounts")
    if limits.security is PodSecurity.BASELINE:
        for path in _violations(template or {}):
            raise _forbidden(path, "gives worker pods access to their node", "workers.podSecurity")


def _violations(template: Mapping[str, Any]) -> Iterator[str]:
    spec = template.get("spec") or {}
    yield from _not_allowed(spec, _POD, f"{ROOT}.spec")
    for name in _CONTAINER_LISTS:
        for path, container in _values(spec, f"{name}[]", f"{ROOT}.spec"):
            yield from _not_allowed(container, _CONTAINER, path)
    for path, annotations in _values(template, "metadata.annotations", ROOT):
        for name, profile in annotations.items() if isinstance(annotations, dict) else ():
            if name.startswith(_APPARMOR) and not str(profile).startswith(("runtime/", "localhost/")):
                yield f"{path}[{_APPARMOR}*]"


def _not_allowed(node: object, table: Mapping[str, Allowed], path: str) -> Iterator[str]:
    for field, allowed in table.items():
        yield from (found for found, value in _values(node, field, path) if not allowed(value))


def _values(node: object, field: str, path: str) -> Iterator[tuple[str, object]]:
    """Yield path and value of each field of that name, `[]` for every element of a list.

    A node of another type has no fields: the API server refuses it.
    """
    name, _, rest = field.partition(".")
    key, is_list = name.removesuffix("[]"), name.endswith("[]")
    value = node.get(key) if isinstance(node, dict) else None
    if is_list:
        found = [
            (f"{path}.{key}[{index}]", element)
            for index, element in enumerate(value if isinstance(value, list) else ())
        ]
    else:
        found = [(f"{path}.{key}", value)]
    for inner, element in found:
        yield from _values(element, rest, inner) if rest else [(inner, element)]


def _forbidden(path: str, effect: str, chart_value: str) -> WorkersFault:
    return WorkersFault(
        Reason.POD_TEMPLATE_FORBIDDEN,
        f"{path} {effect}, which this operator does not allow. Remove it, or have it allowed by the chart value "
        f"{chart_value}.",
        terminal=True,
    )
