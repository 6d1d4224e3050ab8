"""`python -m taskqueue_worker`."""

import signal
import sys


def _exit(*_: object) -> None:
    sys.exit(0)


if __name__ == "__main__":
    # Before every slow import: the kernel drops a SIGTERM to PID 1 of a container while PID 1 has no handler for it.
    # A pod that is deleted during its imports would then run until the grace period ends.
    signal.signal(signal.SIGTERM, _exit)
    if sys.platform != "win32":
        # The image starts the process with SIGTERM blocked. A SIGTERM that is pending since then is delivered here.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    from .cli import main

    sys.exit(main(sys.argv[1:]))
