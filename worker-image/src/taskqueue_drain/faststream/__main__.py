"""The command line of FastStream, with the adapter."""

import os
import sys

from faststream.__main__ import cli

from . import install
from .supervisor import serve_for_processes
from .supported import starts_processes

if __name__ == "__main__":
    if starts_processes(sys.argv[1:], os.environ):
        serve_for_processes(os.environ)
    else:
        install()
    cli(prog_name="faststream")
