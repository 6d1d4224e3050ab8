"""Files that are made from the code: `python -m tests.generated` writes them, `--check` tells which are stale."""

import sys
from pathlib import Path

import yaml
from typing_extensions import override

from taskqueue_operator.resource import crd

ROOT = Path(__file__).parent.parent
HEADER = "# Made from the models in operator/taskqueue_operator/resource by `make crds`.\n"


class Plain(yaml.SafeDumper):
    """Writes every value out: anchors are hard to read, and `kubectl` users copy from this file."""

    @override
    def ignore_aliases(self, data: object) -> bool:
        return True


def contents() -> dict[Path, str]:
    """Say what each generated file should hold."""
    document = HEADER + yaml.dump(crd.document(), Dumper=Plain, sort_keys=False, width=120)
    return {
        ROOT / "crds/taskqueues.yaml": document,
        ROOT / "charts/taskqueue-operator/files/crds/taskqueues.yaml": document,
    }


def main() -> int:
    stale = [path for path, text in contents().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is stale: run make crds")
        return bool(stale)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(contents()[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
