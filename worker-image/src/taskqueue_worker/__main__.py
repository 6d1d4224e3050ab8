"""`python -m taskqueue_worker`."""

import signal
import sys


def _leave(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    # First of all: as PID 1 of a container, a process without a handler does not get SIGTERM at all,
    # and a pod removed while it still imports would be waited for until its grace period ends.
    signal.signal(signal.SIGTERM, _leave)
    # The image starts it with the signal blocked, so that one from before the handler was there comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    from .cli import main

    sys.exit(main(sys.argv[1:]))
