"""The rules of App Mesh that no model tells: what goes with what in a spec."""

from .maker import text

PORTS = {"http": 8080, "http2": 8081, "grpc": 8082, "tcp": 8083}
ROUTES = {"http": "httpRoute", "http2": "http2Route", "grpc": "grpcRoute", "tcp": "tcpRoute"}
EVERY = "every"
# Listeners of one protocol, and of all.
LAYOUTS = {protocol: (protocol,) for protocol in PORTS} | {EVERY: tuple(PORTS)}


def path(random):
    return "/" + text(random)


def name(random):
    return f"{text(random, 12)}.{text(random, 12)}.example".lower()


def authority(random):
    number = random.randrange(10**12)
    return f"arn:aws:acm-pca:us-west-2:111122223333:certificate-authority/12345678-1234-1234-1234-{number:012}"


def log_format(random):
    return random.choice(("[%START_TIME%] ", "%RESPONSE_CODE% ", "")) + text(random) + "\n"


SCALARS = {
    "Arn": authority,
    "AwsCloudMapName": name,
    "DurationValue": lambda random: random.randint(1, 60_000),
    "ExactHostName": name,
    "FilePath": lambda random: "/etc/" + text(random),
    "HeaderMatch": lambda random: random.choice(("", ".*", "x+")) + text(random),
    "Hostname": name,
    "HttpGatewayRoutePrefix": lambda random: path(random) + "/",
    "HttpPathExact": path,
    "HttpPathRegex": lambda random: random.choice((".*", "/[a-z]+")) + text(random),
    "HttpRetryPolicyEvent": lambda random: random.choice(
        ("server-error", "gateway-error", "client-error", "stream-error")
    ),
    "PercentInt": lambda random: random.randint(0, 33),
    "ServiceName": name,
    "String": path,
    "SubjectAlternativeName": lambda random: random.choice(("", "spiffe://")) + name(random),
    "SuffixHostname": lambda random: "." + name(random),
    "TextFormat": log_format,
}


class Rules:
    """The rules for one object among others. `ports` are its listeners, by protocol."""

    scalars = SCALARS

    def __init__(self, names, protocols=(), protocol=None, has_several=False):
        self.names = names
        self.ports = [(each, PORTS[each]) for each in protocols]
        # What a route routes, and whether it must say from which listener.
        self.protocol = protocol
        self.has_several = has_several
        self.rewritten = None
        self.structures = {
            "Duration": lambda maker, path: {"unit": ..., "value": ...},
            "GatewayRouteHostnameMatch": one_of("exact", "suffix"),
            "GatewayRouteSpec": self.route_type,
            "GatewayRouteTarget": self.gateway_target,
            "GrpcGatewayRouteMatch": self.grpc_gateway_match,
            "GrpcRetryPolicy": some_of("grpcRetryEvents", "httpRetryEvents", "tcpRetryEvents"),
            "GrpcRouteMatch": self.grpc_match,
            "HealthCheckPolicy": self.health_check,
            "HttpGatewayRoute": self.gateway_route,
            "HttpGatewayRouteMatch": self.gateway_match,
            "HttpGatewayRoutePrefixRewrite": one_of("defaultPrefix", "value"),
            "HttpGatewayRouteRewrite": self.gateway_rewrite,
            "HttpPathMatch": one_of("exact", "regex"),
            "HttpRetryPolicy": some_of("httpRetryEvents", "tcpRetryEvents"),
            "HttpRouteMatch": self.http_match,
            "ListenerTimeout": self.of_listener,
            "MatchRange": self.range,
            "PortMapping": self.port_mapping,
            "RouteSpec": self.route_type,
            "TcpRoute": lambda maker, path: {"match": ...} if self.has_several else {},
            "TcpRouteMatch": lambda maker, path: self.match_port(),
            "VirtualGatewayConnectionPool": self.of_listener,
            "VirtualGatewayHealthCheckPolicy": self.health_check,
            "VirtualGatewayPortMapping": self.port_mapping,
            "VirtualGatewaySpec": self.listeners("VirtualGatewayListener"),
            "VirtualNodeConnectionPool": self.of_listener,
            "VirtualNodeSpec": self.listeners("Listener"),
            "VirtualRouterSpec": self.listeners("VirtualRouterListener"),
            "VirtualServiceProvider": self.provider,
            "WeightedTarget": self.target,
        }

    def listeners(self, shape):
        def rule(maker, path):
            listener = maker.model.shape_for(shape)
            numbers = range(len(self.ports))
            made = [maker.structure(listener, (*path, "listeners", number)) for number in numbers]
            # A node that listens must be found.
            return {"listeners": made} | ({"serviceDiscovery": ...} if shape == "Listener" else {})

        return rule

    def listener(self, path):
        """The protocol and port of the listener in which a path lies."""
        return self.ports[path[1]]

    def port_mapping(self, maker, path):
        protocol, port = self.listener(path)
        return {"protocol": protocol, "port": port}

    def of_listener(self, maker, path):
        return {self.listener(path)[0]: ...}

    def health_check(self, maker, path):
        protocol, port = self.listener(path)
        has_path = protocol in ("http", "http2")
        return {
            "protocol": protocol,
            "port": maker.random.choice((None, port)),
            "path": ... if has_path else None,
        }

    def provider(self, maker, path):
        kind, members = maker.random.choice(
            (("virtualNode", {"virtualNodeName": "node"}), ("virtualRouter", {"virtualRouterName": "router"}))
        )
        layout = self.protocol or maker.random.choice(list(LAYOUTS))
        return {kind: {member: self.names[each, layout] for member, each in members.items()}}

    def route_type(self, maker, path):
        kinds = dict.fromkeys(ROUTES.values())
        return kinds | {ROUTES[self.protocol]: ...}

    def match_port(self):
        return {"port": PORTS[self.protocol]} if self.has_several else {"port": None}

    def target(self, maker, path):
        layout = maker.random.choice((self.protocol, EVERY))
        port = PORTS[self.protocol] if layout == EVERY else None
        return {"virtualNode": self.names["node", layout], "port": port}

    def gateway_target(self, maker, path):
        layout = maker.random.choice((self.protocol, EVERY))
        port = PORTS[self.protocol] if layout == EVERY else None
        service = {"virtualServiceName": self.names["service", layout]}
        return {"virtualService": service, "port": port}

    def http_match(self, maker, path):
        return one_of("prefix", "path")(maker, path) | self.match_port()

    def grpc_match(self, maker, path):
        has_method = maker.random.random() < 0.5
        names = {"serviceName": ..., "methodName": ...} if has_method else {"methodName": None}
        return names | self.match_port()

    def grpc_gateway_match(self, maker, path):
        return some_of("hostname", "serviceName")(maker, path) | self.match_port()

    def gateway_route(self, maker, path):
        self.rewritten = maker.random.choice(("prefix", "path"))
        return {}

    def gateway_match(self, maker, path):
        members = {"prefix": None, "path": None} | {self.rewritten: ...} | self.match_port()
        if self.rewritten == "prefix":
            members["prefix"] = maker.leaf((*path, "prefix"), lambda: SCALARS["HttpGatewayRoutePrefix"](maker.random))
        return members

    def gateway_rewrite(self, maker, path):
        return {"prefix": None, "path": None} | {self.rewritten: ...}

    def range(self, maker, path):
        return {
            "start": maker.leaf((*path, "start"), lambda: maker.random.randint(-1000, 1000)),
            "end": maker.leaf((*path, "end"), lambda: maker.random.randint(1001, 100_000)),
        }


def one_of(*members):
    """Exactly one of these."""

    def rule(maker, path):
        return dict.fromkeys(members) | {maker.random.choice(members): ...}

    return rule


def some_of(*members):
    """At least one of these; chance decides about the others."""

    def rule(maker, path):
        return {maker.random.choice(members): ...}

    return rule
