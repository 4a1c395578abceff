"""App Mesh for the tool that plans."""

from check import equal, true
from kit import ACCOUNT, tags
from mesh import MESH

from .maker import members


class MeshProvider:
    """One kind of App Mesh. It notes in `taken` which members and words of specs the server took."""

    def __init__(self, appmesh, kind, taken):
        self.appmesh = appmesh
        self.kind = kind
        self.taken = taken

    def note(self, spec):
        shape = self.appmesh.meta.service_model.shape_for(f"{self.kind.name}Spec")
        self.taken |= set(members(shape, spec))

    def owner(self):
        """Terraform sends the owner of the mesh with every call, once it knows it."""
        return {} if self.kind is MESH else {"meshOwner": ACCOUNT}

    def create(self, wanted):
        given = wanted["names"] | {"spec": wanted["spec"], "tags": tags(**wanted["tags"])}
        made = self.kind.call(self.appmesh, "Create", **given)
        equal(made["spec"], wanted["spec"], f"the spec that Create{self.kind.name} answers")
        equal(made["metadata"]["version"], 1, f"the version of a new {self.kind.name}")
        self.note(wanted["spec"])
        return {"id": made["metadata"]["uid"], "arn": made["metadata"]["arn"], "names": wanted["names"]}

    def read(self, state):
        try:
            found = self.kind.call(self.appmesh, "Describe", **state["names"], **self.owner())
        except self.appmesh.exceptions.NotFoundException:
            return None
        true(found["status"]["status"] == "ACTIVE", f"{state['arn']} is {found['status']}")
        metadata = found["metadata"]
        equal((metadata["arn"], metadata["uid"]), (state["arn"], state["id"]), "what never changes")
        found_tags = self.appmesh.list_tags_for_resource(resourceArn=state["arn"])["tags"]
        return {
            "names": state["names"],
            "spec": found["spec"],
            "tags": {tag["key"]: tag["value"] for tag in found_tags},
            "version": metadata["version"],
        }

    def update(self, state, found, wanted, changed):
        if "spec" in changed:
            updated = self.kind.call(self.appmesh, "Update", **state["names"], **self.owner(), spec=wanted["spec"])
            equal(updated["metadata"]["version"], found["version"] + 1, f"the version of {state['arn']}")
            self.note(wanted["spec"])
        if "tags" in changed:
            gone = sorted(set(found["tags"]) - set(wanted["tags"]))
            new = {key: value for key, value in wanted["tags"].items() if found["tags"].get(key) != value}
            if gone:
                self.appmesh.untag_resource(resourceArn=state["arn"], tagKeys=gone)
            if new:
                self.appmesh.tag_resource(resourceArn=state["arn"], tags=tags(**new))

    def delete(self, state):
        self.kind.call(self.appmesh, "Delete", **state["names"], **self.owner())
