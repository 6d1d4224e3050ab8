"""`python -m taskqueue_worker.pools`: the fork server. Only a worker starts it."""

import sys

from .fork_server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
