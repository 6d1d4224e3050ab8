"""The whole path on a real cluster: one YAML file, 2,000 tasks, workers 0 -> N -> 0."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from tests.cluster import cluster as the_cluster
from tests.cluster.lane import Cluster
from tests.cluster.prerequisites import MissingError
from tests.demo import stage
from tests.demo.play import NAMESPACE, perform

MADE = frozenset({NAMESPACE, stage.BROKER, stage.SYSTEM})
HOW_TO_LOOK_AROUND = f"""
It is still running. Look around:

  export KUBECONFIG={{kubeconfig}}
  kubectl -n {NAMESPACE} get taskqueues
  kubectl -n {NAMESPACE} describe taskqueue thumbnails
  kubectl -n {stage.SYSTEM} logs deployment/{stage.RELEASE}
  kubectl -n {stage.BROKER} port-forward service/rabbitmq 15672   # http://localhost:15672, guest / guest

Remove it: make cluster-down
"""


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    arguments.add_argument("--keep", action="store_true", help="leave everything running at the end")
    keep: bool = arguments.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        with _stage(keep=keep) as cluster:
            figures = perform(cluster, console)
            console.print()
            print(figures.summary())
            return 0 if figures.went_well else 1
    except KeyboardInterrupt:
        return 130
    except MissingError as missing:
        print(missing, file=sys.stderr)
        return 1


@contextmanager
def _stage(*, keep: bool) -> Iterator[Cluster]:
    """Lend a cluster, and remove afterwards what was not there before, unless it is to be kept."""
    cluster = the_cluster()
    before = stage.namespaces(cluster)
    try:
        cluster.up()
        yield cluster
    except KeyboardInterrupt:
        keep = False
        raise
    except Exception:
        print(cluster.diagnosis(), file=sys.stderr)
        raise
    finally:
        if keep:
            print(HOW_TO_LOOK_AROUND.format(kubeconfig=cluster.kubeconfig))
        elif before is None:
            cluster.down()
        else:
            stage.strike(cluster, MADE - before)


if __name__ == "__main__":
    sys.exit(main())
