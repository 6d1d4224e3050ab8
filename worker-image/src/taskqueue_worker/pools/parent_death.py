"""A process that learns of the end of its parent, even if SIGKILL ends that one."""

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def signal_at_end_of(parent: int, number: signal.Signals) -> None:
    """Let the kernel send this process a signal when its parent ends; end it now if the parent has ended already.

    The kernel means the thread that started this process. So that thread must not end before its process.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
