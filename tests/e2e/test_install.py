"""An installation with Helm, as its users observe it."""

from urllib.request import urlopen

from tests.cluster.installation import RELEASE, SYSTEM
from tests.cluster.provider import Cluster
from tests.e2e.installed_operator import InstalledOperator
from tests.e2e.tenant import Tenant

COLUMNS = ["NAME", "READY", "BACKLOG", "DEAD", "WORKERS", "DESIRED", "MAX", "REASON", "AGE"]


def test_helm_installs_a_ready_operator_under_the_restricted_pod_security_standard(
    real_cluster: Cluster, operator: InstalledOperator
) -> None:
    assert RELEASE in real_cluster.helm("list", "--namespace", SYSTEM, "--deployed", "--short")
    conditions = {condition["type"]: condition["status"] for condition in operator.pod()["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    label = r"jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}"
    assert real_cluster.kubectl("get", "namespace", SYSTEM, f"--output={label}") == "restricted"


def test_kubectl_explain_describes_every_field(
    real_cluster: Cluster,
    operator: InstalledOperator,  # noqa: ARG001 - it installs the CRD
) -> None:
    # `explain` keeps what kubectl has cached of the API, also from before the CRD; `get` renews it.
    real_cluster.kubectl("get", "tq", "--all-namespaces")
    assert "maxReplicas\t<integer> -required-\n" in real_cluster.kubectl("explain", "tq.spec.scaling")
    for field in ("tq", "tq.spec", "tq.spec.worker", "tq.spec.scaling", "tq.spec.scaling.behavior.scaleDown"):
        assert "<no description>" not in real_cluster.kubectl("explain", field), field
    assert "<no description>" not in real_cluster.kubectl("explain", "tq.status")


def test_kubectl_get_shows_readiness_and_backlog(tenant: Tenant) -> None:
    tenant.apply(mode="Paused", pausedReplicas=0)
    tenant.until_ready()
    tenant.publish(3, seconds=0)
    tenant.until(
        lambda: ((tenant.taskqueue() or {})["status"].get("backlog") or {}).get("ready") == 3,
        "the status shows 3 ready messages",
    )
    header, row = tenant.kubectl("get", "tq").splitlines()
    assert header.split() == COLUMNS
    name, ready, backlog, *_ = row.split()
    assert (name, ready, backlog) == ("work", "True", "3")


def test_the_service_serves_health_and_metrics(
    real_cluster: Cluster,
    operator: InstalledOperator,  # noqa: ARG001 - it is what the service leads to
) -> None:
    with real_cluster.port_forward(SYSTEM, f"service/{RELEASE}", 8080) as port:
        for path in ("livez", "readyz"):
            assert urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60).status == 200
        metrics = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode()
    assert "# TYPE taskqueue_" in metrics
