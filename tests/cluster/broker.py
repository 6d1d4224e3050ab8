"""RabbitMQ as a plain process of this machine."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from tests.cluster import debian, ports
from tests.cluster.certificates import Authority
from tests.cluster.debian import NEWEST_RABBITMQ
from tests.cluster.prerequisites import need_root
from tests.cluster.processes import Processes, children, descendants
from tests.cluster.progress import until

PLUGINS = "[rabbitmq_management,rabbitmq_prometheus,rabbitmq_consistent_hash_exchange,rabbitmq_shovel].\n"
COMMON_CONFIGURATION = "loopback_users = none\ndisk_free_limit.absolute = 50MB\n"
STOP_SECONDS = 30
"""The default grace period of Kubernetes; a node alone takes a second or two, also on a busy machine."""
_PROGRAMS = "/usr/lib/rabbitmq/bin"

# Runs in mount and process namespaces of its own: when its first process goes, so do Erlang's helpers and the mounts.
_INTO_THE_TREE = """
set -eu
tree=$1 directory=$2; shift 2
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --bind "$directory/data" "$tree/var/lib/rabbitmq"
mount --bind "$directory/etc" "$tree/etc/rabbitmq"
exec chroot --userspec=rabbitmq:rabbitmq "$tree" "$@"
"""


@dataclass(frozen=True)
class _Ports:
    amqp: int
    management: int
    distribution: int
    epmd: int
    prometheus: int


@dataclass(frozen=True)
class Placement:
    """The place of a node: alone on the loopback of this machine, or at an address of a network with other nodes."""

    address: str = "127.0.0.1"  # where other nodes find it
    enter: tuple[str, ...] = ()  # put before each command
    cookie: str | None = None  # what nodes of one cluster share
    configuration: str = ""
    erlang: str = ""  # more arguments of the virtual machine

    @property
    def is_alone(self) -> bool:
        """Whether the node is not part of a cluster."""
        return self.cookie is None


class _Start:
    """`Broker.start(directory)` makes a broker; `broker.start()` starts it again after `stop` or `kill`."""

    @overload
    def __get__(self, broker: None, kind: "type[Broker]") -> "Callable[..., Broker]": ...
    @overload
    def __get__(self, broker: "Broker", kind: "type[Broker]") -> Callable[[], None]: ...
    def __get__(self, broker: "Broker | None", kind: "type[Broker]") -> "Callable[..., Broker | None]":
        return broker._boot if broker else kind._make


class Broker:
    """One RabbitMQ node on the loopback, with data, name and ports of its own; user and password are guest.

    `tls` moves both listeners to TLS, with a certificate for localhost signed by `ca_file`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: bool = False,
        version: str = NEWEST_RABBITMQ,
        placement: Placement | None = None,
    ) -> None:
        need_root()
        self.directory = directory
        self.version = version
        self.placement = placement or Placement()
        self.processes = Processes(directory)
        self._tls = tls
        self._ports = _Ports(*ports.free(5))
        if not self.placement.is_alone:  # the others must know them, and the network is its own
            self._ports = replace(self._ports, distribution=25672, epmd=4369)
        self.amqp_port = self._ports.amqp
        self.management_port = self._ports.management
        self.prometheus_port = self._ports.prometheus
        self.ca_file = directory / "certificates/ca.crt"
        host, secure = ("localhost", "s") if tls else ("127.0.0.1", "")
        self.url = f"amqp{secure}://guest:guest@{host}:{self.amqp_port}/"
        self.management_url = f"http{secure}://{host}:{self.management_port}"

    start = _Start()

    @property
    def is_up(self) -> bool:
        """Whether the node runs, paused or not."""
        return self.processes.pid("rabbitmq") is not None

    @property
    def name(self) -> str:
        """The node name of Erlang."""
        return f"rabbit-{self.amqp_port}@localhost" if self.placement.is_alone else f"rabbit@{self.placement.address}"

    @property
    def _tree(self) -> Path:
        return debian.rabbitmq(self.version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.stop_all(grace=0)

    def stop(self) -> None:
        """Shut down as the kubelet does: a node that hangs while it stops is killed after STOP_SECONDS.

        Durable queues and persistent messages stay.
        """
        self._signal_beam(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            until(lambda: not self.is_up, "RabbitMQ stopped", seconds=STOP_SECONDS)
        self.processes.stop("rabbitmq", grace=0)

    def kill(self) -> None:
        """End it without warning."""
        self.processes.stop("rabbitmq", grace=0)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal_beam(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal_beam(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """The output of rabbitmqctl, which takes a second or two."""
        inside = children(self._unshare())[0]
        entered = ["nsenter", f"--target={inside}", "--mount", "--net", "--pid", "--"]
        chroot = ["chroot", "--userspec=rabbitmq:rabbitmq", str(self._tree)]
        command = ["env", *self._environment(), f"{_PROGRAMS}/rabbitmqctl", "--quiet", *arguments]
        done = subprocess.run(
            [*entered, *chroot, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {' '.join(arguments)}: {(done.stderr + done.stdout).strip()}")
        return done.stdout

    @classmethod
    def _make(cls, directory: Path, *, tls: bool = False, version: str = NEWEST_RABBITMQ) -> "Broker":
        broker = cls(directory, tls=tls, version=version)
        broker.boot()
        return broker

    def boot(self) -> None:
        """Start it for the first time; it goes when this process goes."""
        self._write_files()
        self.processes.guard()
        self._boot()

    def _boot(self) -> None:
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--"]
        script = ["sh", "-c", _INTO_THE_TREE, "broker", str(self._tree), str(self.directory)]
        server = ["env", *self._environment(), f"{_PROGRAMS}/rabbitmq-server"]
        self.processes.spawn("rabbitmq", [*self.placement.enter, *apart, *script, *server])
        try:
            until(self._answers, "RabbitMQ answers", seconds=180, every=0.1)
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{self.processes.tails()}") from None

    def _write_files(self) -> None:
        owner = (self._tree / "var/lib/rabbitmq").stat()
        for name in ("etc", "data"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            os.chown(self.directory / name, owner.st_uid, owner.st_gid)
        if self._tls:
            authority = Authority(self.ca_file.parent)
            certificate = authority.issue("server", "localhost", hosts=["localhost", "127.0.0.1"])
            for file in (authority.certificate_file, certificate, certificate.with_suffix(".key")):
                copy = self.directory / "etc" / file.name
                copy.write_bytes(file.read_bytes())
                os.chown(copy, owner.st_uid, owner.st_gid)
        (self.directory / "etc/enabled_plugins").write_text(PLUGINS)
        parts = (COMMON_CONFIGURATION, self._listeners(), self.placement.configuration)
        (self.directory / "etc/rabbitmq.conf").write_text("".join(parts))
        if self.placement.cookie:
            cookie = self.directory / "data/.erlang.cookie"
            cookie.write_text(self.placement.cookie)
            cookie.chmod(0o400)
            os.chown(cookie, owner.st_uid, owner.st_gid)

    def _listeners(self) -> str:
        lines = [f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {self.prometheus_port}"]
        if not self._tls:
            lines += [f"listeners.tcp.1 = 127.0.0.1:{self.amqp_port}"]
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.management_port}"]
            return "\n".join(lines) + "\n"
        lines += ["listeners.tcp = none", f"listeners.ssl.1 = 127.0.0.1:{self.amqp_port}"]
        lines += ["management.ssl.ip = 127.0.0.1", f"management.ssl.port = {self.management_port}"]
        files = {"cacertfile": "ca.crt", "certfile": "server.crt", "keyfile": "server.key"}
        for section in ("ssl_options", "management.ssl"):
            lines += [f"{section}.{option} = /etc/rabbitmq/{name}" for option, name in files.items()]
        return "\n".join(lines) + "\n"

    def _environment(self) -> list[str]:
        # All on the loopback and all Erlang knows about its ports is its own, so that brokers alone never meet.
        quiet = "+sbwt none +sbwtdcpu none +sbwtdio none"
        interface = f"-kernel inet_dist_use_interface {{{self.placement.address.replace('.', ',')}}}"
        return [
            "HOME=/var/lib/rabbitmq",
            "LANG=C.UTF-8",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            f"RABBITMQ_NODENAME={self.name}",
            f"RABBITMQ_USE_LONGNAME={str(not self.placement.is_alone).lower()}",
            f"ERL_EPMD_PORT={self._ports.epmd}",
            f"ERL_EPMD_ADDRESS={self.placement.address}",
            f"RABBITMQ_DIST_PORT={self._ports.distribution}",
            f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={quiet} {interface} {self.placement.erlang}",
            "RABBITMQ_LOGS=-",
        ]

    def _answers(self) -> bool:
        if not self.is_up:
            raise RuntimeError(f"RabbitMQ ended\n{self.processes.tails()}")
        if not ports.answers(self.amqp_port):
            return False
        context = ssl.create_default_context(cafile=self.ca_file) if self._tls else None
        request = urllib.request.Request(  # noqa: S310 - our own URL
            f"{self.management_url}/api/overview",
            headers={"Authorization": f"Basic {b64encode(b'guest:guest').decode()}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310 - our own URL
                return bool(json.load(answer)["node"])
        except OSError:
            return False

    def _unshare(self) -> int:
        pid = self.processes.pid("rabbitmq")
        if pid is None:
            raise RuntimeError("the broker does not run")
        return pid

    def _signal_beam(self, number: signal.Signals) -> None:
        for pid in descendants(self._unshare()):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # a helper of the beam, which has ended
                if Path(f"/proc/{pid}/comm").read_text().startswith("beam"):
                    os.kill(pid, number)
