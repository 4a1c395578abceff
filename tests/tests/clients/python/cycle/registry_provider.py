"""Cloud Map for the tool that plans."""

import uuid

from check import equal
from kit import Tags, finished


class Provider:
    """What all kinds share."""

    # The error that says that there is none.
    missing = None
    # What the service takes at creation alone.
    fixed = ()

    def __init__(self, registry):
        self.registry = registry

    def read(self, state):
        try:
            found = self.find(state)
        except getattr(self.registry.exceptions, self.missing):
            return None
        if "arn" in state:
            tags = self.registry.list_tags_for_resource(ResourceARN=state["arn"])["Tags"]
            found["Tags"] = {tag["Key"]: tag["Value"] for tag in tags}
        # A tool that plans knows no difference between no description and an empty one.
        return {"Description": ""} | found

    def update(self, state, found, wanted, changed):
        equal([member for member in changed if member in self.fixed], [], "members that never change")
        if "Tags" in changed:
            gone = sorted(set(found["Tags"]) - set(wanted["Tags"]))
            new = {key: value for key, value in wanted["Tags"].items() if found["Tags"].get(key) != value}
            if gone:
                self.registry.untag_resource(ResourceARN=state["arn"], TagKeys=gone)
            if new:
                self.registry.tag_resource(ResourceARN=state["arn"], Tags=Tags(**new))
        if set(changed) - {"Tags"}:
            self.change(state, wanted)


class NamespaceProvider(Provider):
    """Namespaces of one of the three kinds: Http, PrivateDns or PublicDns."""

    missing = "NamespaceNotFound"
    fixed = ("Name",)

    def __init__(self, registry, kind):
        super().__init__(registry)
        words = {"Http": "http", "PrivateDns": "private_dns", "PublicDns": "public_dns"}
        self.is_private = kind == "PrivateDns"
        self.start = getattr(registry, f"create_{words[kind]}_namespace")
        self.restart = getattr(registry, f"update_{words[kind]}_namespace")

    def create(self, wanted):
        vpc = {"Vpc": "vpc-1"} if self.is_private else {}
        given = wanted | {"CreatorRequestId": str(uuid.uuid4()), "Tags": Tags(**wanted["Tags"])}
        operation = finished(self.registry, self.start(**given, **vpc)["OperationId"])
        identifier = operation["Targets"]["NAMESPACE"]
        found = self.registry.get_namespace(Id=identifier)["Namespace"]
        equal(found["CreatorRequestId"], given["CreatorRequestId"], "CreatorRequestId")
        return {"id": identifier, "arn": found["Arn"]}

    def find(self, state):
        found = self.registry.get_namespace(Id=state["id"])["Namespace"]
        # The zone and the HTTP name are computed.
        soa = found["Properties"].get("DnsProperties", {}).get("SOA", {})
        return found | {"Properties": {"DnsProperties": {"SOA": soa}}}

    def change(self, state, wanted):
        change = {"Description": wanted["Description"]}
        if "Properties" in wanted:
            change["Properties"] = wanted["Properties"]
        finished(self.registry, self.restart(Id=state["id"], Namespace=change)["OperationId"])

    def delete(self, state):
        finished(self.registry, self.registry.delete_namespace(Id=state["id"])["OperationId"])


class ServiceProvider(Provider):
    """Services. Terraform names the namespace of those with DNS in DnsConfig alone."""

    missing = "ServiceNotFound"
    fixed = ("Name", "NamespaceId", "HealthCheckCustomConfig", "Type")

    def create(self, wanted):
        given = wanted | {"CreatorRequestId": str(uuid.uuid4()), "Tags": Tags(**wanted["Tags"])}
        made = self.registry.create_service(**given)["Service"]
        return {"id": made["Id"], "arn": made["Arn"]}

    def find(self, state):
        return self.registry.get_service(Id=state["id"])["Service"]

    def change(self, state, wanted):
        change = {"Description": wanted["Description"]}
        if "DnsConfig" in wanted:
            change["DnsConfig"] = {"DnsRecords": wanted["DnsConfig"]["DnsRecords"]}
        if "HealthCheckConfig" in wanted:
            change["HealthCheckConfig"] = wanted["HealthCheckConfig"]
        finished(self.registry, self.registry.update_service(Id=state["id"], Service=change)["OperationId"])

    def delete(self, state):
        self.registry.delete_service(Id=state["id"])


class InstanceProvider(Provider):
    """Instances. An update registers again."""

    missing = "InstanceNotFound"
    fixed = ("ServiceId", "InstanceId")

    def create(self, wanted):
        given = wanted | {"CreatorRequestId": str(uuid.uuid4())}
        finished(self.registry, self.registry.register_instance(**given)["OperationId"])
        return {"id": {name: wanted[name] for name in self.fixed}}

    def find(self, state):
        found = self.registry.get_instance(**state["id"])["Instance"]
        return state["id"] | {"Attributes": found["Attributes"]}

    def change(self, state, wanted):
        self.create(wanted)

    def delete(self, state):
        finished(self.registry, self.registry.deregister_instance(**state["id"])["OperationId"])
