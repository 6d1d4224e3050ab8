"""The command line of taskiq, with the adapter."""

import sys

from taskiq.__main__ import main
from taskiq.cli.worker import run

from .process_manager import PromptProcessManager

if __name__ == "__main__":
    run.ProcessManager = PromptProcessManager
    if sys.argv[1:2] == ["worker"]:
        sys.argv += ["--receiver", "taskqueue_drain.taskiq:Receiver"]
    main()
