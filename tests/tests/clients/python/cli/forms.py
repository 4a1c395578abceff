"""What the CLI does beside calling: pages, queries, output formats, skeletons, endpoints, exit statuses."""

import concurrent.futures
import json
import os
import socket
import unittest.mock
import urllib.parse

from check import equal, true
from kit import ACCOUNT

from .cloud_map import finished
from .program import as_process

API = os.environ["TOMBOLO_API"]
# A name that users have a wildcard record for.
DOMAIN = "control.mesh.test"

NAMES = [f"node-{number}" for number in range(5)]
LIST = ("appmesh", "list-virtual-nodes", "--mesh-name", "forms")
MESH = ("--mesh-name", "forms")


def run(cli):
    # A spec in the CLI's shorthand.
    made = cli("appmesh", "create-mesh", *MESH, "--spec", "egressFilter={type=ALLOW_ALL}")["mesh"]
    equal(made["spec"], {"egressFilter": {"type": "ALLOW_ALL"}}, "a spec in shorthand")
    for name in NAMES:
        cli("appmesh", "create-virtual-node", *MESH, "--virtual-node-name", name, "--spec", "{}")
    pages(cli)
    outputs(cli)
    skeleton(cli)
    namespaces(cli)
    processes()
    for name in NAMES:
        cli("appmesh", "delete-virtual-node", *MESH, "--virtual-node-name", name)
    cli("appmesh", "delete-mesh", *MESH)


def names(answer):
    return [each["virtualNodeName"] for each in answer["virtualNodes"]]


def pages(cli):
    for size in ("1", "2", "3"):
        answer = cli(*LIST, "--page-size", size)
        equal(sorted(names(answer)), NAMES, f"pages of {size}")
        true("nextToken" not in answer, "a token after the last page")
    first = cli(*LIST, "--page-size", "2", "--max-items", "3")
    rest = cli(*LIST, "--starting-token", first["NextToken"])
    equal((len(names(first)), sorted(names(first) + names(rest))), (3, NAMES), "in two parts")
    true("NextToken" not in rest, "a token after the last part")
    # The service's own members instead of the CLI's.
    page = cli(*LIST, "--limit", "2")
    found = names(page)
    while "nextToken" in page:
        page = cli(*LIST, "--limit", "2", "--next-token", page["nextToken"])
        found += names(page)
    equal(sorted(found), NAMES, "pages by --limit and --next-token")
    equal(sorted(names(cli(*LIST, "--no-paginate"))), NAMES, "--no-paginate")


def outputs(cli):
    found = cli(*LIST, "--query", "sort(virtualNodes[].virtualNodeName)")
    equal(found, NAMES, "--query")
    text = cli.text(*LIST, "--query", "virtualNodes[].[virtualNodeName,version]", "--output", "text")
    equal(sorted(text.splitlines()), [f"{name}\t1" for name in NAMES], "--output text")
    table = cli.text(*LIST, "--output", "table")
    true("ListVirtualNodes" in table, f"--output table has no title: {table}")
    true(all(f"|  {name}" in table or f" {name} " in table for name in NAMES), f"--output table: {table}")
    table = cli.text("appmesh", "describe-mesh", *MESH, "--output", "table")
    true("ALLOW_ALL" in table, f"--output table: {table}")


def skeleton(cli):
    """The skeleton that the CLI makes is an input once its words are filled in."""
    made = cli("appmesh", "create-virtual-service", "--generate-cli-skeleton", "input")
    equal(made["spec"]["provider"]["virtualRouter"], {"virtualRouterName": ""}, "the skeleton")
    provider = {"virtualNode": {"virtualNodeName": NAMES[0]}}
    filled = {"meshName": "forms", "virtualServiceName": "filled.example", "spec": {"provider": provider}}
    answer = cli("appmesh", "create-virtual-service", "--cli-input-json", json.dumps(filled))
    equal(answer["virtualService"]["spec"], {"provider": provider}, "--cli-input-json")
    # What is said by an option wins.
    other = ("--virtual-service-name", "other.example")
    cli("appmesh", "create-virtual-service", "--cli-input-json", json.dumps(filled), *other)
    for name in ("filled.example", "other.example"):
        cli("appmesh", "delete-virtual-service", *MESH, "--virtual-service-name", name)


def namespaces(cli):
    """The pages of Cloud Map, whose members are written in another way; and its host prefix."""
    registry = lambda command, *words: cli("servicediscovery", command, *words)
    ids = {}
    for name in NAMES:
        started = registry("create-http-namespace", "--name", name)
        ids[name] = finished(registry, started)["Targets"]["NAMESPACE"]
    found = registry("list-namespaces", "--page-size", "2", "--query", "sort(Namespaces[].Name)")
    equal(found, NAMES, "pages of namespaces")
    first = registry("list-namespaces", "--page-size", "2", "--max-items", "3")
    rest = registry("list-namespaces", "--starting-token", first["NextToken"])
    both = [each["Name"] for answer in (first, rest) for each in answer["Namespaces"]]
    equal((len(first["Namespaces"]), sorted(both)), (3, NAMES), "namespaces in two parts")

    service = registry("create-service", "--name", "front", "--namespace-id", ids[NAMES[0]])["Service"]["Id"]
    with_host_prefix(registry)
    registry("delete-service", "--id", service)
    for identifier in ids.values():
        finished(registry, registry("delete-namespace", "--id", identifier))


def with_host_prefix(registry):
    """Two commands go to a host of their own, data-…: a wildcard record leads them to the same server."""
    asked = set()
    resolve = socket.getaddrinfo

    def resolver(host, *rest, **options):
        asked.add(host)
        is_ours = host == DOMAIN or host.endswith("-" + DOMAIN)
        return resolve("127.0.0.1" if is_ours else host, *rest, **options)

    endpoint = "--endpoint-url", f"http://{DOMAIN}:{urllib.parse.urlsplit(API).port}"
    where = "--namespace-name", NAMES[0], "--service-name", "front"
    variables = {"AWS_DISABLE_HOST_PREFIX_INJECTION": "false"}
    with unittest.mock.patch.dict(os.environ, variables), unittest.mock.patch("socket.getaddrinfo", resolver):
        equal(registry("discover-instances", *where, *endpoint)["Instances"], [], "instances")
        registry("discover-instances-revision", *where, *endpoint)
        registry("list-namespaces", *endpoint)
    equal(asked, {DOMAIN, "data-" + DOMAIN}, "the hosts that were asked for")


def processes():
    """The program itself, in the ways in which users tell it where the server is."""
    forget = {name: "" for name in os.environ if name.startswith("AWS_ENDPOINT_URL")}
    calls = [
        (("sts", "get-caller-identity", "--endpoint-url", API), forget),
        (("sts", "get-caller-identity"), forget | {"AWS_ENDPOINT_URL": API}),
        (("sts", "get-caller-identity"), {}),
        (("appmesh", "describe-mesh", "--mesh-name", "nobody"), {}),
        (("appmesh", "describe-mesh"), {}),
    ]
    # Two at a time: a start is work, and other tests work too.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda call: as_process(*call[0], **call[1]), calls))
    for (words, _), (status, output, errors) in zip(calls[:3], done[:3]):
        equal((status, errors), (0, ""), f"aws {' '.join(words)}")
        equal(json.loads(output)["Account"], ACCOUNT, f"aws {' '.join(words)}")
    status, output, errors = done[3]
    true(status >= 254, f"the status of a refused call is {status}")
    equal(output, "", "what a refused call prints")
    refused = "An error occurred (NotFoundException) when calling the DescribeMesh operation: "
    true(refused in errors, f"what a refused call says: {errors}")
    status, _, errors = done[4]
    true(status != 0 and "--mesh-name" in errors, f"a call that lacks an option: {status}: {errors}")
