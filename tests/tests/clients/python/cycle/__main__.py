"""Creates, reads, plans without change, updates one field, plans again, tags and deletes every kind of resource."""

import random
import sys

from check import equal, true
from kit import Clients

from .engine import Tool
from .maker import wanted
from .mesh_stage import SPECS, MeshStage
from .registry_stage import RegistryStage

# Rounds go on until the server took all members and words of the model; four are enough as a rule.
LEAST, MOST = 4, 30


def cycle(stage):
    """One round."""
    tool = Tool(stage.resources())
    every = [(resource.address, "create", None) for resource in tool.resources]
    equal(tool.plan(), every, "the first plan")
    equal(tool.apply(), every, "what was done at first")
    equal(tool.plan(), [], "the plan after all was created")
    for resource in tool.resources:
        for new in stage.changes(resource):
            update(tool, resource, new)
    equal(tool.plan(), [], "the plan after all was changed")
    # Somebody else deleted the last one, on which nothing depends.
    last = tool.resources[-1]
    last.provider.delete(last.state)
    equal(tool.apply(), every[-1:], "what was done for one that had vanished")
    equal(tool.plan(), [], "the plan after it was created again")
    tool.destroy()
    equal(tool.plan(), every, "the plan after all was deleted")
    return len(every)


def update(tool, resource, new):
    """The change is planned, done, and then there is nothing left to do."""
    new = {member: value for member, value in new.items() if value != resource.wanted[member]}
    resource.wanted = resource.wanted | new
    actions = [(resource.address, "update", member) for member in new]
    equal(tool.plan(resource), actions, "the plan of a change")
    equal(tool.apply(resource), actions, "what was done for a change")
    equal(tool.plan(resource), [], f"the plan after {actions}")


def main():
    clients = Clients()
    missing = wanted(clients.appmesh.meta.service_model, *SPECS)
    number = count = 0
    while number < LEAST or (missing and number < MOST):
        try:
            stage = MeshStage(clients.appmesh, random.Random(number))
            count += cycle(stage)
            missing -= stage.taken
            count += cycle(RegistryStage(clients.servicediscovery, random.Random(number)))
        except Exception:
            print(f"in round {number}", file=sys.stderr)
            raise
        number += 1
    true(not missing, f"members and words of specs that the server never took: {sorted(missing)}")
    print(f"cycle: {count} resources, every member and word of all specs, in {number} rounds")


main()
