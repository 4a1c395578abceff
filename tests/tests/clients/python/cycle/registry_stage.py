"""A registry with everything in it, at random, for the tool that plans."""

from .engine import Id, Resource
from .maker import LETTERS, text
from .registry_provider import InstanceProvider, NamespaceProvider, ServiceProvider

KINDS = ("Http", "PrivateDns", "PublicDns")
RECORDS = (("A",), ("AAAA",), ("A", "AAAA"), ("SRV",), ("CNAME",))


class RegistryStage:
    """Makes the resources of one round, and other members for them."""

    def __init__(self, registry, random):
        self.registry = registry
        self.random = random

    def resources(self):
        """Those on which others depend come first."""
        services = []
        for kind in KINDS:
            address = f"namespace.{kind}"
            yield Resource(address, NamespaceProvider(self.registry, kind), self.namespace(kind))
            for number, wanted in enumerate(self.services(kind, Id(address))):
                service = Resource(f"service.{kind}.{number}", ServiceProvider(self.registry), wanted)
                services.append(service)
                yield service
        for service in services:
            for number in range(2):
                wanted = {
                    "ServiceId": Id(service.address),
                    "InstanceId": f"i-{number}" + text(self.random, 40, LETTERS + "_/:.@-"),
                    "Attributes": self.attributes(service.wanted),
                }
                address = f"instance.{service.address}.{number}"
                yield Resource(address, InstanceProvider(self.registry), wanted)

    def namespace(self, kind):
        name = f"{text(self.random)}.{text(self.random)}"
        if kind == "Http":
            name = text(self.random, 30, LETTERS + "!#$%&()*+,-./:;<=>?@[]^_{|}~")
        wanted = {"Name": f"a{name}z", "Description": self.description(), "Tags": self.tags()}
        if kind != "Http":
            wanted["Properties"] = {"DnsProperties": {"SOA": {"TTL": self.ttl()}}}
        return wanted

    def services(self, kind, namespace):
        """One for each set of records; services without any as well."""
        for number, records in enumerate((None, *(RECORDS if kind != "Http" else ()))):
            wanted = {"Name": f"s{number}-{text(self.random)}", "Description": self.description(), "Tags": self.tags()}
            wanted |= self.health(kind, records)
            if records is None:
                wanted["NamespaceId"] = namespace
                if kind != "Http":
                    wanted["Type"] = "HTTP"
            else:
                is_one = records == ("CNAME",) or self.random.random() < 0.5
                wanted["DnsConfig"] = {
                    "NamespaceId": namespace,
                    "RoutingPolicy": "WEIGHTED" if is_one else "MULTIVALUE",
                    "DnsRecords": [{"Type": record, "TTL": self.ttl()} for record in records],
                }
            yield wanted

    def health(self, kind, records):
        allowed = [{}, {"HealthCheckCustomConfig": {"FailureThreshold": 1}}]
        # The servers of checks are in public; and a CNAME cannot be checked.
        if kind == "PublicDns" and records not in (None, ("CNAME",)):
            allowed = [{"HealthCheckConfig": self.check()}]
        return self.random.choice(allowed)

    def check(self, kind=None):
        kind = kind or self.random.choice(("HTTP", "HTTPS", "TCP"))
        path = {} if kind == "TCP" else {"ResourcePath": "/" + text(self.random)}
        return {"Type": kind, "FailureThreshold": self.random.randint(1, 10)} | path

    def attributes(self, service):
        """What the records of the service need, and some words of our own."""
        words = {text(self.random, 20, LETTERS + "_./-"): text(self.random) for _ in range(3)}
        kinds = {record["Type"] for record in service.get("DnsConfig", {}).get("DnsRecords", [])}
        # The server connects to what has a health check: that must not leave this machine, nor meet somebody.
        if kinds & {"A", "SRV"} or not kinds:
            words["AWS_INSTANCE_IPV4"] = "127." + ".".join(str(self.random.randint(1, 254)) for _ in range(3))
        if kinds & {"AAAA", "SRV"}:
            words["AWS_INSTANCE_IPV6"] = "::1"
        if "SRV" in kinds or "HealthCheckConfig" in service:
            words["AWS_INSTANCE_PORT"] = str(self.random.randint(1, 9))
        if "CNAME" in kinds:
            words["AWS_INSTANCE_CNAME"] = f"{text(self.random)}.example".lower()
        if "HealthCheckCustomConfig" in service:
            words["AWS_INIT_HEALTH_STATUS"] = self.random.choice(("HEALTHY", "UNHEALTHY"))
        return words

    def changes(self, resource):
        """Other members, one after the other; what cannot change stays."""
        wanted = resource.wanted
        if "InstanceId" in wanted:
            # The records need what they needed.
            key = self.random.choice([key for key in wanted["Attributes"] if not key.startswith("AWS_")])
            yield {"Attributes": wanted["Attributes"] | {key: text(self.random)}}
            return
        # UpdateService is for services with DNS.
        if "NamespaceId" not in wanted:
            yield {"Description": self.description()}
        if "Properties" in wanted:
            yield {"Properties": {"DnsProperties": {"SOA": {"TTL": self.ttl()}}}}
        if "DnsConfig" in wanted:
            records = [record | {"TTL": self.ttl()} for record in wanted["DnsConfig"]["DnsRecords"]]
            yield {"DnsConfig": wanted["DnsConfig"] | {"DnsRecords": records}}
        if "HealthCheckConfig" in wanted:
            yield {"HealthCheckConfig": self.check(wanted["HealthCheckConfig"]["Type"])}
        yield {"Tags": self.tags()}

    def description(self):
        return self.random.choice(("", text(self.random)))

    def ttl(self):
        return self.random.choice((0, 1, 15, 60, 300, 86_400, 2_147_483_647))

    def tags(self):
        return {text(self.random, 20): text(self.random, 20) for _ in range(self.random.randint(0, 3))}
