"""A module whose import takes longer than the test that sends SIGTERM meanwhile."""

import os
import time
from pathlib import Path

Path(os.environ["LEDGER"]).write_text("importing\n")
time.sleep(60)
