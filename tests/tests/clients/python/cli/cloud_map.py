"""Every object of Cloud Map by the commands of the CLI."""

import json

from check import equal, true
from kit import ACCOUNT, until

KINDS = {
    "http": ("HTTP", []),
    "private-dns": ("DNS_PRIVATE", ["--vpc", "vpc-1"]),
    "public-dns": ("DNS_PUBLIC", []),
}


def run(cli):
    registry = lambda command, *words: cli("servicediscovery", command, *words)
    for kind, (name, more) in KINDS.items():
        namespace = namespaces(registry, kind, name, more)
        service = services(registry, kind, namespace)
        instances(registry, kind, service)
        remove(cli, registry, service, namespace)
    equal(registry("list-namespaces"), {"Namespaces": []}, "what is left")


def finished(registry, answer):
    def look():
        operation = registry("get-operation", "--operation-id", answer["OperationId"])["Operation"]
        true(operation["Status"] != "FAIL", f"the operation failed: {operation}")
        return operation["Status"] == "SUCCESS" and operation

    return until(f"operation {answer['OperationId']} ends", look)


def namespaces(registry, kind, name, more):
    given = ["--name", f"{kind}.example", "--tags", "Key=stage,Value=one", "--creator-request-id", f"token-{kind}"]
    started = registry(f"create-{kind}-namespace", *given, *more)
    namespace = finished(registry, started)["Targets"]["NAMESPACE"]
    changed = {"Description": "changed"}
    if kind != "http":
        changed["Properties"] = {"DnsProperties": {"SOA": {"TTL": 60}}}
    update = ["--id", namespace, "--namespace", json.dumps(changed)]
    finished(registry, registry(f"update-{kind}-namespace", *update))
    found = registry("get-namespace", "--id", namespace)["Namespace"]
    wanted = {"Id": namespace, "Name": f"{kind}.example", "Type": name, "Description": "changed"}
    equal({key: found.get(key) for key in wanted}, wanted, f"{kind}: get-namespace")
    filters = "--filters", f"Name=TYPE,Values={name},Condition=EQ"
    (listed,) = registry("list-namespaces", *filters)["Namespaces"]
    equal(listed["Id"], namespace, f"{kind}: list-namespaces")
    by_namespace = f"Name=NAMESPACE_ID,Values={namespace}"
    listed = registry("list-operations", "--filters", by_namespace, "Name=TYPE,Values=CREATE_NAMESPACE")["Operations"]
    equal(listed, [{"Id": started["OperationId"], "Status": "SUCCESS"}], f"{kind}: list-operations")
    tags(registry, found["Arn"])
    return namespace


def tags(registry, arn):
    registry("tag-resource", "--resource-arn", arn, "--tags", "Key=team,Value=blue", "Key=empty,Value=")
    registry("untag-resource", "--resource-arn", arn, "--tag-keys", "stage")
    found = registry("list-tags-for-resource", "--resource-arn", arn)["Tags"]
    equal({tag["Key"]: tag["Value"] for tag in found}, {"team": "blue", "empty": ""}, f"the tags of {arn}")


def services(registry, kind, namespace):
    given = ["--name", "front", "--namespace-id", namespace, "--tags", "Key=stage,Value=one"]
    given += ["--health-check-custom-config", "FailureThreshold=1"]
    records = "DnsRecords=[{Type=A,TTL=60}]"
    if kind != "http":
        given += ["--dns-config", f"RoutingPolicy=WEIGHTED,{records}"]
    made = registry("create-service", *given)["Service"]
    equal(registry("get-service", "--id", made["Id"])["Service"], made, f"{kind}: get-service")
    filters = "--filters", f"Name=NAMESPACE_ID,Values={namespace}"
    (listed,) = registry("list-services", *filters)["Services"]
    equal(listed["Id"], made["Id"], f"{kind}: list-services")
    tags(registry, made["Arn"])
    if kind != "http":
        change = "Description=changed,DnsConfig={DnsRecords=[{Type=A,TTL=5}]}"
        finished(registry, registry("update-service", "--id", made["Id"], "--service", change))
        found = registry("get-service", "--id", made["Id"])["Service"]
        equal(found["DnsConfig"]["DnsRecords"], [{"Type": "A", "TTL": 5}], f"{kind}: update-service")
        equal(found["Description"], "changed", f"{kind}: update-service")

    mine = "--service-id", made["Id"]
    registry("update-service-attributes", *mine, "--attributes", "zone=a,rack=1")
    registry("delete-service-attributes", *mine, "--attributes", "rack")
    found = registry("get-service-attributes", *mine)["ServiceAttributes"]
    equal(found["Attributes"], {"zone": "a"}, f"{kind}: the attributes of the service")
    equal(found["ResourceOwner"], ACCOUNT, f"{kind}: whose they are")
    return made["Id"]


def instances(registry, kind, service):
    mine = "--service-id", service
    where = "--namespace-name", f"{kind}.example", "--service-name", "front"
    for number in (1, 2):
        attributes = f"AWS_INSTANCE_IPV4=10.0.0.{number},color=c{number}"
        one = "--instance-id", f"i-{number}"
        finished(registry, registry("register-instance", *mine, *one, "--attributes", attributes))
        found = registry("get-instance", *mine, *one)["Instance"]
        wanted = {"AWS_INSTANCE_IPV4": f"10.0.0.{number}", "color": f"c{number}"}
        equal(found["Attributes"], wanted, f"{kind}: get-instance")
    listed = registry("list-instances", *mine)["Instances"]
    equal(sorted(each["Id"] for each in listed), ["i-1", "i-2"], f"{kind}: list-instances")
    answer = registry("discover-instances", *where, "--query-parameters", "color=c2")
    equal([each["InstanceId"] for each in answer["Instances"]], ["i-2"], f"{kind}: discover-instances")
    revision = registry("discover-instances-revision", *where)["InstancesRevision"]
    equal(revision, answer["InstancesRevision"], f"{kind}: the revision")
    # The option as people shorten it.
    answer = registry("discover-instances", "--namespace", f"{kind}.example", "--service", "front")
    equal(len(answer["Instances"]), 2, f"{kind}: discover-instances with short options")

    printed = registry("update-instance-custom-health-status", *mine, "--instance-id", "i-1", "--status", "UNHEALTHY")
    equal(printed, None, f"{kind}: update-instance-custom-health-status")
    status = lambda: registry("get-instances-health-status", *mine)["Status"]
    until(f"{kind}: i-1 is unhealthy", lambda: status() == {"i-1": "UNHEALTHY", "i-2": "HEALTHY"})


def remove(cli, registry, service, namespace):
    cli.fail("ResourceInUse", "servicediscovery", "delete-service", "--id", service)
    cli.fail("ResourceInUse", "servicediscovery", "delete-namespace", "--id", namespace)
    for number in (1, 2):
        gone = "--service-id", service, "--instance-id", f"i-{number}"
        finished(registry, registry("deregister-instance", *gone))
        cli.fail("InstanceNotFound", "servicediscovery", "get-instance", *gone)
    registry("delete-service", "--id", service)
    cli.fail("ServiceNotFound", "servicediscovery", "get-service", "--id", service)
    finished(registry, registry("delete-namespace", "--id", namespace))
    cli.fail("NamespaceNotFound", "servicediscovery", "get-namespace", "--id", namespace)
