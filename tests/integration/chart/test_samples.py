"""The sample manifests on a real API server."""

from pathlib import Path

import pytest

from tests.cluster.control_plane import ControlPlane

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "deploy/samples").glob("*.yaml"))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_sample_is_accepted_without_a_warning(path: Path, control_plane: ControlPlane) -> None:
    control_plane.install_crd()
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: media}\n"
    control_plane.kubectl("apply", "--filename=-", text=namespace)
    output = control_plane.kubectl("apply", "--dry-run=server", "--validate=strict", f"--filename={path}")
    assert output.rstrip().endswith("created (server dry run)")
