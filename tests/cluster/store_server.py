"""Redis and PostgreSQL as plain processes of this machine, each with data and a port of its own."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from typing_extensions import override

from tests.cluster import debian, ports
from tests.cluster.prerequisites import need_root
from tests.cluster.processes import Processes, descendants
from tests.cluster.progress import until

# Runs in mount and process namespaces of its own: when its first process goes, so do all others and the mounts.
_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
_INTO_THE_TREE = """
set -eu
tree=$1 data=$2 user=$3; shift 3
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --bind "$data" "$tree/srv"
chroot "$tree" chown "$user:$user" /srv
exec chroot --userspec="$user:$user" "$tree" "$@"
"""


class StoreServer:
    """One server on the loopback. It goes when this process goes."""

    program: ClassVar[str]
    """Name of the server, and of the user of Debian under which it runs: PostgreSQL refuses root."""

    def __init__(self, directory: Path) -> None:
        need_root()
        self.directory = directory
        self.processes = Processes(directory)
        (self.port,) = ports.free(1)
        self._tree = debian.stores()

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Make a server and its data, and wait until it answers."""
        server = cls(directory)
        (directory / "data").mkdir(parents=True)
        server.prepare()
        server.processes.guard()
        server.boot()
        return server

    def prepare(self) -> None:
        """Make the data."""

    def command(self) -> list[str]:
        """Return the command of the server, in its tree. Its data is at /srv."""
        raise NotImplementedError

    def probe(self) -> list[str]:
        """Return the command that succeeds when the server serves clients."""
        raise NotImplementedError

    def boot(self) -> None:
        """Start it, also again after `kill`, and wait until it answers."""
        self.processes.spawn(self.program, self._inside(*self.command()))
        until(self._answers, f"{self.program} answers", seconds=60, every=0.05)

    def kill(self) -> None:
        """End it without warning. What it has confirmed stays."""
        self.processes.stop(self.program, grace=0)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.stop_all(grace=0)

    def _answers(self) -> bool:
        if self.processes.pid(self.program) is None:
            raise RuntimeError(f"{self.program} ended\n{self.processes.tails()}")
        probe = ["chroot", str(self._tree), *self.probe()]
        return subprocess.run(probe, check=False, stdout=subprocess.DEVNULL).returncode == 0

    def _inside(self, *command: str) -> list[str]:
        script = ["sh", "-c", _INTO_THE_TREE, self.program, str(self._tree), str(self.directory / "data"), self.program]
        return [*_APART, *script, *command]

    def _signal(self, number: signal.Signals) -> None:
        for pid in descendants(self.processes.pid(self.program) or 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Redis(StoreServer):
    """A Redis that writes each change to its log."""

    program = "redis"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    @override
    def command(self) -> list[str]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", "/srv"]
        return ["/usr/bin/redis-server", *place, "--appendonly", "yes", "--save", "", "--daemonize", "no"]

    @override
    def probe(self) -> list[str]:
        return ["/usr/bin/redis-cli", "-e", "-p", str(self.port), "ping"]


class PostgreSQL(StoreServer):
    """A PostgreSQL with the database `postgres`, whose user `postgres` needs no password."""

    program = "postgres"
    _PROGRAMS = "/usr/lib/postgresql/17/bin"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @override
    def prepare(self) -> None:
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--username=postgres"]
        made = self._inside(f"{self._PROGRAMS}/initdb", "-D", "/srv", *options)
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)

    @override
    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # the machine does not crash in a test, only the server
        }
        return [
            f"{self._PROGRAMS}/postgres",
            "-D",
            "/srv",
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]

    @override
    def probe(self) -> list[str]:
        return [f"{self._PROGRAMS}/pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
