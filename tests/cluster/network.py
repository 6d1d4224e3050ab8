"""Hosts on a switch, as network namespaces; every host can be isolated from the others."""

import ctypes
import os
import socket
import subprocess
from pathlib import Path

from tests.cluster.processes import Processes
from tests.cluster.progress import until

_CLONE_NEWNET = 0x40000000
_HOLD = "ip link set lo up; echo up; exec sleep infinity"


class Host:
    """One end of a cable: a network namespace with its own address and loopback."""

    def __init__(self, processes: Processes, number: int) -> None:
        self.name = f"host{number}"
        self.address = f"192.0.2.{number}"
        self._processes = processes

    @property
    def namespace(self) -> Path:
        """The network, as a file."""
        return Path(f"/proc/{self._processes.pid(self.name)}/ns/net")

    @property
    def enter(self) -> tuple[str, ...]:
        """The prefix of a command that runs in this namespace."""
        return ("nsenter", f"--net={self.namespace}", "--")

    def socket(self) -> socket.socket:
        """Make a TCP socket in this namespace. It stays there, whichever process uses it."""
        with open("/proc/thread-self/ns/net") as own, self.namespace.open() as other:  # noqa: PTH123 - descriptors
            _set_namespace(other.fileno())
            try:
                return socket.socket()
            finally:
                _set_namespace(own.fileno())


class Network:
    """Hosts 192.0.2.1, .2 and so on, which go with their `processes`."""

    def __init__(self, processes: Processes, hosts: int) -> None:
        self._processes = processes
        self.hosts = [Host(processes, number) for number in range(1, hosts + 1)]

    def start(self) -> None:
        """Make the switch and plug the hosts in."""
        for name in ("switch", *(host.name for host in self.hosts)):
            self._processes.spawn(name, ["unshare", "--net", "--", "sh", "-ec", _HOLD])
            log = self._processes.log(name)
            until(lambda log=log: "up" in log.read_text(), f"{name} is there", seconds=120)  # type: ignore[misc]  # mypy knows no type for a default
        self._in_switch("ip link add switch type bridge", "ip link set switch up")
        for host in self.hosts:
            pid = self._processes.pid(host.name)
            self._in_switch(f"ip link add {host.name} type veth peer name eth0 netns {pid}")
            _run(host.enter, f"ip address add {host.address}/24 dev eth0", "ip link set eth0 up")
            self.plug(host)

    def unplug(self, host: Host) -> None:
        """Isolate the host silently: packets in both directions are lost, and the link stays up."""
        self._in_switch(f"ip link set {host.name} nomaster")

    def plug(self, host: Host) -> None:
        """Undo `unplug`."""
        self._in_switch(f"ip link set {host.name} master switch up")

    def _in_switch(self, *commands: str) -> None:
        _run(("nsenter", f"--net=/proc/{self._processes.pid('switch')}/ns/net", "--"), *commands)


def _run(enter: tuple[str, ...], *commands: str) -> None:
    for command in commands:
        subprocess.run([*enter, *command.split()], stdin=subprocess.DEVNULL, check=True, timeout=120)


def _set_namespace(descriptor: int) -> None:
    # Of this thread alone.
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
