"""The command `taskqueue-operator`, also as `python -m taskqueue_operator`: the operator, or a command for people."""

import sys
from typing import Final

USAGE: Final = """\
usage: taskqueue-operator        run the operator; its environment has the settings
       taskqueue-operator dlq    list, show, redrive and purge dead letters; see dlq --help"""


def main() -> None:
    """Run what the command line names."""
    # Imported late: a command for people starts without the operator, and the operator without it.
    match sys.argv[1:]:
        case []:
            from .app.main import main as operator

            operator()
        case ["dlq", *arguments]:
            from .commands.dlq import main as dlq

            sys.exit(dlq(arguments))
        case ["-h" | "--help"]:
            print(USAGE)  # noqa: T201  the output of the command
        case unknown:
            sys.exit(f"taskqueue-operator: {unknown[0]!r} is no command.\n{USAGE}")


if __name__ == "__main__":
    main()
