"""A mesh with everything in it, at random, for the tool that plans."""

from mesh import GATEWAY, GATEWAY_ROUTE, MESH, NODE, ROUTE, ROUTER, SERVICE

from .engine import Resource
from .maker import LETTERS, Maker, text
from .mesh_provider import MeshProvider
from .mesh_rules import EVERY, LAYOUTS, PORTS, Rules

KINDS = {"node": NODE, "router": ROUTER, "service": SERVICE, "gateway": GATEWAY}
SPECS = tuple(f"{kind.name}Spec" for kind in (MESH, NODE, ROUTER, SERVICE, ROUTE, GATEWAY, GATEWAY_ROUTE))


class MeshStage:
    """Makes the resources of one round, and other specs for them."""

    def __init__(self, appmesh, random):
        self.random = random
        self.appmesh = appmesh
        self.model = appmesh.meta.service_model
        self.taken = set()
        self.mesh = self.name()
        self.names = {(kind, layout): self.name(kind) for kind in KINDS for layout in LAYOUTS}
        self.rules = {}
        self.made = {}

    def name(self, kind=None):
        # Services may be called almost anything; it is in paths and ARNs, which clients write with escapes.
        letters = LETTERS + "-_" + (".+~!*'()@:$&,;=%#?" if kind == "service" else "")
        return f"a{text(self.random, 40, letters)}z{self.random.randrange(10**6)}"

    def resources(self):
        """Those on which others depend come first."""
        yield self.resource("mesh", MESH, {"meshName": self.mesh}, {})
        for kind in ("node", "router", "service", "gateway"):
            for layout in LAYOUTS:
                if kind == "gateway" and layout == "tcp":
                    continue
                yield self.of_layout(kind, layout)
        for protocol in PORTS:
            for layout in (protocol, EVERY):
                yield self.route(ROUTE, "router", protocol, layout)
        for protocol in ("http", "http2", "grpc"):
            for layout in (protocol, EVERY):
                yield self.route(GATEWAY_ROUTE, "gateway", protocol, layout)
        # Nothing routes to this one, so it may have any provider or none.
        names = {"meshName": self.mesh, "virtualServiceName": self.name("service")}
        yield self.resource("service.free", SERVICE, names, {})

    def of_layout(self, word, layout):
        kind = KINDS[word]
        names = {"meshName": self.mesh, kind.own_name: self.names[word, layout]}
        if word == "service":
            # Gateway routes lead to it, so it leads to where their protocol is spoken.
            return self.resource(f"{word}.{layout}", kind, names, {"protocol": layout}, provider=...)
        # No gateway speaks plain TCP.
        protocols = [each for each in LAYOUTS[layout] if word != "gateway" or each != "tcp"]
        return self.resource(f"{word}.{layout}", kind, names, {"protocols": protocols})

    def route(self, kind, parent, protocol, layout):
        names = {
            "meshName": self.mesh,
            KINDS[parent].own_name: self.names[parent, layout],
            kind.own_name: self.name(),
        }
        rules = {"protocol": protocol, "has_several": layout == EVERY}
        return self.resource(f"{kind.member}.{layout}.{protocol}", kind, names, rules)

    def resource(self, address, kind, names, rules, **settled):
        self.rules[address] = kind, Rules(self.names, **rules), settled
        self.make(address)
        wanted = {"names": names, "spec": self.made[address].value, "tags": self.tags()}
        return Resource(address, MeshProvider(self.appmesh, kind, self.taken), wanted)

    def make(self, address):
        """Another spec for it, made from nothing."""
        kind, rules, settled = self.rules[address]
        maker = Maker(self.model, self.random, rules)
        self.made[address] = maker.make(f"{kind.name}Spec", **settled)
        return self.made[address].value

    def changes(self, resource):
        """One field; then everything; then the tags."""
        changed = self.made[resource.address].with_one_change(self.random)
        if changed:
            yield {"spec": changed}
        yield {"spec": self.make(resource.address)}
        yield {"tags": self.tags()}

    def tags(self):
        return {text(self.random, 20): text(self.random, 20) for _ in range(self.random.randint(0, 3))}
