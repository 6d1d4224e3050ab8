"""The demo on a real cluster: one YAML file, 2,000 tasks, workers 0 -> N -> 0."""

import argparse
import signal
import sys

from rich.console import Console

from tests.cluster.cluster_lease import BROKER, lease_cluster
from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.prerequisites import MissingError
from tests.demo.run import NAMESPACE, run_demo

KEPT_MESSAGE = f"""
The demo is still installed. Inspect it:

  export KUBECONFIG={{kubeconfig}}
  kubectl -n {NAMESPACE} get taskqueues
  kubectl -n {NAMESPACE} describe taskqueue thumbnails
  kubectl -n {SYSTEM} logs deployment/{RELEASE}
  kubectl -n {BROKER} port-forward service/rabbitmq 15672   # http://localhost:15672, guest / guest

Remove it: make cluster-down
"""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    arguments.add_argument("--keep", action="store_true", help="leave everything running at the end")
    keep: bool = arguments.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        with lease_cluster(NAMESPACE) as lease:
            lease.keep = keep
            try:
                figures = run_demo(lease.cluster, console)
            except KeyboardInterrupt:
                lease.keep = False
                raise
            console.print()
            print(figures.summary())
            if keep:
                print(KEPT_MESSAGE.format(kubeconfig=lease.cluster.kubeconfig))
            return 0 if figures.is_success else 1
    except KeyboardInterrupt:
        return 130
    except MissingError as missing:
        print(missing, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
