"""For TASKQUEUE_MODULES, beside the tasks: the fork server waits in its imports until the test opens the gate."""

import os
import sys
import time
from pathlib import Path

if Path(sys.argv[0]).parent.name == "pools":
    while not Path(os.environ["LEDGER"]).with_name("gate").exists():
        time.sleep(0.01)
