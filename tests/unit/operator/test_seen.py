"""What the watches tell, and whom it concerns."""

from typing import Any

from orderflow_operator.names import MANAGER
from orderflow_operator.revisions import Source
from orderflow_operator.seen import Key, Named, Seen

SHOP = Key("here", "shop")


def body(name: str, *, instance: str = "", **content: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/instance": instance} if instance else {}
    return {"metadata": {"namespace": "here", "name": name, "labels": labels, "managedFields": []}, **content}


def test_a_child_concerns_its_resource_when_something_that_matters_has_changed() -> None:
    seen = Seen()
    pod = body("p", instance="shop", status={"conditions": [{"type": "Ready", "status": "True"}]})
    assert seen.put("Pod", pod) == {SHOP}
    assert seen.put("Pod", {**pod, "irrelevant": 1}) == set()
    assert seen.drop("Pod", pod) == {SHOP}
    assert not seen.children(SHOP)


def test_a_secret_concerns_those_who_refer_to_it_and_only_its_digest_is_kept() -> None:
    seen = Seen()
    source = Source("Secret", "keys")
    seen.refer(SHOP, [source])
    assert seen.put("Secret", body("keys", data={"K": "c2VjcmV0"})) == {SHOP}
    assert seen.put("Secret", body("keys", data={"K": "c2VjcmV0"})) == set()
    before = seen.digests("here", [source])
    assert seen.put("Secret", body("keys", data={"K": "b3RoZXI="})) == {SHOP}
    assert seen.digests("here", [source]) != before
    assert seen.drop("Secret", body("keys")) == {SHOP}
    assert not seen.digests("here", [source])


def test_what_a_listing_does_not_name_is_gone() -> None:
    seen = Seen()
    seen.put("Service", body("kept", instance="shop"))
    seen.put("Service", body("lost", instance="shop"))
    assert seen.only("Service", [Key("here", "kept")]) == {SHOP}
    assert set(seen.children(SHOP)) == {Named("Service", "kept")}
    assert seen.only("Service", [Key("here", "kept")]) == set()


def test_somebody_changing_a_field_of_ours_is_noticed() -> None:
    seen = Seen()
    ours = {"manager": MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    service = body("s", instance="shop")
    service["metadata"]["managedFields"] = [ours]
    seen.put("Service", service)
    other = body("s", instance="shop")
    other["metadata"]["managedFields"] = [{**ours, "fieldsV1": {}}, {"manager": "kubectl", "operation": "Update"}]
    assert seen.put("Service", other) == {SHOP}
