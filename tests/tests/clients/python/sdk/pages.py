"""Every paginator that botocore has gives everything once, whatever the size of the pages and who writes meanwhile."""

import itertools

import botocore.session
from botocore import xform_name

from check import equal, true
from kit import Tags, finished, tags
from mesh import GATEWAY, GATEWAY_ROUTE, MESH, NODE, ROUTE, ROUTER, SERVICE, examples

COUNT = 7
SIZES = (1, 2, 3, 50)


def run(clients):
    listings = {"appmesh": meshes(clients.appmesh), "servicediscovery": registry(clients.servicediscovery)}
    loader = botocore.session.get_session().get_component("data_loader")
    for service, calls in listings.items():
        client = getattr(clients, service)
        model = loader.load_service_model(service, "paginators-1")["pagination"]
        equal(sorted(calls), sorted(model), f"the paginators of {service}")
        equal(client.waiter_names, [], f"the waiters of {service}, which nothing here waits with")
        for operation, (params, identity) in calls.items():
            paginate(client, operation, model[operation], params, identity)
    while_writing(clients.appmesh)
    while_registering(clients.servicediscovery)
    remove(clients)


def paginate(client, operation, model, params, identity):
    paginator = client.get_paginator(xform_name(operation))
    key = model["result_key"]
    whole = getattr(client, xform_name(operation))(**params)
    true(not whole.get(model["output_token"]), f"{operation}: more than one page")
    wanted = sorted(identity(each) for each in whole[key])
    true(len(wanted) >= COUNT, f"{operation}: only {wanted}")
    for size in SIZES:
        pages = list(paginator.paginate(**params, PaginationConfig={"PageSize": size}))
        found = [identity(each) for page in pages for each in page[key]]
        equal(sorted(found), wanted, f"{operation}: pages of {size}")
        true(all(len(page[key]) <= size for page in pages), f"{operation}: a page is longer than {size}")
        true(not pages[-1].get(model["output_token"]), f"{operation}: the last page has a token")
    # A listing that stops in the middle of a page goes on where it stopped.
    first = paginator.paginate(**params, PaginationConfig={"PageSize": 2, "MaxItems": 3}).build_full_result()
    config = {"PageSize": 3, "StartingToken": first["NextToken"]}
    rest = paginator.paginate(**params, PaginationConfig=config).build_full_result()
    found = [identity(each) for each in itertools.chain(first[key], rest[key])]
    equal((len(first[key]), sorted(found)), (3, wanted), f"{operation}: in two parts")
    found = paginator.paginate(**params, PaginationConfig={"PageSize": 2}).search(f"{key}[]")
    equal(sorted(identity(each) for each in found), wanted, f"{operation}: searched")


def meshes(appmesh):
    """Makes several of each kind; gives the parameters of each listing and what tells its items apart."""
    for number in range(1, COUNT):
        appmesh.create_mesh(meshName=f"pages-{number}")
    mesh = "pages"
    listings = {}
    for example in examples(mesh):
        kind = example.kind
        own = example.names[kind.own_name]
        kind.call(appmesh, "Create", **example.names, spec=example.spec)
        for number in range(1, 1 if kind is MESH else COUNT):
            names = example.names | {kind.own_name: f"{own}-{number}"}
            kind.call(appmesh, "Create", **names, spec=example.spec)
        listings[kind.operation("List")] = example.place, lambda each: each["arn"]
    arn = appmesh.describe_mesh(meshName=mesh)["mesh"]["metadata"]["arn"]
    appmesh.tag_resource(resourceArn=arn, tags=tags(**{f"tag-{number}": "" for number in range(COUNT)}))
    listings["ListTagsForResource"] = {"resourceArn": arn}, lambda tag: tag["key"]
    return listings


def registry(client):
    def create(name):
        operation = finished(client, client.create_http_namespace(Name=name)["OperationId"])
        return operation["Targets"]["NAMESPACE"]

    namespaces = [create(f"pages-{number}") for number in range(COUNT)]
    services = [
        client.create_service(Name=f"service-{number}", NamespaceId=namespaces[0], Tags=Tags(stage="one"))["Service"]
        for number in range(COUNT)
    ]
    for number in range(COUNT):
        color = {"color": f"{number}"}
        client.register_instance(ServiceId=services[0]["Id"], InstanceId=f"i-{number}", Attributes=color)
    health(client, services[0]["Id"])
    inside = [{"Name": "NAMESPACE_ID", "Values": [namespaces[0]]}]
    by_id = lambda each: each["Id"]
    return {
        "ListNamespaces": ({}, by_id),
        "ListServices": ({"Filters": inside}, by_id),
        "ListInstances": ({"ServiceId": services[0]["Id"]}, by_id),
        "ListOperations": ({}, by_id),
    }


def health(client, service):
    """GetInstancesHealthStatus has pages, but botocore has no paginator for it."""
    found, token = [], {}
    while True:
        page = client.get_instances_health_status(ServiceId=service, MaxResults=2, **token)
        true(len(page["Status"]) <= 2, f"GetInstancesHealthStatus: a page of {page['Status']}")
        found += page["Status"]
        if not page.get("NextToken"):
            break
        token = {"NextToken": page["NextToken"]}
    equal(sorted(found), [f"i-{number}" for number in range(COUNT)], "GetInstancesHealthStatus")


def while_writing(appmesh):
    """What is there all the time is listed once, though others come and go between the pages."""
    inside = {"meshName": "pages"}
    stays = {f"front-{number}" for number in range(1, COUNT)}
    paginator = appmesh.get_paginator("list_virtual_nodes")
    found = []
    for turn, page in enumerate(paginator.paginate(**inside, PaginationConfig={"PageSize": 1})):
        (node,) = page["virtualNodes"]
        found.append(node["virtualNodeName"])
        if turn < COUNT:
            for name in (f"a-{turn}", f"front-1-{turn}", f"z-{turn}"):
                appmesh.create_virtual_node(**inside, virtualNodeName=name, spec={})
        if found[-1] not in stays | {"front"}:
            # The page after it starts behind something that is gone.
            appmesh.delete_virtual_node(**inside, virtualNodeName=found[-1])
    equal(len(found), len(set(found)), f"nodes that are listed once: {found}")
    true(stays <= set(found), f"nodes that were skipped: {stays - set(found)}")


def while_registering(registry):
    """The same for instances."""
    (service,) = [each for each in registry.list_services()["Services"] if each["Name"] == "service-0"]
    mine = {"ServiceId": service["Id"]}
    stays = {f"i-{number}" for number in range(COUNT)}
    found = []
    paginator = registry.get_paginator("list_instances")
    for turn, page in enumerate(paginator.paginate(**mine, PaginationConfig={"PageSize": 1})):
        (instance,) = page["Instances"]
        found.append(instance["Id"])
        if turn < COUNT:
            for name in (f"a-{turn}", f"i-1-{turn}", f"z-{turn}"):
                answer = registry.register_instance(**mine, InstanceId=name, Attributes={"color": "red"})
                finished(registry, answer["OperationId"])
        if found[-1] not in stays:
            # The page after it starts behind something that is gone.
            finished(registry, registry.deregister_instance(**mine, InstanceId=found[-1])["OperationId"])
    equal(len(found), len(set(found)), f"instances that are listed once: {found}")
    true(stays <= set(found), f"instances that were skipped: {stays - set(found)}")


def remove(clients):
    appmesh, client = clients.appmesh, clients.servicediscovery
    for kind in (GATEWAY_ROUTE, GATEWAY, ROUTE, SERVICE, ROUTER, NODE):
        (place,) = {tuple(each.place.items()) for each in examples("pages") if each.kind is kind}
        for each in kind.call(appmesh, "List", **dict(place)):
            kind.call(appmesh, "Delete", **dict(place), **{kind.own_name: each[kind.own_name]})
    for each in MESH.call(appmesh, "List"):
        MESH.call(appmesh, "Delete", meshName=each["meshName"])
    for service in client.list_services()["Services"]:
        for instance in client.list_instances(ServiceId=service["Id"])["Instances"]:
            answer = client.deregister_instance(ServiceId=service["Id"], InstanceId=instance["Id"])
            finished(client, answer["OperationId"])
        client.delete_service(Id=service["Id"])
    for namespace in client.list_namespaces()["Namespaces"]:
        finished(client, client.delete_namespace(Id=namespace["Id"])["OperationId"])
