"""Every object of Cloud Map is created, read, listed, updated, tagged and deleted, and instances are discovered."""

from check import equal, true
from kit import ACCOUNT, REGION, Tags, finished, is_recent, raises, until

NAMESPACES = {"HTTP": "api.http", "DNS_PRIVATE": "api.private", "DNS_PUBLIC": "api.public.example"}


def run(clients):
    registry = clients.servicediscovery
    ids = {kind: namespace(registry, kind, name) for kind, name in NAMESPACES.items()}
    filters(registry, ids)
    for kind, identifier in ids.items():
        service = services(registry, kind, identifier)
        instances(registry, kind, service)
        remove_service(registry, service)
    checked(registry, ids)
    operations(registry, ids)
    for kind, identifier in ids.items():
        remove_namespace(registry, kind, identifier)
    equal(registry.list_namespaces()["Namespaces"], [], "what is left")


def namespace(registry, kind, name):
    """Creates one, reads it, updates it and tags it."""
    start, change = {
        "HTTP": (registry.create_http_namespace, registry.update_http_namespace),
        "DNS_PRIVATE": (registry.create_private_dns_namespace, registry.update_private_dns_namespace),
        "DNS_PUBLIC": (registry.create_public_dns_namespace, registry.update_public_dns_namespace),
    }[kind]
    given = {"Name": name, "Description": "the first", "CreatorRequestId": f"create-{kind}"}
    given["Tags"] = Tags(stage="one")
    if kind == "DNS_PRIVATE":
        given["Vpc"] = "vpc-1"
    if kind != "HTTP":
        given["Properties"] = {"DnsProperties": {"SOA": {"TTL": 30}}}
    operation_id = start(**given)["OperationId"]
    equal(start(**given)["OperationId"], operation_id, f"{kind}: said again")
    operation = finished(registry, operation_id)
    equal(operation["Id"], operation_id, f"{kind}: the id of the operation")
    equal(operation["Type"], "CREATE_NAMESPACE", f"{kind}: the type of the operation")
    is_recent(operation["CreateDate"], f"{kind}: CreateDate of the operation")
    is_recent(operation["UpdateDate"], f"{kind}: UpdateDate of the operation")
    identifier = operation["Targets"]["NAMESPACE"]

    made = registry.get_namespace(Id=identifier)["Namespace"]
    arn = f"arn:aws:servicediscovery:{REGION}:{ACCOUNT}:namespace/{identifier}"
    wanted = {
        "Id": identifier,
        "Arn": arn,
        "Name": name,
        "Type": kind,
        "Description": "the first",
        "ResourceOwner": ACCOUNT,
        "CreatorRequestId": f"create-{kind}",
    }
    equal({key: made.get(key) for key in wanted}, wanted, f"{kind}: GetNamespace")
    equal(made.get("ServiceCount", 0), 0, f"{kind}: ServiceCount")
    is_recent(made["CreateDate"], f"{kind}: CreateDate")
    equal(made["Properties"]["HttpProperties"], {"HttpName": name}, f"{kind}: HttpProperties")
    zone(kind, made, 30)
    equal(registry.get_namespace(Id=arn)["Namespace"], made, f"{kind}: by its ARN")

    changes = {"Description": "the second"}
    if kind != "HTTP":
        changes["Properties"] = {"DnsProperties": {"SOA": {"TTL": 60}}}
    answer = change(Id=identifier, Namespace=changes, UpdaterRequestId=f"update-{kind}")
    equal(finished(registry, answer["OperationId"])["Type"], "UPDATE_NAMESPACE", f"{kind}: the type of the update")
    changed = registry.get_namespace(Id=identifier)["Namespace"]
    equal(changed["Description"], "the second", f"{kind}: Description after the update")
    zone(kind, changed, 60)
    equal(changed["CreateDate"], made["CreateDate"], f"{kind}: CreateDate after the update")

    tag(registry, arn)
    return identifier


def zone(kind, found, ttl):
    dns = found["Properties"].get("DnsProperties", {})
    if kind == "HTTP":
        true("HostedZoneId" not in dns, f"{kind} has a zone: {dns}")
    else:
        equal(dns["SOA"], {"TTL": ttl}, f"{kind}: SOA")
        true(dns["HostedZoneId"].startswith("Z"), f"{kind}: HostedZoneId {dns['HostedZoneId']}")


def tag(registry, arn):
    found = lambda: {tag["Key"]: tag["Value"] for tag in registry.list_tags_for_resource(ResourceARN=arn)["Tags"]}
    equal(found(), {"stage": "one"}, f"the tags of {arn}")
    registry.tag_resource(ResourceARN=arn, Tags=Tags(stage="two", team="blue", empty=""))
    equal(found(), {"stage": "two", "team": "blue", "empty": ""}, f"the tags of {arn}")
    registry.untag_resource(ResourceARN=arn, TagKeys=["team", "never-there"])
    equal(found(), {"stage": "two", "empty": ""}, f"the tags of {arn} after untagging")


def filters(registry, ids):
    def names(*wanted):
        return {each["Name"] for each in registry.list_namespaces(Filters=list(wanted))["Namespaces"]}

    every = set(NAMESPACES.values())
    equal(names(), every, "all namespaces")
    for kind, name in NAMESPACES.items():
        equal(names({"Name": "TYPE", "Values": [kind]}), {name}, f"TYPE {kind}")
        equal(names({"Name": "NAME", "Values": [name], "Condition": "EQ"}), {name}, f"NAME {name}")
        equal(names({"Name": "HTTP_NAME", "Values": [name]}), {name}, f"HTTP_NAME {name}")
    begins = {"Name": "NAME", "Values": ["api.p"], "Condition": "BEGINS_WITH"}
    equal(names(begins), {NAMESPACES["DNS_PRIVATE"], NAMESPACES["DNS_PUBLIC"]}, "NAME begins with api.p")
    equal(names(begins, {"Name": "TYPE", "Values": ["DNS_PUBLIC"]}), {NAMESPACES["DNS_PUBLIC"]}, "both filters")
    equal(names({"Name": "RESOURCE_OWNER", "Values": ["SELF"]}), every, "RESOURCE_OWNER SELF")
    equal(names({"Name": "RESOURCE_OWNER", "Values": ["OTHER_ACCOUNTS"]}), set(), "RESOURCE_OWNER of others")


def services(registry, kind, namespace_id):
    """Creates a service, reads it, updates it, tags it, and gives it attributes."""
    given = {
        "Name": "front",
        "NamespaceId": namespace_id,
        "Description": "the first",
        "CreatorRequestId": f"service-{kind}",
        "HealthCheckCustomConfig": {"FailureThreshold": 1},
        "Tags": Tags(stage="one"),
    }
    records = [{"Type": "A", "TTL": 60}, {"Type": "SRV", "TTL": 60}]
    if kind != "HTTP":
        given["DnsConfig"] = {"RoutingPolicy": "MULTIVALUE", "DnsRecords": records[:1]}
    made = registry.create_service(**given)["Service"]
    wanted = {
        "Arn": f"arn:aws:servicediscovery:{REGION}:{ACCOUNT}:service/{made['Id']}",
        "Name": "front",
        "NamespaceId": namespace_id,
        "Description": "the first",
        "Type": "HTTP" if kind == "HTTP" else "DNS_HTTP",
        "ResourceOwner": ACCOUNT,
        "CreatorRequestId": f"service-{kind}",
        "HealthCheckCustomConfig": {"FailureThreshold": 1},
    }
    equal({key: made.get(key) for key in wanted}, wanted, f"{kind}: CreateService")
    is_recent(made["CreateDate"], f"{kind}: CreateDate of the service")
    equal(registry.create_service(**given)["Service"], made, f"{kind}: CreateService said again")
    equal(registry.get_service(Id=made["Id"])["Service"], made, f"{kind}: GetService")
    equal(registry.get_service(Id=made["Arn"])["Service"], made, f"{kind}: GetService by its ARN")
    if kind != "HTTP":
        config = {"NamespaceId": namespace_id, "RoutingPolicy": "MULTIVALUE", "DnsRecords": records[:1]}
        equal(made["DnsConfig"], config, f"{kind}: DnsConfig")
        slower = {"DnsRecords": [{"Type": "A", "TTL": 5}]}
        change = {"Description": "the second", "DnsConfig": slower}
        answer = registry.update_service(Id=made["Id"], Service=change)
        equal(finished(registry, answer["OperationId"])["Type"], "UPDATE_SERVICE", f"{kind}: the type of the update")
        changed = registry.get_service(Id=made["Id"])["Service"]
        equal(changed["Description"], "the second", f"{kind}: Description after the update")
        equal(changed["DnsConfig"], config | slower, f"{kind}: DnsConfig after the update")
        equal(changed["HealthCheckCustomConfig"], {"FailureThreshold": 1}, f"{kind}: custom health is kept")

    inside = [{"Name": "NAMESPACE_ID", "Values": [namespace_id], "Condition": "EQ"}]
    (listed,) = registry.list_services(Filters=inside)["Services"]
    equal((listed["Id"], listed["Arn"], listed["Name"]), (made["Id"], made["Arn"], "front"), f"{kind}: ListServices")
    equal(registry.get_namespace(Id=namespace_id)["Namespace"]["ServiceCount"], 1, f"{kind}: ServiceCount")
    tag(registry, made["Arn"])

    registry.update_service_attributes(ServiceId=made["Id"], Attributes={"zone": "a", "rack": "1"})
    registry.update_service_attributes(ServiceId=made["Arn"], Attributes={"rack": "2", "cell": "3"})
    attributes = registry.get_service_attributes(ServiceId=made["Id"])["ServiceAttributes"]
    wanted = {"zone": "a", "rack": "2", "cell": "3"}
    equal(attributes["Attributes"], wanted, f"{kind}: the attributes of the service")
    equal((attributes["ServiceArn"], attributes["ResourceOwner"]), (made["Arn"], ACCOUNT), f"{kind}: whose they are")
    registry.delete_service_attributes(ServiceId=made["Id"], Attributes=["cell", "never-there"])
    attributes = registry.get_service_attributes(ServiceId=made["Id"])["ServiceAttributes"]["Attributes"]
    equal(attributes, {"zone": "a", "rack": "2"}, f"{kind}: the attributes that are left")
    return made


def instances(registry, kind, service):
    """Registers two, reads them, tells their health, discovers them, and removes them."""
    where = {"NamespaceName": NAMESPACES[kind], "ServiceName": "front"}
    empty = registry.discover_instances_revision(**where)["InstancesRevision"]
    for number, color in ((1, "red"), (2, "blue")):
        given = {
            "ServiceId": service["Id"],
            "InstanceId": f"i-{number}",
            "CreatorRequestId": f"instance-{kind}-{number}",
            "Attributes": {"AWS_INSTANCE_IPV4": f"10.0.0.{number}", "AWS_INSTANCE_PORT": "8080", "color": color},
        }
        operation_id = registry.register_instance(**given)["OperationId"]
        equal(registry.register_instance(**given)["OperationId"], operation_id, f"{kind}: RegisterInstance said again")
        operation = finished(registry, operation_id)
        equal(operation["Type"], "REGISTER_INSTANCE", f"{kind}: the type of the operation")
        equal(operation["Targets"]["INSTANCE"], f"i-{number}", f"{kind}: the target of the operation")
        read = registry.get_instance(ServiceId=service["Id"], InstanceId=f"i-{number}")
        equal(read["ResourceOwner"], ACCOUNT, f"{kind}: whose the instance is")
        found = read["Instance"]
        wanted = {"Id": f"i-{number}", "Attributes": given["Attributes"], "CreatedByAccount": ACCOUNT}
        wanted["CreatorRequestId"] = given["CreatorRequestId"]
        equal(found, wanted, f"{kind}: GetInstance")
    listed = registry.list_instances(ServiceId=service["Arn"])
    equal(sorted(each["Id"] for each in listed["Instances"]), ["i-1", "i-2"], f"{kind}: ListInstances")
    equal(listed["ResourceOwner"], ACCOUNT, f"{kind}: whose the instances are")
    equal(registry.get_service(Id=service["Id"])["Service"]["InstanceCount"], 2, f"{kind}: InstanceCount")
    discover(registry, where, empty)
    health(registry, kind, service, where)

    for number in (1, 2):
        gone = {"ServiceId": service["Id"], "InstanceId": f"i-{number}"}
        operation = finished(registry, registry.deregister_instance(**gone)["OperationId"])
        equal(operation["Type"], "DEREGISTER_INSTANCE", f"{kind}: the type of the operation")
        with raises(registry, "InstanceNotFound"):
            registry.get_instance(**gone)
        with raises(registry, "InstanceNotFound"):
            registry.deregister_instance(**gone)
    equal(registry.discover_instances(**where, HealthStatus="ALL")["Instances"], [], f"{kind}: none is left")


def discover(registry, where, empty):
    def ids(**options):
        return sorted(each["InstanceId"] for each in registry.discover_instances(**where, **options)["Instances"])

    answer = registry.discover_instances(**where, OwnerAccount=ACCOUNT)
    revision = registry.discover_instances_revision(**where, OwnerAccount=ACCOUNT)["InstancesRevision"]
    equal(answer["InstancesRevision"], revision, "the revision of both operations")
    true(revision > empty, f"the revision went from {empty} to {revision}")
    found = {each["InstanceId"]: each for each in answer["Instances"]}
    wanted = {
        "InstanceId": "i-2",
        "NamespaceName": where["NamespaceName"],
        "ServiceName": "front",
        "HealthStatus": "HEALTHY",
        "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.2", "AWS_INSTANCE_PORT": "8080", "color": "blue"},
    }
    equal(found["i-2"], wanted, "DiscoverInstances")
    equal(ids(), ["i-1", "i-2"], "all")
    equal(len(ids(MaxResults=1)), 1, "one of them")
    equal(ids(QueryParameters={"color": "red"}), ["i-1"], "the red one")
    equal(ids(QueryParameters={"color": "green"}), [], "no green one")
    equal(ids(OptionalParameters={"color": "blue"}), ["i-2"], "the blue one, where there is one")
    equal(ids(OptionalParameters={"color": "green"}), ["i-1", "i-2"], "any, where none is green")


def health(registry, kind, service, where):
    every = {"ServiceId": service["Id"]}

    def status(**options):
        return registry.get_instances_health_status(**every, **options)["Status"]

    equal(status(), {"i-1": "HEALTHY", "i-2": "HEALTHY"}, f"{kind}: the health of all")
    equal(status(Instances=["i-2"]), {"i-2": "HEALTHY"}, f"{kind}: the health of one")
    registry.update_instance_custom_health_status(**every, InstanceId="i-1", Status="UNHEALTHY")
    until(f"{kind}: i-1 is unhealthy", lambda: status() == {"i-1": "UNHEALTHY", "i-2": "HEALTHY"})
    for wanted, ids in (
        ("HEALTHY", ["i-2"]),
        ("UNHEALTHY", ["i-1"]),
        ("ALL", ["i-1", "i-2"]),
        ("HEALTHY_OR_ELSE_ALL", ["i-2"]),
    ):
        answer = registry.discover_instances(**where, HealthStatus=wanted)["Instances"]
        equal(sorted(each["InstanceId"] for each in answer), ids, f"{kind}: those that are {wanted}")


def remove_service(registry, service):
    registry.delete_service(Id=service["Id"])
    with raises(registry, "ServiceNotFound"):
        registry.get_service(Id=service["Id"])
    with raises(registry, "ServiceNotFound"):
        registry.delete_service(Id=service["Arn"])


def checked(registry, ids):
    """Services whose instances the server checks, and those in a DNS namespace that have no records."""
    config = {"Type": "TCP", "FailureThreshold": 2}
    made = [
        registry.create_service(
            Name="checked",
            NamespaceId=ids["DNS_PUBLIC"],
            DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 60}]},
            HealthCheckConfig=config,
        )["Service"],
        registry.create_service(Name="bare", NamespaceId=ids["DNS_PRIVATE"], Type="HTTP")["Service"],
    ]
    equal(made[0]["HealthCheckConfig"], config, "HealthCheckConfig")
    equal(made[0]["DnsConfig"]["RoutingPolicy"], "MULTIVALUE", "RoutingPolicy when none is given")
    equal((made[1]["Type"], made[1].get("DnsConfig", {}).get("DnsRecords", [])), ("HTTP", []), "Type and records")
    for service in made:
        equal(registry.get_service(Id=service["Id"])["Service"], service, "GetService")
        remove_service(registry, service)


def operations(registry, ids):
    def found(*wanted):
        return registry.list_operations(Filters=list(wanted))["Operations"]

    for kind, identifier in ids.items():
        of_it = {"Name": "NAMESPACE_ID", "Values": [identifier]}
        listed = found(of_it, {"Name": "TYPE", "Values": ["CREATE_NAMESPACE"]})
        equal([each["Status"] for each in listed], ["SUCCESS"], f"{kind}: the operation that made it")
        operation = registry.get_operation(OperationId=listed[0]["Id"], OwnerAccount=ACCOUNT)["Operation"]
        equal(operation["Targets"]["NAMESPACE"], identifier, f"{kind}: the target of it")
    equal(found({"Name": "STATUS", "Values": ["FAIL"]}), [], "operations that failed")
    kinds = {"Name": "TYPE", "Values": ["CREATE_NAMESPACE", "UPDATE_NAMESPACE"], "Condition": "IN"}
    equal(len(found(kinds)), 2 * len(ids), "operations that created and updated")
    ages = {"Name": "UPDATE_DATE", "Values": ["0", "1"], "Condition": "BETWEEN"}
    equal(found(ages), [], "operations of the year 1970")


def remove_namespace(registry, kind, identifier):
    operation = finished(registry, registry.delete_namespace(Id=identifier)["OperationId"])
    equal(operation["Type"], "DELETE_NAMESPACE", f"{kind}: the type of the operation")
    equal(operation["Targets"]["NAMESPACE"], identifier, f"{kind}: the target of the operation")
    with raises(registry, "NamespaceNotFound"):
        registry.get_namespace(Id=identifier)
    with raises(registry, "NamespaceNotFound"):
        registry.delete_namespace(Id=identifier)
