"""Every object of App Mesh by the commands of the CLI, in the forms in which users write specs."""

import json
import tempfile

from botocore import xform_name

from check import equal, true
from kit import ACCOUNT
from mesh import MESH, examples

from .program import options


def run(cli):
    equal(cli("sts", "get-caller-identity")["Account"], ACCOUNT, "the account")
    objects = list(examples("shop"))
    for example in objects:
        create(cli, example)
    for example in objects:
        update(cli, example)
    for example in reversed(objects):
        delete(cli, example)
    equal(cli("appmesh", "list-meshes"), {"meshes": []}, "what is left")


def command(kind, verb):
    return xform_name(kind.operation(verb), "-")


def create(cli, example):
    kind = example.kind
    call = "appmesh", command(kind, "Create")
    # The spec in a file, the tags in the CLI's own shorthand.
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(example.spec, file)
        file.flush()
        spec = "--spec", f"file://{file.name}"
        made = cli(*call, *options(example.names), *spec, "--tags", "key=stage,value=one", "key=empty,value=")
    made = made[kind.member]
    equal(made["spec"], example.spec, f"{call}: the spec")
    equal(made["metadata"]["version"], 1, f"{call}: the version")
    described = cli("appmesh", command(kind, "Describe"), *options(example.names))
    equal(described[kind.member], made, command(kind, "Describe"))
    (listed,) = cli("appmesh", command(kind, "List"), *options(example.place))[kind.listed]
    equal(listed["arn"], made["metadata"]["arn"], command(kind, "List"))

    arn = "--resource-arn", made["metadata"]["arn"]
    cli("appmesh", "tag-resource", *arn, "--tags", json.dumps([{"key": "team", "value": "blue"}]))
    cli("appmesh", "untag-resource", *arn, "--tag-keys", "stage", "never-there")
    found = cli("appmesh", "list-tags-for-resource", *arn)["tags"]
    tags = {tag["key"]: tag["value"] for tag in found}
    equal(tags, {"empty": "", "team": "blue"}, f"{call}: the tags")


def update(cli, example):
    kind = example.kind
    call = "appmesh", command(kind, "Update")
    # The whole input in one document.
    given = json.dumps(example.names | {"spec": example.changed})
    updated = cli(*call, "--cli-input-json", given)[kind.member]
    equal(updated["spec"], example.changed, f"{call}: the spec")
    equal(updated["metadata"]["version"], 2, f"{call}: the version")
    owner = [] if kind is MESH else ["--mesh-owner", ACCOUNT]
    described = cli("appmesh", command(kind, "Describe"), *options(example.names), *owner)
    equal(described[kind.member], updated, command(kind, "Describe"))


def delete(cli, example):
    kind = example.kind
    deleted = cli("appmesh", command(kind, "Delete"), *options(example.names))[kind.member]
    equal(deleted["status"], {"status": "DELETED"}, f"{command(kind, 'Delete')}: the status")
    true(deleted["metadata"]["uid"], f"{command(kind, 'Delete')}: no uid")
    cli.fail("NotFoundException", "appmesh", command(kind, "Describe"), *options(example.names))
