"""The runtimes that join the control protocol by an adapter, as the benchmarks start them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.application import NAME, OPERATOR_SECRET, Application, MessageFormat, from_secret

APPLICATIONS: Final = Path(__file__).parent / "applications"
SLOTS: Final = 2
"""Tasks that a worker runs at once."""


class Setting(NamedTuple):
    """How a runtime prefetches and acknowledges.

    Attributes:
        name: Part of the names of figures.
        variables: The environment by which the application knows it.
        prefetch: The value of `TASKQUEUE_PREFETCH`.
        prefetched: How many messages wait in a worker whose slots are taken.
        has_control: Whether it is also measured without the adapter.
    """

    name: str
    variables: Mapping[str, str]
    prefetch: int
    prefetched: int
    has_control: bool


@dataclass(frozen=True)
class Runtime:
    """An application that publishes receipts, and how its workers start with and without the adapter.

    Attributes:
        name: The runtime; also that of its virtual environment in the image `runtimes`.
        module: The file in `applications`; it is started as the module `audited`.
        plain: The arguments of Python that start a worker.
        adapted: Those that start one that joins the control protocol.
        message: Builds the message for one task. A task of 0 seconds does nothing.
        packages: Returns the folder with the packages of the runtime on this machine.
        settings: What is measured.
    """

    name: str
    module: str
    plain: tuple[str, ...]
    adapted: tuple[str, ...]
    message: MessageFormat
    packages: Callable[[], Path]
    settings: Sequence[Setting]

    def command(self, *, adapted: bool) -> tuple[str, ...]:
        """Return the arguments of Python."""
        return self.adapted if adapted else self.plain

    def pod_command(self, *, adapted: bool) -> tuple[str, ...]:
        """Return the command of its pods."""
        return (f"/opt/{self.name}/bin/python", *self.command(adapted=adapted))

    def application(self, setting: Setting, *, adapted: bool) -> Application:
        """Return the application of its pods."""
        variables = ({"name": name, "value": value} for name, value in setting.variables.items())
        return Application(
            "runtimes",
            APPLICATIONS / self.module,
            self.pod_command(adapted=adapted),
            (from_secret("BROKER_URL", OPERATOR_SECRET), *variables),
            plain=not adapted,
            adapted=adapted,
            message=self.message,
            queue=NAME,
        )
