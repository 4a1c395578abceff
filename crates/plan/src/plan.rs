//! The dialect-free plan of one workload's proxies.

use crate::encode_once::Shared;
use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

/// The sidecar's listening port for inbound traffic: the pod's redirect rules send it there.
pub const INGRESS_PORT: u16 = 15000;
/// The sidecar's listening port for outbound traffic: the pod's redirect rules send it there. A gateway sends requests
/// back to itself on this port.
pub const EGRESS_PORT: u16 = 15001;
/// The header in which a gateway names the service and its port in requests that it sends back to itself.
pub const SERVICE_HEADER: &str = "x-tombolo-virtual-service";

/// The configuration of all proxies of one workload, without any type of Envoy or of a dialect.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The name of the workload's own object, such as `mesh/m/virtualNode/n`.
    pub origin: Arc<str>,
    /// The ports on which the application is called.
    pub inbound: Vec<Inbound>,
    /// The ports that the application calls, in ascending order.
    pub outbound: Vec<Outbound>,
    /// The listeners and routes of a gateway; `None` for a sidecar. A gateway accepts requests on ports of its own:
    /// nothing is redirected to it, and it has no application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// The treatment of calls that no entry of `outbound` covers.
    pub egress: EgressPolicy,
    /// Whether listeners accept connections over IPv6 as well as over IPv4.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dual_stack: bool,
    /// All clusters of the proxies, by name.
    pub clusters: BTreeMap<Arc<str>, SharedCluster>,
    /// The access log; `None` writes none.
    pub access_log: Option<AccessLog>,
    /// References of the dialect's objects to objects that do not exist, and settings that are not supported.
    pub warnings: Vec<Warning>,
}

/// The treatment of a call to a destination that no backend covers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum EgressPolicy {
    /// HTTP requests on a port of a backend get 404; all other connections are closed.
    #[default]
    Deny,
    /// The call is passed on to its original destination, through this cluster.
    PassThrough(Arc<str>),
}

/// A port on which the application is called.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inbound {
    /// The destination port, 1 to 65535.
    pub port: u16,
    /// The protocol of connections to the port.
    pub protocol: Protocol,
    /// The name of the cluster whose only endpoint is the application.
    pub cluster: Arc<str>,
    /// The timeouts of requests to the application.
    pub timeout: Timeout,
}

/// The listeners and routes of a gateway. A request passes the gateway twice: the routes of the listener choose a
/// service, rewrite the request and send it back to the gateway on [`EGRESS_PORT`], with the service in
/// [`SERVICE_HEADER`]; there the service's own routes match the rewritten request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gateway {
    /// The ports on which the gateway accepts requests.
    pub listeners: Vec<GatewayListener>,
    /// The routes of all services, in order of precedence. Each matches only requests that name its service in
    /// [`SERVICE_HEADER`].
    pub service_routes: Vec<Route>,
}

/// A port on which a gateway accepts requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatewayListener {
    /// The listening port, 1 to 65535.
    pub port: u16,
    /// The protocol of connections to the port.
    pub protocol: Protocol,
    /// The routes in order of precedence: the first that matches a request is used.
    pub routes: Vec<Route>,
}

/// An application protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, with upgrades.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// TCP with opaque content.
    Tcp,
}

/// The timeouts of a request or of a connection; `None` is no timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timeout {
    /// The time for a request with all its tries; `None` for TCP.
    pub request: Option<Duration>,
    /// The time without a byte in either direction.
    pub idle: Option<Duration>,
}

/// A port that the application calls, or some destination addresses on that port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outbound {
    /// The destination port, 1 to 65535.
    pub port: u16,
    /// The destination addresses that this entry covers. If empty, the entry covers every address that no other entry
    /// of the port names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<IpAddr>,
    /// The routing of connections to this port.
    pub handler: Handler,
}

/// The routing of calls to a port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Handler {
    /// HTTP of any version and gRPC, routed by the host of each request.
    Http(Vec<SharedVirtualHost>),
    /// TCP connections, all of them to one set of targets.
    Tcp(TcpRoute),
}

impl Handler {
    /// The same handler without targets: requests get 503, connections are closed.
    pub(crate) fn without_targets(&self) -> Self {
        match self {
            Handler::Http(hosts) => {
                let refused = |host: &SharedVirtualHost| {
                    let mut host = VirtualHost::clone(host);
                    let routes = host.routes.iter_mut();
                    routes.for_each(|route| route.targets.clear());
                    host.into()
                };
                Handler::Http(hosts.iter().map(refused).collect())
            }
            Handler::Tcp(route) => {
                let mut route = route.clone();
                route.targets.clear();
                Handler::Tcp(route)
            }
        }
    }
}

/// The routes of requests to a set of host names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualHost {
    /// The name of the object that the host comes from; `None` stands for the workload's own object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// The name, unique among the virtual hosts of a port.
    pub name: String,
    /// The host names, without ports, in lower case: exact, a wildcard suffix such as `*.example.com`, or `*`.
    pub domains: Vec<String>,
    /// The routes in order of precedence: the first that matches a request is used.
    pub routes: Vec<Route>,
}

/// A route of HTTP requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// The name of the object that the route comes from; `None` stands for the object of the virtual host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// The name, for logs and statistics.
    pub name: String,
    /// The requests that use the route.
    pub matcher: Match,
    /// The clusters that get the requests, by weight. If empty, requests get 503.
    pub targets: Vec<Target>,
    /// The timeouts of the requests.
    pub timeout: Timeout,
    /// The retry policy; `None` never retries.
    pub retry: Option<Retry>,
    /// The changes to the requests before they are sent on.
    #[serde(skip_serializing_if = "RequestRewrite::is_none")]
    pub rewrite: RequestRewrite,
}

/// The changes to a request before it is sent on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestRewrite {
    /// The new host; `None` keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The rewrite of the path, without the query; `None` keeps the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// Headers to set, as name and value; existing values are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_headers: Vec<(String, String)>,
    /// The names of headers to remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_headers: Vec<String>,
}

impl RequestRewrite {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A rewrite of a request's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathRewrite {
    /// Replaces a prefix of the path, together with the slash that follows the prefix.
    Prefix {
        /// The prefix to replace.
        from: String,
        /// The replacement; ends with a slash.
        to: String,
    },
    /// Replaces the full path.
    Full(String),
}

/// A cluster and its weight in the targets of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The name of the cluster.
    pub cluster: Arc<str>,
    /// The share of the traffic, relative to the sum of the weights of the route's targets.
    pub weight: u32,
}

/// A route of TCP connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TcpRoute {
    /// The name of the object that the route comes from.
    pub origin: Arc<str>,
    /// The name, for logs and statistics.
    pub name: String,
    /// The clusters that get the connections, by weight. If empty, connections are closed.
    pub targets: Vec<Target>,
    /// The time without a byte in either direction, after which a connection is closed; `None` is no timeout.
    pub idle: Option<Duration>,
}

/// The conditions on a request; all of them must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The condition on the path, without the query.
    pub path: PathMatch,
    /// The conditions on headers, with pseudo-headers such as `:method`.
    pub headers: Vec<HeaderMatch>,
    /// The query parameters that must be present, each with its exact value, or `None` for any value.
    pub query: Vec<(String, Option<String>)>,
    /// Whether the request must be gRPC.
    pub grpc: bool,
}

impl Match {
    /// A match of every request.
    pub fn everything() -> Self {
        Self {
            path: PathMatch::Prefix("/".into()),
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
        }
    }
}

/// A condition on a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathMatch {
    /// The path begins with this text.
    Prefix(String),
    /// The path equals this text.
    Exact(String),
    /// The full path matches this regular expression in RE2 syntax.
    Regex(String),
}

/// A condition on a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// The name of the header.
    pub name: String,
    /// The condition on its value.
    pub value: ValueMatch,
    /// Whether the result is negated.
    pub invert: bool,
}

/// A condition on the value of a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ValueMatch {
    /// The header is present, with any value.
    Present,
    /// The value equals this text.
    Exact(String),
    /// The value begins with this text.
    Prefix(String),
    /// The value ends with this text.
    Suffix(String),
    /// The full value matches this regular expression in RE2 syntax.
    Regex(String),
    /// The value is a decimal integer from the first number, inclusive, to the second, exclusive.
    Range(i64, i64),
}

/// The retry policy of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// The retry conditions, in Envoy's words (`retry_on`).
    pub on: Vec<&'static str>,
    /// The HTTP statuses that are retried under the condition `retriable-status-codes`.
    pub statuses: Vec<u32>,
    /// The number of retries after the first try.
    pub attempts: u32,
    /// The timeout of each try; `None` is no timeout of its own.
    pub try_timeout: Option<Duration>,
}

/// A set of endpoints that traffic can be sent to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// The name of the object that the cluster comes from.
    pub origin: Arc<str>,
    /// The source of the endpoints.
    pub discovery: Discovery,
    /// The protocol of connections to the endpoints.
    pub protocol: Protocol,
    /// The timeout of connecting to an endpoint.
    pub connect_timeout: Duration,
    /// The circuit breakers.
    pub limits: Limits,
    /// The active health check of each endpoint; `None` checks none.
    pub health_check: Option<HealthCheck>,
    /// The passive health check of each endpoint; `None` ejects none.
    pub outlier: Option<OutlierDetection>,
}

/// A cluster, with its encoded xDS resource.
pub type SharedCluster = Shared<Cluster, Arc<tombolo_xds::Resource>>;
/// A virtual host, with its encoded field of a route configuration.
pub type SharedVirtualHost = Shared<VirtualHost, tombolo_xds::resource::EncodedFields>;

/// The source of a cluster's endpoints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Discovery {
    /// The instances that a query of the registry selects; pushed (EDS) when they change.
    Registry(EndpointQuery),
    /// The addresses of a DNS name, which the proxy resolves.
    Dns {
        /// The DNS name.
        hostname: String,
        /// The port of the endpoints.
        port: u16,
        /// Whether each address is an endpoint (Envoy's `STRICT_DNS`), or the name is one endpoint whose address
        /// changes (`LOGICAL_DNS`), such as a load balancer.
        each_address: bool,
        /// The families of the addresses that are used.
        family: AddressFamily,
    },
    /// One endpoint on the loopback address: the application, or for a gateway the gateway itself.
    Local {
        /// The port on the loopback address.
        port: u16,
        /// Whether the loopback address is `::1`, not `127.0.0.1`.
        ipv6: bool,
    },
    /// The original destination of each redirected connection.
    OriginalDestination,
}

/// A query for the instances of the registry that are the endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct EndpointQuery {
    /// The namespace's HTTP name, which `DiscoverInstances` uses.
    pub namespace: String,
    /// The name of the service.
    pub service: String,
    /// The attributes that an instance must have, as key and value.
    pub attributes: Vec<(String, String)>,
    /// The port of every endpoint; ports of instances do not count.
    pub port: u16,
    /// The family of the address that is used of each instance.
    pub family: AddressFamily,
}

/// The IP families that are used, in order of preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum AddressFamily {
    /// No preference: of an instance IPv4 if it has both; of a DNS name IPv6 if it has both.
    #[default]
    Any,
    /// IPv4, and IPv6 if there is no IPv4 address.
    V4Preferred,
    /// IPv6, and IPv4 if there is no IPv6 address.
    V6Preferred,
    /// Only IPv4.
    V4Only,
    /// Only IPv6.
    V6Only,
}

/// One endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The IP address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether the instance is healthy in the registry.
    pub healthy: bool,
}

/// The circuit breakers of a cluster; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The greatest number of connections.
    pub connections: Option<u32>,
    /// The greatest number of requests that wait for a connection.
    pub pending: Option<u32>,
    /// The greatest number of requests in flight.
    pub requests: Option<u32>,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// The protocol of the check.
    pub protocol: Protocol,
    /// The path of the request, for HTTP.
    pub path: String,
    /// The time between checks.
    pub interval: Duration,
    /// The timeout of each check.
    pub timeout: Duration,
    /// The number of consecutive successes after which an endpoint is healthy.
    pub healthy_threshold: u32,
    /// The number of consecutive failures after which an endpoint is unhealthy.
    pub unhealthy_threshold: u32,
}

/// A passive health check: endpoints are ejected for their responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OutlierDetection {
    /// The number of consecutive 5xx responses that ejects an endpoint.
    pub errors: u32,
    /// The time between two checks for ejections that have ended.
    pub interval: Duration,
    /// The length of an endpoint's first ejection; later ones are longer.
    pub ejection: Duration,
    /// The greatest share of a cluster's endpoints that may be ejected at once, 0 to 100 percent.
    pub percent: u32,
}

/// An access log that is written to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// The path of the file.
    pub path: String,
    /// The format; `None` is Envoy's default.
    pub format: Option<LogFormat>,
}

/// The format of an access log, with Envoy's command operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// A line of text.
    Text(String),
    /// A JSON object: the key and the value of each member, in order.
    Json(Vec<(String, String)>),
}

/// A setting of an object that has no effect: it refers to an object that does not exist, or is not supported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// The name of the object, such as `mesh/m/virtualNode/n`.
    pub object: String,
    /// The setting, the effect and the reason, for the operator.
    pub message: String,
}
