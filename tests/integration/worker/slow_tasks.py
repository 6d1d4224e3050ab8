"""A module that is still being imported when the worker is asked to leave."""

import os
import time
from pathlib import Path

Path(os.environ["LEDGER"]).write_text("importing\n")
time.sleep(60)
