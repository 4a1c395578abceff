"""Every object of App Mesh is created, read, listed, updated, tagged and deleted; and STS says who asks."""

from check import equal, true
from kit import ACCOUNT, REGION, is_recent, raises, tags
from mesh import MESH, examples


def run(clients):
    identity = clients.sts.get_caller_identity()
    equal(identity["Account"], ACCOUNT, "the account")
    true(identity["Arn"].startswith(f"arn:aws:iam::{ACCOUNT}:"), f"the caller is {identity['Arn']}")
    true(identity["UserId"], "the caller has no id")

    appmesh = clients.appmesh
    objects = list(examples("shop"))
    made = [create(appmesh, example) for example in objects]
    uids = {answer["metadata"]["uid"] for answer in made}
    equal(len(uids), len(objects), "the number of different uids")
    for example, answer in zip(objects, made):
        update(appmesh, example, answer)
        tag(appmesh, example, answer["metadata"]["arn"])
    for example in reversed(objects):
        delete(appmesh, example)
    equal(appmesh.list_meshes()["meshes"], [], "what is left")


def owner(kind):
    """The owner of the mesh, which only calls about what lies in one can have."""
    return {} if kind is MESH else {"meshOwner": ACCOUNT}


def create(appmesh, example):
    kind = example.kind
    what = kind.operation("Create")
    given = example.names | {"spec": example.spec, "tags": tags(stage="one")}
    given["clientToken"] = f"token-{kind.name}"
    made = kind.call(appmesh, "Create", **given)
    check(made, example, example.spec, 1, what)
    equal(made["metadata"]["createdAt"], made["metadata"]["lastUpdatedAt"], f"{what}: the times")
    equal(kind.call(appmesh, "Create", **given, **owner(kind)), made, f"{what}: said again, with the owner")
    equal(kind.call(appmesh, "Describe", **example.names), made, kind.operation("Describe"))
    described = kind.call(appmesh, "Describe", **example.names, meshOwner=ACCOUNT)
    equal(described, made, f"{kind.operation('Describe')} with the owner")

    listed = kind.call(appmesh, "List", **example.place)
    equal(kind.call(appmesh, "List", **example.place, **owner(kind)), listed, "what is listed, with the owner")
    metadata = made["metadata"]
    shared = ("arn", "createdAt", "lastUpdatedAt", "meshOwner", "resourceOwner", "version")
    wanted = example.names | {member: metadata[member] for member in shared}
    equal(listed, [wanted], kind.operation("List"))
    found = appmesh.list_tags_for_resource(resourceArn=metadata["arn"])["tags"]
    equal(found, tags(stage="one"), f"{what}: the tags")
    return made


def update(appmesh, example, made):
    kind = example.kind
    what = kind.operation("Update")
    given = example.names | owner(kind) | {"spec": example.changed, "clientToken": f"update-{kind.name}"}
    updated = kind.call(appmesh, "Update", **given)
    check(updated, example, example.changed, 2, what)
    equal(kind.call(appmesh, "Update", **given), updated, f"{what}: said again")
    for member in ("arn", "uid", "createdAt", "meshOwner", "resourceOwner"):
        equal(updated["metadata"][member], made["metadata"][member], f"{what}: {member}")
    true(updated["metadata"]["lastUpdatedAt"] >= made["metadata"]["lastUpdatedAt"], f"{what}: goes back in time")
    equal(kind.call(appmesh, "Describe", **example.names), updated, kind.operation("Describe"))
    (listed,) = kind.call(appmesh, "List", **example.place)
    equal(listed["version"], 2, f"{what}: the version in the list")


def tag(appmesh, example, arn):
    kind = example.kind.name
    found = lambda: {tag["key"]: tag["value"] for tag in appmesh.list_tags_for_resource(resourceArn=arn)["tags"]}
    appmesh.tag_resource(resourceArn=arn, tags=tags(stage="two", team="blue", empty=""))
    equal(found(), {"stage": "two", "team": "blue", "empty": ""}, f"the tags of {kind}")
    appmesh.untag_resource(resourceArn=arn, tagKeys=["team", "never-there"])
    equal(found(), {"stage": "two", "empty": ""}, f"the tags of {kind} after untagging")
    version = example.kind.call(appmesh, "Describe", **example.names)["metadata"]["version"]
    equal(version, 2, f"the version of {kind} after tagging")


def delete(appmesh, example):
    kind = example.kind
    what = kind.operation("Delete")
    deleted = kind.call(appmesh, "Delete", **example.names, **owner(kind))
    equal(deleted["status"]["status"], "DELETED", f"{what}: the status")
    equal(deleted["spec"], example.changed, f"{what}: the spec")
    is_recent(deleted["metadata"]["lastUpdatedAt"], f"{what}: lastUpdatedAt")
    with raises(appmesh, "NotFoundException"):
        kind.call(appmesh, "Describe", **example.names)
    with raises(appmesh, "NotFoundException"):
        kind.call(appmesh, "Delete", **example.names)
    equal(kind.call(appmesh, "List", **example.place), [], f"{what}: what is listed")


def check(answer, example, spec, version, what):
    """An answer is the whole object: names, metadata, the spec as it was sent, status."""
    names = {member: answer.get(member) for member in example.names}
    equal(names, example.names, f"{what}: the names")
    equal(set(answer) - set(names), {"metadata", "spec", "status"}, f"{what}: the other members")
    equal(answer["spec"], spec, f"{what}: the spec")
    equal(answer["status"], {"status": "ACTIVE"}, f"{what}: the status")
    metadata = answer["metadata"]
    equal(metadata["version"], version, f"{what}: the version")
    equal(metadata["meshOwner"], ACCOUNT, f"{what}: meshOwner")
    equal(metadata["resourceOwner"], ACCOUNT, f"{what}: resourceOwner")
    own = f"/{example.kind.member}/{example.names[example.kind.own_name]}"
    true(metadata["arn"].startswith(f"arn:aws:appmesh:{REGION}:{ACCOUNT}:mesh/shop"), f"{what}: {metadata['arn']}")
    true(example.kind is MESH or metadata["arn"].endswith(own), f"{what}: {metadata['arn']} has no {own}")
    is_recent(metadata["createdAt"], f"{what}: createdAt")
    is_recent(metadata["lastUpdatedAt"], f"{what}: lastUpdatedAt")
