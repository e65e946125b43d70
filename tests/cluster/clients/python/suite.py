"""What a user of the Python client does, against the cluster of the kubeconfig in the first argument.

Says each step; the first one that is not as Kubernetes has it ends the program with an error."""

import sys

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException


def step(name):
    print("ok", name, flush=True)


def refused(code, reason, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code, (error.status, error.body)
        assert f'"reason":"{reason}"' in error.body, error.body
        return
    raise AssertionError(f"{call.__name__} was not refused")


def config_maps(core):
    made = core.create_namespaced_config_map("py", {"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}})
    assert made.metadata.uid and made.metadata.managed_fields[0].manager, made
    refused(409, "AlreadyExists", core.create_namespaced_config_map, "py", {"metadata": {"name": "a"}})
    refused(404, "NotFound", core.read_namespaced_config_map, "none", "py")
    refused(422, "Invalid", core.create_namespaced_config_map, "py", {"metadata": {"name": "Not Good"}})
    patched = core.patch_namespaced_config_map("a", "py", {"data": {"k": None, "n": "2"}})
    assert patched.data == {"n": "2"}, patched.data
    stale = core.read_namespaced_config_map("a", "py")
    stale.metadata.resource_version = made.metadata.resource_version
    refused(409, "Conflict", core.replace_namespaced_config_map, "a", "py", stale)
    for number in range(25):
        core.create_namespaced_config_map("py", {"metadata": {"name": f"m{number:02}", "labels": {"n": str(number % 2)}}})
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map("py", limit=10, label_selector="n", _continue=token)
        names += [one.metadata.name for one in page.items]
        token = page.metadata._continue or ""
    assert names == [f"m{number:02}" for number in range(25)], names
    assert len(core.list_namespaced_config_map("py", label_selector="n in (1),!x").items) == 12
    core.delete_collection_namespaced_config_map("py", label_selector="n")
    assert [one.metadata.name for one in core.list_namespaced_config_map("py").items if one.metadata.labels] == ["a"]
    step("config maps: create, patch, conflict, pages, selectors, deletecollection")


def watching(core):
    seen, start = [], core.list_namespaced_secret("py").metadata.resource_version
    core.create_namespaced_secret("py", {"metadata": {"name": "s"}, "stringData": {"t": "x"}})
    core.patch_namespaced_secret("s", "py", {"metadata": {"labels": {"a": "b"}}})
    core.delete_namespaced_secret("s", "py")
    events = watch.Watch()
    for event in events.stream(core.list_namespaced_secret, "py", resource_version=start, timeout_seconds=30):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            events.stop()
    assert seen == [("ADDED", "s"), ("MODIFIED", "s"), ("DELETED", "s")], seen
    step("watch from a version")


def workloads(api):
    apps, core = client.AppsV1Api(api), client.CoreV1Api(api)
    container = client.V1Container(name="c", image="web", ports=[client.V1ContainerPort(container_port=80)])
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "web"}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template)
    apps.create_namespaced_deployment("py", client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec))
    events = watch.Watch()
    for event in events.stream(apps.list_namespaced_deployment, "py", timeout_seconds=60):
        if (event["object"].status.available_replicas or 0) == 2:
            events.stop()
    assert event["object"].status.available_replicas == 2, event
    scale = apps.patch_namespaced_deployment_scale("web", "py", {"spec": {"replicas": 3}})
    assert scale.spec.replicas == 3 and scale.status.selector == "app=web", scale
    pod = core.list_namespaced_pod("py", label_selector="app=web").items[0].metadata.name
    core.create_namespaced_pod_eviction(pod, "py", client.V1Eviction(metadata=client.V1ObjectMeta(name=pod)))
    step("a deployment becomes available, is scaled, loses a pod to an eviction")


def applying(api):
    core = client.CoreV1Api(api)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ssa"}, "data": {"a": "1"}}
    kind = {"_content_type": "application/apply-patch+yaml"}
    core.patch_namespaced_config_map("ssa", "py", body, field_manager="one", **kind)
    body["data"]["a"] = "2"
    refused(409, "Conflict", core.patch_namespaced_config_map, "ssa", "py", body, field_manager="two", **kind)
    forced = core.patch_namespaced_config_map("ssa", "py", body, field_manager="two", force=True, **kind)
    owners = {(entry.manager, entry.operation) for entry in forced.metadata.managed_fields}
    assert forced.data == {"a": "2"} and ("two", "Apply") in owners, forced
    step("server-side apply: create, conflict, force")


def custom_resources(api):
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer", "minimum": 1, "default": 3}}}},
    }
    utils.create_from_dict(api, {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "toys.py.example.com"},
        "spec": {
            "group": "py.example.com", "scope": "Namespaced",
            "names": {"plural": "toys", "singular": "toy", "kind": "Toy"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    })
    events = watch.Watch()
    for event in events.stream(client.ApiextensionsV1Api(api).list_custom_resource_definition, timeout_seconds=30):
        if any(one.type == "Established" and one.status == "True" for one in event["object"].status.conditions or []):
            events.stop()
    toys = dynamic.DynamicClient(api).resources.get(api_version="py.example.com/v1", kind="Toy")
    made = toys.create(namespace="py", body={"apiVersion": "py.example.com/v1", "kind": "Toy", "metadata": {"name": "t"}, "spec": {"more": 1}})
    assert made.spec.to_dict() == {"size": 3}, made
    refused(422, "Invalid", toys.patch, namespace="py", name="t", body={"spec": {"size": 0}}, content_type="application/merge-patch+json")
    assert [one.metadata.name for one in toys.get(namespace="py").items] == ["t"]
    step("a custom resource: defaults, pruning, validation, by the dynamic client")


def access(api):
    review = client.AuthorizationV1Api(api).create_self_subject_access_review(
        {"spec": {"resourceAttributes": {"verb": "delete", "resource": "nodes"}}}
    )
    assert review.status.allowed, review
    token = client.CoreV1Api(api).create_namespaced_service_account_token("default", "py", {"spec": {"expirationSeconds": 600}})
    mine = client.Configuration.get_default_copy()
    mine.cert_file = mine.key_file = None
    mine.api_key = {"authorization": "Bearer " + token.status.token}
    account = client.ApiClient(mine)
    who = client.AuthenticationV1Api(account).create_self_subject_review({})
    assert who.status.user_info.username == "system:serviceaccount:py:default", who
    refused(403, "Forbidden", client.CoreV1Api(account).list_namespaced_secret, "py")
    step("tokens say who they are and may do nothing yet")


def main():
    config.load_kube_config(sys.argv[1])
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    assert client.VersionApi(api).get_code().git_version.startswith("v1.36"), "the version"
    core.create_namespace({"metadata": {"name": "py"}})
    events = watch.Watch()
    for event in events.stream(core.list_namespaced_service_account, "py", timeout_seconds=30):
        events.stop()
    config_maps(core)
    watching(core)
    applying(api)
    custom_resources(api)
    access(api)
    workloads(api)
    core.delete_namespace("py")
    for event in watch.Watch().stream(core.list_namespace, field_selector="metadata.name=py", timeout_seconds=60):
        if event["type"] == "DELETED":
            return step("the namespace goes with all that is in it")
    raise AssertionError("the namespace stays")


main()
