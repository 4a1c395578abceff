//! The dialect-free plan of one workload's proxies.

use crate::encode_once::Shared;
use serde::Serialize;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

/// Where the redirect rules of a pod send what comes in.
pub const INGRESS_PORT: u16 = 15000;
/// Where the redirect rules of a pod send what goes out, and where a gateway takes requests from itself.
pub const EGRESS_PORT: u16 = 15001;
/// The header in which a gateway names the service and its port in requests that it sends back to itself.
pub const SERVICE_HEADER: &str = "x-tombolo-virtual-service";

/// Everything that the proxies of one workload should do. All proxies of a workload share it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The object that the workload is.
    pub origin: Arc<str>,
    /// What is accepted for the application, by port.
    pub inbound: Vec<Inbound>,
    /// Where the application's calls go, by port.
    pub outbound: Vec<Outbound>,
    /// For a gateway, which accepts requests on ports of its own: nothing is redirected to it, and it has
    /// no application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// What happens to calls that `outbound` does not know.
    pub egress: EgressPolicy,
    /// Whether listeners take connections over IPv6 too, and not over IPv4 alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dual_stack: bool,
    /// Everything that traffic can be sent to, by name.
    pub clusters: BTreeMap<Arc<str>, SharedCluster>,
    /// Where access is logged.
    pub access_log: Option<AccessLog>,
    /// What the dialect's objects refer to although it does not exist, and what cannot be done as asked.
    pub warnings: Vec<Warning>,
}

/// What happens to a call to a destination that no backend has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum EgressPolicy {
    /// HTTP on a known port gets 404, all else is closed.
    #[default]
    Deny,
    /// It goes where it was going, through this cluster.
    PassThrough(Arc<str>),
}

/// A port of the application.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inbound {
    /// The port.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// The cluster that is the application itself.
    pub cluster: Arc<str>,
    /// Limits on the time that the application takes.
    pub timeout: Timeout,
}

/// The listeners and routes of a gateway. A request passes it twice: the routes of its listener choose a service, rewrite
/// the request and send it back to the gateway itself, with the service in a header; there the service's own
/// routes match the rewritten request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Gateway {
    /// The ports on which it accepts requests.
    pub listeners: Vec<GatewayListener>,
    /// The routes of the services, each for requests with its service in [`SERVICE_HEADER`].
    pub service_routes: Vec<Route>,
}

/// A port on which a gateway accepts requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatewayListener {
    /// The port.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// The first that matches is taken.
    pub routes: Vec<Route>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Protocol {
    /// HTTP/1.1, with upgrades.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// Any bytes.
    Tcp,
}

/// Limits on time; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timeout {
    /// For a request with all its attempts.
    pub request: Option<Duration>,
    /// For silence.
    pub idle: Option<Duration>,
}

/// A port that the application calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outbound {
    /// The port.
    pub port: u16,
    /// The addresses whose connections it takes; empty: all that no other on the port takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<IpAddr>,
    /// How connections to this port are routed.
    pub handler: Handler,
}

/// What is done with the calls to a port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Handler {
    /// HTTP of any version, by host.
    Http(Vec<SharedVirtualHost>),
    /// Connections, to one set of targets.
    Tcp(TcpRoute),
}

impl Handler {
    /// The same, but sending nothing anywhere: requests get 503, connections are closed.
    pub(crate) fn refused(&self) -> Self {
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

/// Routes of one host name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualHost {
    /// The object that it comes from; `None`: the workload's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// Unique on its port.
    pub name: String,
    /// The host names, without ports. May start with `*.`.
    pub domains: Vec<String>,
    /// The first that matches is taken.
    pub routes: Vec<Route>,
}

/// A route of requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// The object that it comes from; `None`: that of its virtual host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Arc<str>>,
    /// The name, for logs and statistics.
    pub name: String,
    /// Which requests.
    pub matcher: Match,
    /// Where they go. Empty: they are refused with 503.
    pub targets: Vec<Target>,
    /// How long they may take.
    pub timeout: Timeout,
    /// When they are tried again.
    pub retry: Option<Retry>,
    /// What is rewritten in them on the way.
    #[serde(skip_serializing_if = "RequestRewrite::is_none")]
    pub rewrite: RequestRewrite,
}

/// What is rewritten in a request before it is sent on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RequestRewrite {
    /// The new host; `None` keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathRewrite>,
    /// Headers that are set, whatever they were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_headers: Vec<(String, String)>,
    /// Headers that are taken out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_headers: Vec<String>,
}

impl RequestRewrite {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How a path is rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathRewrite {
    /// What it begins with, and the slash that follows, are replaced.
    Prefix {
        /// What it begins with.
        from: String,
        /// What that becomes; ends with a slash.
        to: String,
    },
    /// The full path is replaced.
    Full(String),
}

/// A cluster and its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The cluster.
    pub cluster: Arc<str>,
    /// Relative to the sum over the route's targets.
    pub weight: u32,
}

/// A route of connections.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TcpRoute {
    /// The object that it comes from.
    pub origin: Arc<str>,
    /// The name, for logs and statistics.
    pub name: String,
    /// Where they go. Empty: they are closed.
    pub targets: Vec<Target>,
    /// How long they may be silent.
    pub idle: Option<Duration>,
}

/// Which requests: all members must match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// Headers, with `:method` and `:scheme` among them.
    pub headers: Vec<HeaderMatch>,
    /// Query parameters: name, and the exact value or mere presence.
    pub query: Vec<(String, Option<String>)>,
    /// Whether the request must be gRPC.
    pub grpc: bool,
}

impl Match {
    /// Every request.
    pub fn everything() -> Self {
        Self {
            path: PathMatch::Prefix("/".into()),
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
        }
    }
}

/// Which paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum PathMatch {
    /// Begins with.
    Prefix(String),
    /// Equal.
    Exact(String),
    /// Matches RE2 from its first to its last character.
    Regex(String),
}

/// Which header values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// The header.
    pub name: String,
    /// The values.
    pub value: ValueMatch,
    /// Whether the result is negated.
    pub invert: bool,
}

/// Which values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ValueMatch {
    /// Any, if it is there.
    Present,
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Matches RE2 from its first to its last character.
    Regex(String),
    /// An integer from the first, inclusive, to the second, exclusive.
    Range(i64, i64),
}

/// When a request is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Envoy's retry conditions: the field's common vocabulary.
    pub on: Vec<&'static str>,
    /// Statuses that count as failures.
    pub statuses: Vec<u32>,
    /// How often at most, beside the first try.
    pub attempts: u32,
    /// How long one try may take.
    pub try_timeout: Option<Duration>,
}

/// Something that traffic can be sent to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// The object that it comes from.
    pub origin: Arc<str>,
    /// How its endpoints are found.
    pub discovery: Discovery,
    /// What is spoken.
    pub protocol: Protocol,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// What may be in flight.
    pub limits: Limits,
    /// Active checks.
    pub health_check: Option<HealthCheck>,
    /// Passive checks.
    pub outlier: Option<OutlierDetection>,
}

/// A cluster with its encoded resource.
pub type SharedCluster = Shared<Cluster, Arc<tombolo_xds::Resource>>;
/// A virtual host with its encoded part of a route table.
pub type SharedVirtualHost = Shared<VirtualHost, tombolo_xds::resource::Part>;

/// How the endpoints of a cluster are found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Discovery {
    /// In the registry; the set is pushed when it changes.
    Registry(EndpointQuery),
    /// By name.
    Dns {
        /// The name.
        hostname: String,
        /// The port.
        port: u16,
        /// Whether each address is an endpoint; otherwise they are one load balancer.
        each_address: bool,
        /// Which addresses.
        family: AddressFamily,
    },
    /// The application beside the proxy.
    Local {
        /// The port of the application.
        port: u16,
        /// Whether it is reached over IPv6.
        ipv6: bool,
    },
    /// Wherever the connection was going.
    OriginalDestination,
}

/// Which instances of the registry are the endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct EndpointQuery {
    /// The namespace, by the name that discovery uses.
    pub namespace: String,
    /// The service.
    pub service: String,
    /// What an instance must carry.
    pub attributes: Vec<(String, String)>,
    /// The port at which instances are called.
    pub port: u16,
    /// Which of an instance's addresses is used.
    pub family: AddressFamily,
}

/// Which addresses are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum AddressFamily {
    /// IPv4, else IPv6; in DNS IPv6, else IPv4.
    #[default]
    Any,
    /// IPv4, else IPv6.
    V4Preferred,
    /// IPv6, else IPv4.
    V6Preferred,
    /// IPv4 alone.
    V4Only,
    /// IPv6 alone.
    V6Only,
}

/// The endpoints of a cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether the registry says that it is healthy.
    pub healthy: bool,
}

/// What may be in flight towards a cluster; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections.
    pub connections: Option<u32>,
    /// Requests that wait for a connection.
    pub pending: Option<u32>,
    /// Requests.
    pub requests: Option<u32>,
}

/// An active health check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheck {
    /// What is asked.
    pub protocol: Protocol,
    /// The path, for HTTP.
    pub path: String,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Successes that make it healthy.
    pub healthy_threshold: u32,
    /// Failures that make it unhealthy.
    pub unhealthy_threshold: u32,
}

/// A passive health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct OutlierDetection {
    /// Consecutive errors that eject.
    pub errors: u32,
    /// How often it is checked whether ejections have ended.
    pub interval: Duration,
    /// How long the first ejection of an endpoint lasts.
    pub ejection: Duration,
    /// How many may be ejected, in percent.
    pub percent: u32,
}

/// An access log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// The file.
    pub path: String,
    /// The format; `None` is Envoy's default.
    pub format: Option<LogFormat>,
}

/// The format of an access log, in Envoy's operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LogFormat {
    /// A line.
    Text(String),
    /// Members of a JSON object.
    Json(Vec<(String, String)>),
}

/// Something that an object refers to although it does not exist, or that cannot be done as asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// The object: `mesh/m/virtualNode/n`.
    pub object: String,
    /// What is left out, and why.
    pub message: String,
}
