"""What Helm installs, as its users see it."""

from urllib.request import urlopen

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.lane import Cluster
from tests.e2e.operator import Operator
from tests.e2e.team import Team

COLUMNS = ["NAME", "READY", "BACKLOG", "WORKERS", "DESIRED", "MAX", "REASON", "AGE"]


def test_helm_installs_an_operator_that_is_ready_under_the_strictest_pod_security(
    real_cluster: Cluster, operator: Operator
) -> None:
    assert RELEASE in real_cluster.helm("list", "--namespace", SYSTEM, "--deployed", "--short")
    conditions = {each["type"]: each["status"] for each in operator.pod()["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    label = r"jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}"
    assert real_cluster.kubectl("get", "namespace", SYSTEM, f"--output={label}") == "restricted"


def test_kubectl_explains_every_field(real_cluster: Cluster, operator: Operator) -> None:  # noqa: ARG001
    said = real_cluster.kubectl("explain", "tq.spec.scaling")
    assert "Number of workers as a function of the ready messages." in said
    assert "maxReplicas\t<integer> -required-\n    Upper limit for replicas." in said
    for field in ("tq", "tq.spec", "tq.spec.worker", "tq.spec.scaling.behavior.scaleDown", "tq.status"):
        assert "<no description>" not in real_cluster.kubectl("explain", field), field


def test_kubectl_lists_what_one_wants_to_know(team: Team) -> None:
    team.apply(mode="Paused", pausedReplicas=0)
    team.until_ready()
    team.publish(3, seconds=0)
    team.until(lambda: ((team.taskqueue() or {})["status"].get("backlog") or {}).get("ready") == 3, "3 are ready")
    header, row = team.kubectl("get", "tq").splitlines()
    assert header.split() == COLUMNS
    name, ready, backlog, *_ = row.split()
    assert (name, ready, backlog) == ("work", "True", "3")


def test_the_service_serves_metrics(real_cluster: Cluster, operator: Operator) -> None:  # noqa: ARG001
    with real_cluster.port_forward(SYSTEM, f"service/{RELEASE}", 8080) as port:
        for path in ("livez", "readyz"):
            assert urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10).status == 200
        metrics = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert "# TYPE taskqueue_" in metrics
