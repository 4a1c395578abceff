"""The ways in which users say where the server is."""

import os
import socket
import unittest.mock
import urllib.parse

import boto3
from botocore.config import Config

from check import equal
from kit import ACCOUNT, finished

API = os.environ["TOMBOLO_API"]
PORT = urllib.parse.urlsplit(API).port
# A name that users have a wildcard record for.
DOMAIN = "control.mesh.test"


def run(clients):
    only_environment({"AWS_ENDPOINT_URL": API})
    only_environment({f"AWS_ENDPOINT_URL_{name}": API for name in ("APP_MESH", "SERVICEDISCOVERY", "STS")})
    with unittest.mock.patch.dict(os.environ, without_endpoints(), clear=True):
        check(lambda service: boto3.client(service, endpoint_url=API))
    with_host_prefix(clients.servicediscovery)


def without_endpoints():
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_ENDPOINT")}


def only_environment(variables):
    with unittest.mock.patch.dict(os.environ, without_endpoints() | variables, clear=True):
        check(lambda service: boto3.Session().client(service))


def check(client):
    equal(client("sts").get_caller_identity()["Account"], ACCOUNT, "the account")
    equal(client("appmesh").list_meshes()["meshes"], [], "the meshes")
    equal(client("servicediscovery").list_namespaces()["Namespaces"], [], "the namespaces")


def with_host_prefix(registry):
    """Two operations go to a host of their own, data-…: a wildcard record leads them to the same server."""
    namespace = finished(registry, registry.create_http_namespace(Name="prefix")["OperationId"])["Targets"]["NAMESPACE"]
    service = registry.create_service(Name="front", NamespaceId=namespace)["Service"]["Id"]
    asked = []
    resolve = socket.getaddrinfo

    def resolver(host, *rest, **options):
        asked.append(host)
        is_ours = host == DOMAIN or host.endswith("-" + DOMAIN)
        return resolve("127.0.0.1" if is_ours else host, *rest, **options)

    variables = {"AWS_DISABLE_HOST_PREFIX_INJECTION": "false"}
    with unittest.mock.patch.dict(os.environ, variables), unittest.mock.patch("socket.getaddrinfo", resolver):
        client = boto3.client(
            "servicediscovery",
            endpoint_url=f"http://{DOMAIN}:{PORT}",
            config=Config(inject_host_prefix=True),
        )
        where = {"NamespaceName": "prefix", "ServiceName": "front"}
        equal(client.discover_instances(**where)["Instances"], [], "instances")
        client.discover_instances_revision(**where)
        client.list_namespaces()
    equal(set(asked), {DOMAIN, "data-" + DOMAIN}, "the hosts that were asked for")
    registry.delete_service(Id=service)
    finished(registry, registry.delete_namespace(Id=namespace)["OperationId"])
