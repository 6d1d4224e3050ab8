"""What all end-to-end tests share, made once for all processes of a run: a cluster, a broker in it, the operator."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from subprocess import SubprocessError
from threading import Event, Thread

from tests.cluster import images, locks
from tests.cluster.installation import install_operator
from tests.cluster.loan import BROKER, Loan, borrow
from tests.cluster.prerequisites import MissingError

_PART = "end-to-end"
_IMAGES: tuple[images.Name, ...] = ("operator", "sample", "celery")


def start_broker(loan: Loan) -> None:
    """Start the broker, and wait until it is ready."""
    loan.once("broker", lambda: loan.cluster.rabbitmq(BROKER))


def start_operator(loan: Loan) -> None:
    """Install the operator of this checkout, and wait until it is ready."""
    loan.once("operator", lambda: install_operator(loan.cluster))


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
        with suppress(MissingError, RuntimeError, OSError, SubprocessError), borrow() as loan:
            for name in _IMAGES:
                loan.cluster.load(images.build(name))
            start_broker(loan)
            start_operator(loan)
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
