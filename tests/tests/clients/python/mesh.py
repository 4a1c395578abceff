"""The seven kinds of App Mesh, and specs for one object of each before and after an update."""

import dataclasses
import json
import pathlib

from botocore import xform_name

# Shared with the scripts of the other clients.
OBJECTS = pathlib.Path(__file__).parent.parent / "objects.json"


@dataclasses.dataclass(frozen=True)
class Kind:
    """How a kind is called in operations and members."""

    name: str
    plural: str
    # The members that name the object it lies in.
    parents: tuple = ("meshName",)

    @property
    def member(self):
        return self.name[0].lower() + self.name[1:]

    @property
    def own_name(self):
        return self.member + "Name"

    @property
    def listed(self):
        return self.plural[0].lower() + self.plural[1:]

    def operation(self, verb):
        return verb + (self.plural if verb == "List" else self.name)

    def call(self, client, verb, **params):
        """Makes a call and gives the object, or the list."""
        answer = getattr(client, xform_name(self.operation(verb)))(**params)
        return answer[self.listed if verb == "List" else self.member]


MESH = Kind("Mesh", "Meshes", ())
NODE = Kind("VirtualNode", "VirtualNodes")
ROUTER = Kind("VirtualRouter", "VirtualRouters")
SERVICE = Kind("VirtualService", "VirtualServices")
ROUTE = Kind("Route", "Routes", ("meshName", "virtualRouterName"))
GATEWAY = Kind("VirtualGateway", "VirtualGateways")
GATEWAY_ROUTE = Kind("GatewayRoute", "GatewayRoutes", ("meshName", "virtualGatewayName"))
KINDS = (MESH, NODE, ROUTER, SERVICE, ROUTE, GATEWAY, GATEWAY_ROUTE)


@dataclasses.dataclass(frozen=True)
class Example:
    """One object, and what it becomes."""

    kind: Kind
    names: dict
    spec: dict
    changed: dict

    @property
    def place(self):
        """Where it lies."""
        return {parent: self.names[parent] for parent in self.kind.parents}


def examples(mesh):
    """An object of each kind, parents first; deleted in reverse, none is in use."""
    kinds = {kind.name: kind for kind in KINDS}
    for each in json.loads(OBJECTS.read_text()):
        names = {"meshName": mesh} | each["names"]
        yield Example(kinds[each["kind"]], names, each["spec"], each["changed"])
