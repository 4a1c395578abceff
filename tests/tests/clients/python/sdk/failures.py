"""The classes of errors that the clients know are raised, with their members."""

from check import equal, true
from kit import Tags, finished, raises, tags
from mesh import GATEWAY, MESH, NODE, ROUTER, SERVICE, examples

# What a healthy server that verifies nobody never answers.
ELSEWHERE = {
    "appmesh": {
        "ForbiddenException",
        "InternalServerErrorException",
        "LimitExceededException",
        "ServiceUnavailableException",
        "TooManyRequestsException",
    },
    "servicediscovery": {"RequestLimitExceeded", "ResourceLimitExceeded"},
}


def run(clients):
    app_mesh(clients.appmesh)
    cloud_map(clients.servicediscovery)
    registrations(clients.servicediscovery)


def unraised(clients):
    """The error classes of botocore's models that no check has met."""
    for service, elsewhere in ELSEWHERE.items():
        model = getattr(clients, service).meta.service_model
        wanted = {shape.name for shape in model.error_shapes} - elsewhere
        for name in sorted(wanted - clients.raised[service]):
            yield f"{service} {name}"


def app_mesh(appmesh):
    objects = list(examples("failures"))
    for example in objects:
        kind = example.kind
        with raises(appmesh, "NotFoundException"):
            kind.call(appmesh, "Describe", **example.names)
        with raises(appmesh, "NotFoundException"):
            kind.call(appmesh, "Update", **example.names, spec=example.spec)
        kind.call(appmesh, "Create", **example.names, spec=example.spec)
        with raises(appmesh, "ConflictException"):
            kind.call(appmesh, "Create", **example.names, spec=example.changed)
        with raises(appmesh, "NotFoundException"):
            kind.call(appmesh, "Describe", **example.names | {kind.own_name: "nobody"})
        with raises(appmesh, "BadRequestException"):
            kind.call(appmesh, "List", **example.place, limit=101)
        with raises(appmesh, "BadRequestException"):
            kind.call(appmesh, "List", **example.place, nextToken="no token of ours")
    used = {example.kind: example for example in objects if example.kind in (MESH, NODE, ROUTER, SERVICE, GATEWAY)}
    for kind, example in used.items():
        with raises(appmesh, "ResourceInUseException"):
            kind.call(appmesh, "Delete", **example.names)
    node = used[NODE]
    with raises(appmesh, "BadRequestException"):
        wrong = {"listeners": [{"portMapping": {"port": 65536, "protocol": "http"}}]}
        NODE.call(appmesh, "Update", **node.names, spec=wrong)
    NODE.call(appmesh, "Update", **node.names, spec=node.changed, clientToken="once")
    with raises(appmesh, "ConflictException"):
        NODE.call(appmesh, "Update", **node.names, spec=node.spec, clientToken="once")

    arn = appmesh.describe_mesh(meshName="failures")["mesh"]["metadata"]["arn"]
    appmesh.tag_resource(resourceArn=arn, tags=tags(**{f"tag-{number}": "" for number in range(50)}))
    with raises(appmesh, "TooManyTagsException"):
        appmesh.tag_resource(resourceArn=arn, tags=tags(more=""))
    found = appmesh.list_tags_for_resource(resourceArn=arn)["tags"]
    true("more" not in {tag["key"] for tag in found}, "a refused tag is there")
    for call in (
        lambda arn: appmesh.tag_resource(resourceArn=arn, tags=tags(a="b")),
        lambda arn: appmesh.untag_resource(resourceArn=arn, tagKeys=["a"]),
        lambda arn: appmesh.list_tags_for_resource(resourceArn=arn),
    ):
        with raises(appmesh, "NotFoundException"):
            call(f"{arn}-of-nobody")
    for example in reversed(objects):
        example.kind.call(appmesh, "Delete", **example.names)


def cloud_map(registry):
    made = finished(registry, registry.create_http_namespace(Name="failures", CreatorRequestId="first")["OperationId"])
    namespace = made["Targets"]["NAMESPACE"]
    original = {"NamespaceId": namespace, "CreatorRequestId": "first"}
    for create in (
        lambda: registry.create_http_namespace(Name="failures"),
        lambda: registry.create_http_namespace(Name="failures", CreatorRequestId="second"),
    ):
        with raises(registry, "NamespaceAlreadyExists", **original):
            create()
    # One token for every update, as some providers send: each is made, a retry of the last is not.
    updates = set()
    for description in "abba":
        change = {"Namespace": {"Description": description}, "UpdaterRequestId": "once"}
        updates.add(finished(registry, registry.update_http_namespace(Id=namespace, **change)["OperationId"])["Id"])
        equal(registry.get_namespace(Id=namespace)["Namespace"]["Description"], description, "description")
    equal(len(updates), 3, "updates that were made")
    service = registry.create_service(Name="front", NamespaceId=namespace, CreatorRequestId="first")["Service"]
    original = {"ServiceId": service["Id"], "ServiceArn": service["Arn"], "CreatorRequestId": "first"}
    with raises(registry, "ServiceAlreadyExists", **original):
        registry.create_service(Name="front", NamespaceId=namespace)
    with raises(registry, "ResourceInUse"):
        registry.delete_namespace(Id=namespace)

    unknown = "ns-0000000000000000"
    for call in (
        lambda: registry.get_namespace(Id=unknown),
        lambda: registry.update_http_namespace(Id=unknown, Namespace={"Description": ""}),
        lambda: registry.create_service(Name="front", NamespaceId=unknown),
        lambda: registry.discover_instances(NamespaceName="nowhere", ServiceName="front"),
        lambda: registry.discover_instances_revision(NamespaceName="nowhere", ServiceName="front"),
    ):
        with raises(registry, "NamespaceNotFound"):
            call()
    unknown = "srv-0000000000000000"
    for call in (
        lambda: registry.get_service(Id=unknown),
        lambda: registry.update_service(Id=unknown, Service={"Description": ""}),
        lambda: registry.get_service_attributes(ServiceId=unknown),
        lambda: registry.update_service_attributes(ServiceId=unknown, Attributes={"a": "b"}),
        lambda: registry.delete_service_attributes(ServiceId=unknown, Attributes=["a"]),
        lambda: registry.list_instances(ServiceId=unknown),
        lambda: registry.get_instances_health_status(ServiceId=unknown),
        lambda: registry.register_instance(ServiceId=unknown, InstanceId="i", Attributes={"a": "b"}),
        lambda: registry.discover_instances(NamespaceName="failures", ServiceName="nobody"),
        lambda: registry.discover_instances_revision(NamespaceName="failures", ServiceName="nobody"),
    ):
        with raises(registry, "ServiceNotFound"):
            call()
    with raises(registry, "OperationNotFound"):
        registry.get_operation(OperationId="0123456789")
    with raises(registry, "InvalidInput"):
        registry.create_http_namespace(Name="no blanks")
    with raises(registry, "InvalidInput"):
        registry.list_namespaces(NextToken="no token of ours")

    many = {f"key-{number}": "" for number in range(30)}
    registry.update_service_attributes(ServiceId=service["Id"], Attributes=many)
    with raises(registry, "ServiceAttributesLimitExceededException"):
        registry.update_service_attributes(ServiceId=service["Id"], Attributes={"more": ""})
    registry.tag_resource(ResourceARN=service["Arn"], Tags=Tags(**{f"tag-{number}": "" for number in range(50)}))
    with raises(registry, "TooManyTagsException", ResourceName=service["Arn"]):
        registry.tag_resource(ResourceARN=service["Arn"], Tags=Tags(more=""))
    gone = service["Arn"].replace(service["Id"], unknown)
    for call in (
        lambda: registry.tag_resource(ResourceARN=gone, Tags=Tags(a="b")),
        lambda: registry.untag_resource(ResourceARN=gone, TagKeys=["a"]),
        lambda: registry.list_tags_for_resource(ResourceARN=gone),
    ):
        with raises(registry, "ResourceNotFoundException"):
            call()
    registry.delete_service(Id=service["Id"])
    finished(registry, registry.delete_namespace(Id=namespace)["OperationId"])


def registrations(registry):
    made = finished(registry, registry.create_http_namespace(Name="failures")["OperationId"])
    namespace = made["Targets"]["NAMESPACE"]
    service = registry.create_service(Name="front", NamespaceId=namespace)["Service"]["Id"]
    one = {"ServiceId": service, "InstanceId": "i-1"}
    for call in (
        lambda: registry.get_instance(**one),
        lambda: registry.deregister_instance(**one),
        lambda: registry.get_instances_health_status(ServiceId=service, Instances=["i-1"]),
    ):
        with raises(registry, "InstanceNotFound"):
            call()
    given = {"Attributes": {"color": "red"}, "CreatorRequestId": "token"}
    operation = finished(registry, registry.register_instance(**one, **given)["OperationId"])
    with raises(registry, "DuplicateRequest", DuplicateOperationId=operation["Id"]):
        registry.register_instance(**one, **given | {"Attributes": {"color": "blue"}})
    with raises(registry, "CustomHealthNotFound"):
        registry.update_instance_custom_health_status(**one, Status="HEALTHY")
    with raises(registry, "ResourceInUse"):
        registry.delete_service(Id=service)
    with raises(registry, "InvalidInput"):
        registry.register_instance(ServiceId=service, InstanceId="i-2", Attributes={"AWS_INSTANCE_IPV4": "nowhere"})
    equal([each["Id"] for each in registry.list_instances(ServiceId=service)["Instances"]], ["i-1"], "instances")
    finished(registry, registry.deregister_instance(**one)["OperationId"])
    registry.delete_service(Id=service)
    finished(registry, registry.delete_namespace(Id=namespace)["OperationId"])
