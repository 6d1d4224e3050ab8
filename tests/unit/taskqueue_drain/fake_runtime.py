"""A worker of the tests' own: they decide when its consumers are cancelled, and what runs."""

from dataclasses import dataclass, field

from taskqueue_drain import Drain, Figures, Identity, WorkerProtocol

ME = Identity("ns/name", "uid", "me", 50)


@dataclass
class FakeRuntime:
    """Attributes: calls: What the protocol asked for, in order."""

    calls: list[str] = field(default_factory=list)
    is_quiet: bool = False
    is_consuming: bool = True
    in_flight: int = 0
    prefetched: int = 0
    blocked: int = 0
    missing: tuple[str, ...] = ()

    def stop_consuming(self) -> None:
        self.calls.append("stop")

    def consume(self) -> None:
        self.calls.append("consume")
        self.is_quiet = False

    def figures(self) -> Figures:
        return Figures(self.in_flight, self.prefetched, 0, None, 0, 0, 0, self.blocked, self.missing)


class Recorder:
    """Records what it learns."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.handled_commands: list[tuple[str, str]] = []

    def draining(self, drain: Drain) -> None:
        self.events.append(f"draining by {drain.installation}")

    def resumed(self, event: str) -> None:
        self.events.append(event)

    def handled(self, command: str, outcome: str, reason: str | None = None) -> None:
        assert (reason is not None) == (outcome == "refused")
        self.handled_commands.append((command, outcome))

    def reported(self) -> None:
        pass

    def disconnected(self, reason: str) -> None:
        self.events.append(reason)


def joined(runtime: FakeRuntime, recorder: Recorder) -> WorkerProtocol:
    """Let the runtime join."""
    return WorkerProtocol(ME, runtime, recorder)
