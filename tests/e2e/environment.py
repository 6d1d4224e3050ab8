"""What all end-to-end tests share, made once for all processes of a run: a cluster, a broker in it, the operator."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from subprocess import SubprocessError
from threading import Event, Thread

from tests.cluster import images, locks
from tests.cluster.cluster_lease import BROKER, ClusterLease, lease_cluster
from tests.cluster.installation import install_operator
from tests.cluster.prerequisites import MissingError

_PART = "end-to-end"
_IMAGES: tuple[images.Name, ...] = ("operator", "sample", "celery", "worker", "shop")


def start_broker(lease: ClusterLease) -> None:
    """Start the broker, and wait until it is ready."""
    lease.once("broker", lambda: lease.cluster.rabbitmq(BROKER))


def start_operator(lease: ClusterLease) -> None:
    """Install the operator of this checkout, and wait until it is ready."""
    lease.once("operator", lambda: install_operator(lease.cluster))


class EarlyStart:
    """Starts all of it when the run begins, in the process that distributes the tests, and keeps it until the run ends.

    Tests that need none of it run meanwhile. A failure is not reported here: the tests meet it again.
    """

    def __init__(self) -> None:
        self._ended = Event()
        self._thread = Thread(target=self._keep, name="end-to-end environment", daemon=True)

    def begin(self) -> None:
        """Start it in the background."""
        self._thread.start()

    def end(self) -> None:
        """Leave the cluster as it was found, unless another process still uses it."""
        self._ended.set()
        self._thread.join()

    def _keep(self) -> None:
        with suppress(MissingError, RuntimeError, OSError, SubprocessError), lease_cluster() as lease:
            for name in _IMAGES:
                lease.cluster.load(images.build(name))
            start_broker(lease)
            start_operator(lease)
            self._ended.wait()


class Access:
    """Tests of tenants run side by side; a test marked `exclusive` has operator and broker for itself."""

    def __init__(self) -> None:
        self._alone = ExitStack()
        self._is_alone = False

    @contextmanager
    def during(self, *, exclusive: bool, next_exclusive: bool) -> Iterator[None]:
        """Run one test inside; exclusive tests in a row keep what they have.

        Args:
            exclusive: Whether the test disturbs what others use.
            next_exclusive: Whether the test that this process runs next does.
        """
        if not exclusive:
            with locks.shared(_PART):
                yield
            return
        if not self._is_alone:
            self._alone.enter_context(locks.exclusive(_PART))
            self._is_alone = True
        try:
            yield
        finally:
            if not next_exclusive:
                self._alone.close()
                self._is_alone = False
