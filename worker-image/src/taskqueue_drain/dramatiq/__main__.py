"""The command line of dramatiq, with the adapter."""

import sys

from dramatiq import cli

from .log_watcher import end_promptly

if __name__ == "__main__":
    arguments = cli.make_argument_parser().parse_args()
    arguments.modules.append(__package__)  # a process that is not forked imports it
    sys.argv = [sys.executable, *sys.orig_argv[1:]]  # at SIGHUP, dramatiq executes it
    end_promptly()
    sys.exit(cli.main(arguments))
