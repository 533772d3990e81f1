"""What the chart makes of its values, by the real helm."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.rendering import CHART, operator_manifests
from orderflow_operator.manifest import PLURALS

CRD = "CustomResourceDefinition/orderflows.orderflow.dev"
ALL = (
    "replicas=2",
    "podMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "dashboards.enabled=true",
)


class Rendered(dict[str, Any]):
    """The objects of a rendered chart by ``Kind/name``; in another namespace than the release: by its name, too."""

    def of(self, kind: str) -> Any:
        """Return the one object of ``kind``."""
        (found,) = (one for name, one in self.items() if name.startswith(f"{kind}/"))
        return found

    def kinds(self) -> set[str]:
        """Return the kinds that there are."""
        return {name.partition("/")[0] for name in self}


@pytest.fixture
def rendered(helm: Path) -> Any:
    """Render the chart with ``values`` as --set takes them."""

    def render(*values: str, name: str = "shop") -> Rendered:
        settings = [part for value in values for part in ("--set-json", value) if value]
        command = [str(helm), "template", name, str(CHART), "--namespace=operators", *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ValueError(done.stderr)
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        found = Rendered({_key(one): one for one in objects})
        assert len(found) == len(objects), "two objects of one name would overwrite each other"
        return found

    return render


def test_helm_finds_nothing_to_say_against_it(helm: Path) -> None:
    done = subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_by_default_there_are_an_operator_its_rights_the_definition_and_a_test(rendered: Any) -> None:
    assert set(rendered()) == {
        CRD,
        "ServiceAccount/shop-orderflow",
        "Deployment/shop-orderflow",
        "ClusterRole/shop-orderflow",
        "ClusterRoleBinding/shop-orderflow",
        "Role/shop-orderflow-lease",
        "RoleBinding/shop-orderflow-lease",
        "NetworkPolicy/shop-orderflow",
        "Pod/shop-orderflow-order",
    }


def test_a_release_that_is_named_orderflow_does_not_say_so_twice(rendered: Any) -> None:
    assert "Deployment/orderflow" in rendered(name="orderflow")


def test_all_that_can_be_asked_for_is_there_when_it_is_asked_for(rendered: Any) -> None:
    more = rendered(*ALL).kinds() - rendered().kinds()
    assert more == {"PodDisruptionBudget", "PodMonitor", "PrometheusRule", "ConfigMap"}


def test_every_object_that_has_a_namespace_is_in_the_release_s(rendered: Any) -> None:
    without = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for one in rendered(*ALL).values():
        assert one["kind"] in without or one["metadata"]["namespace"] == "operators"


class TestRights:
    def test_named_namespaces_narrow_them_to_these(self, rendered: Any) -> None:
        objects = rendered('namespaces=["shop"]')
        assert not {"ClusterRole", "ClusterRoleBinding"} & objects.kinds()
        role = objects["Role/shop/shop-orderflow"]
        assert role["metadata"]["namespace"] == "shop"
        assert role["rules"] == rendered()["ClusterRole/shop-orderflow"]["rules"]
        subject = objects["RoleBinding/shop/shop-orderflow"]["subjects"][0]
        assert (subject["name"], subject["namespace"]) == ("shop-orderflow", "operators")

    def test_each_of_several_namespaces_has_its_own(self, rendered: Any) -> None:
        objects = rendered('namespaces=["a","b"]')
        assert objects["Role/a/shop-orderflow"]["rules"] == objects["Role/b/shop-orderflow"]["rules"]
        assert {"RoleBinding/a/shop-orderflow", "RoleBinding/b/shop-orderflow"} <= set(objects)

    def test_the_operator_is_told_the_same_namespaces(self, rendered: Any) -> None:
        assert _environment(rendered())["ORDERFLOW_OPERATOR_NAMESPACES"] == ""
        assert _environment(rendered('namespaces=["a","b"]'))["ORDERFLOW_OPERATOR_NAMESPACES"] == "a,b"

    def test_nobody_may_do_everything_or_give_rights(self, rendered: Any) -> None:
        for rule in rendered()["ClusterRole/shop-orderflow"]["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"]

    def test_they_cover_every_kind_that_the_operator_knows_and_no_other(self, rendered: Any) -> None:
        rules = rendered()["ClusterRole/shop-orderflow"]["rules"]
        resources = {one.partition("/")[0] for rule in rules for one in rule["resources"]}
        assert resources == set(PLURALS.values())

    def test_an_account_of_one_s_own_is_taken_as_it_is(self, rendered: Any) -> None:
        objects = rendered("serviceAccount.create=false", 'serviceAccount.name="mine"')
        assert "ServiceAccount" not in objects.kinds()
        assert objects.of("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
        assert objects.of("ClusterRoleBinding")["subjects"][0]["name"] == "mine"

    def test_rights_of_one_s_own_keep_the_chart_s_away(self, rendered: Any) -> None:
        assert not {"Role", "ClusterRole"} & rendered("rbac.create=false").kinds()


class TestPods:
    @pytest.mark.parametrize("path", ["Deployment", "Pod"])
    def test_they_are_what_the_restricted_standard_asks_for_and_write_nowhere(self, rendered: Any, path: str) -> None:
        one = rendered().of(path)
        spec = one["spec"]["template"]["spec"] if path == "Deployment" else one["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}

    def test_an_image_without_a_tag_is_of_the_chart_s_version(self, rendered: Any) -> None:
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        assert _operator(rendered())["image"] == f"orderflow-operator:{version}"
        assert _environment(rendered())["ORDERFLOW_OPERATOR_IMAGE"] == f"orderflow:{version}"

    def test_images_can_be_named(self, rendered: Any) -> None:
        objects = rendered('image.operator={"repository":"registry:5000/o","tag":"1"}', 'image.pullSecrets=["key"]')
        assert _operator(objects)["image"] == "registry:5000/o:1"
        assert objects.of("Deployment")["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "key"}]
        assert objects.of("Pod")["spec"]["imagePullSecrets"] == [{"name": "key"}]

    def test_one_operator_has_no_budget_that_would_keep_its_node(self, rendered: Any) -> None:
        assert "PodDisruptionBudget" not in rendered("replicas=1").kinds()
        assert "PodDisruptionBudget" not in rendered("replicas=2", "podDisruptionBudget.enabled=false").kinds()

    def test_what_selects_pods_selects_the_operator_s_and_not_the_test_s(self, rendered: Any) -> None:
        objects = rendered(*ALL)
        labels = objects.of("Deployment")["spec"]["template"]["metadata"]["labels"]
        others = objects.of("Pod")["metadata"]["labels"]
        selectors = [
            objects.of("Deployment")["spec"]["selector"]["matchLabels"],
            objects.of("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            objects.of("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            objects.of("PodMonitor")["spec"]["selector"]["matchLabels"],
        ]
        for selector in selectors:
            assert selector.items() <= labels.items()
            assert not selector.items() <= others.items()


class TestDefinition:
    def test_it_is_kept_when_the_release_goes(self, rendered: Any) -> None:
        assert rendered()[CRD]["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"

    def test_it_goes_with_the_release_where_that_is_wanted(self, rendered: Any) -> None:
        assert "helm.sh/resource-policy" not in rendered("crds.keep=false")[CRD]["metadata"].get("annotations", {})

    def test_it_can_be_left_to_somebody_else(self, rendered: Any) -> None:
        assert CRD not in rendered("crds.install=false")

    def test_it_is_the_one_that_is_made_from_the_types(self, rendered: Any) -> None:
        made = yaml.safe_load((CHART.parents[1] / "manifests" / "crd.yaml").read_text())
        assert rendered()[CRD]["spec"] == made["spec"]


def test_alerts_and_dashboards_are_the_files_beside_the_templates(rendered: Any) -> None:
    objects = rendered(*ALL, 'prometheusRule.labels={"release":"prometheus"}')
    rules = objects.of("PrometheusRule")
    assert rules["spec"] == yaml.safe_load((CHART / "rules" / "orderflow.yaml").read_text())
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    boards = objects.of("ConfigMap")["data"]
    assert {name: json.loads(text) for name, text in boards.items()} == {
        file.name: json.loads(file.read_text()) for file in (CHART / "dashboards").iterdir()
    }


def test_the_manifests_for_those_without_helm_are_the_chart_s(helm: Path) -> None:
    assert (CHART.parents[1] / "manifests" / "operator.yaml").read_text() == operator_manifests(), (
        "run `make manifests`"
    )


def test_the_test_places_its_order_at_the_gateway_of_the_resource_that_is_named(rendered: Any) -> None:
    (container,) = rendered('test.resource="orders"', 'test.namespace="shop"', "test.port=80").of("Pod")["spec"][
        "containers"
    ]
    assert container["env"] == [{"name": "ORDERFLOW_URL", "value": "http://orders-gateway.shop.svc:80"}]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("replica=2", "replica"),
        ("replicas=0", "replicas"),
        ('replicas="two"', "replicas"),
        ('namespaces="shop"', "namespaces"),
        ('namespaces=["Shop"]', "namespaces"),
        ('logLevel="loud"', "logLevel"),
        ('image.operator={"repository":""}', "repository"),
        ('podMonitor.interval="15"', "interval"),
        ("test.port=0", "port"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_name(rendered: Any, value: str, field: str) -> None:
    with pytest.raises(ValueError, match=field):
        rendered(value)


def _key(one: Any) -> str:
    metadata = one["metadata"]
    within = metadata.get("namespace", "operators")
    return "/".join([one["kind"], *([within] if within != "operators" else []), metadata["name"]])


def _operator(objects: Rendered) -> Any:
    (container,) = objects.of("Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def _environment(objects: Rendered) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in _operator(objects)["env"]}
