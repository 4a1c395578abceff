//! Options of a proxy, from the environment variables of App Mesh's Envoy image.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tombolo_xds::Resource;

/// The configuration of a proxy other than xDS.
#[derive(Debug, Clone)]
pub struct Options {
    /// `node.id` of xDS: in App Mesh, the ARN of a virtual node or gateway.
    pub node_id: String,
    /// `node.cluster` of xDS: the common name of proxies of one kind.
    pub node_cluster: String,
    /// Sent to the control plane with the first request of each stream.
    pub node_metadata: BTreeMap<String, String>,
    /// `host:port`, `https://host:port` or `unix:///path` of an xDS server; without one, the state directory and the static
    /// resources are the configuration.
    pub xds_address: Option<String>,
    /// PEM file of the authorities of the xDS server's certificate, where the address is `https://host:port`; the
    /// system's when absent.
    pub xds_authorities: Option<PathBuf>,
    /// A file with the token that says to the xDS server who this proxy is. It is read at each connection.
    pub xds_token_file: Option<PathBuf>,
    /// Address of the admin endpoints.
    pub admin: Option<SocketAddr>,
    /// Address at which other hosts, such as a Prometheus server, can read statistics, health and readiness; nothing
    /// can be changed there. Without it they are only served at the admin address.
    pub metrics: Option<SocketAddr>,
    /// Directory of the last good configuration; `None` keeps none.
    pub state_dir: Option<PathBuf>,
    /// Worker threads; 0 means one per core.
    pub workers: usize,
    /// `SO_MARK` of upstream sockets, by which redirect rules exempt the proxy's own traffic.
    pub socket_mark: Option<u32>,
    /// Maximum file descriptors of the process, which limits connections; by default `RLIMIT_NOFILE`.
    pub max_open_files: Option<usize>,
    /// Time that requests in flight have to finish after SIGTERM.
    pub drain: Duration,
    /// Resources to serve from the start, before or instead of a control plane.
    pub static_resources: Vec<Resource>,
    /// A `tracing` filter directive such as `info`. The library installs no subscriber; the binary that does reads
    /// this.
    pub log: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_id: String::new(),
            node_cluster: String::new(),
            node_metadata: BTreeMap::new(),
            xds_address: None,
            xds_authorities: None,
            xds_token_file: None,
            admin: None,
            metrics: None,
            state_dir: None,
            workers: 0,
            socket_mark: None,
            max_open_files: None,
            drain: Duration::from_secs(20),
            static_resources: Vec::new(),
            log: "info".to_owned(),
        }
    }
}

/// A missing or invalid variable, with a remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct OptionsError {
    /// The environment variable at fault.
    pub variable: &'static str,
    /// The problem, and the expected form.
    pub problem: String,
}

impl Options {
    /// Reads the variables of the App Mesh Envoy image (`facts/appmesh-api.md` section 7) and Tombolo's own.
    /// `get` returns a variable's value; empty values count as unset.
    ///
    /// # Errors
    ///
    /// The first variable that is missing or malformed.
    pub fn from_env(get: &dyn Fn(&str) -> Option<String>) -> Result<Self, OptionsError> {
        let get = |name: &str| {
            get(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let resource = get("APPMESH_RESOURCE_ARN")
            .or_else(|| get("APPMESH_RESOURCE_NAME"))
            .or_else(|| get("APPMESH_VIRTUAL_NODE_NAME"))
            .ok_or_else(|| OptionsError {
                variable: "APPMESH_RESOURCE_ARN",
                problem: "is required: the ARN of a virtual node or gateway, or mesh/MESH/virtualNode/NODE"
                    .to_owned(),
            })?;
        let mut metadata = BTreeMap::new();
        for (variable, key) in [
            ("TOMBOLO_POD", "tombolo.io/pod"),
            ("TOMBOLO_CLUSTER", "tombolo.io/cluster"),
        ] {
            if let Some(value) = get(variable) {
                metadata.insert(key.to_owned(), value);
            }
        }
        Ok(Self {
            node_cluster: get("APPMESH_RESOURCE_CLUSTER").unwrap_or_else(|| resource.clone()),
            node_id: resource,
            node_metadata: metadata,
            xds_address: get("APPMESH_XDS_ENDPOINT"),
            xds_authorities: get("TOMBOLO_XDS_CA").map(PathBuf::from),
            xds_token_file: get("TOMBOLO_XDS_TOKEN_FILE").map(PathBuf::from),
            admin: Some(SocketAddr::new(
                match get("ENVOY_ADMIN_ACCESS_ENABLE_IPV6") {
                    Some(value) if value.eq_ignore_ascii_case("true") => Ipv6Addr::LOCALHOST.into(),
                    _ => Ipv4Addr::LOCALHOST.into(),
                },
                number(&get, "ENVOY_ADMIN_ACCESS_PORT")?.unwrap_or(9901),
            )),
            metrics: parsed(&get, "TOMBOLO_METRICS_ADDRESS", metrics, METRICS_ADDRESS)?,
            max_open_files: None,
            state_dir: get("TOMBOLO_STATE_DIR").map(PathBuf::from),
            workers: number(&get, "TOMBOLO_PROXY_WORKERS")?.unwrap_or(0),
            socket_mark: parsed(&get, "TOMBOLO_SOCKET_MARK", mark, "is not a 32-bit number")?,
            drain: Duration::from_secs(number(&get, "LISTENER_DRAIN_WAIT_TIME_S")?.unwrap_or(20)),
            static_resources: Vec::new(),
            log: log_level(&get("ENVOY_LOG_LEVEL").unwrap_or_default()),
        })
    }

    /// The number of worker threads, with the default applied.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        if self.workers > 0 {
            self.workers
        } else {
            std::thread::available_parallelism().map_or(1, usize::from)
        }
    }
}

type Get<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of a variable as `parse` reads it; `None` when it is unset.
fn parsed<T>(
    get: Get<'_>,
    variable: &'static str,
    parse: impl Fn(&str) -> Option<T>,
    problem: &str,
) -> Result<Option<T>, OptionsError> {
    let Some(text) = get(variable) else {
        return Ok(None);
    };
    let error = || OptionsError {
        variable,
        problem: format!("{text:?} {problem}"),
    };
    parse(&text).map(Some).ok_or_else(error)
}

fn number<T: FromStr>(get: Get<'_>, variable: &'static str) -> Result<Option<T>, OptionsError> {
    let problem = "is not a number in range";
    parsed(get, variable, |text| text.parse().ok(), problem)
}

const METRICS_ADDRESS: &str = "is neither a port nor an address like 0.0.0.0:9901 or [::]:9901";

/// Parses an address with a port, or a port on all addresses.
fn metrics(text: &str) -> Option<SocketAddr> {
    match text.parse() {
        Ok(port) => Some(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)),
        Err(_) => text.parse().ok(),
    }
}

/// Parses a decimal number, or a hexadecimal one after `0x` as firewall tools print it.
fn mark(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Envoy's log levels in the terms of `tracing`.
fn log_level(level: &str) -> String {
    match level.to_ascii_lowercase().as_str() {
        "warning" => "warn",
        "critical" => "error",
        known @ ("trace" | "debug" | "warn" | "error" | "off") => known,
        _ => "info",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Options, OptionsError> {
        Options::from_env(&|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn variables_of_the_app_mesh_image_are_understood() {
        let options = from(&[
            ("APPMESH_RESOURCE_ARN", "mesh/m/virtualNode/front"),
            ("APPMESH_XDS_ENDPOINT", "127.0.0.1:18000"),
            ("ENVOY_ADMIN_ACCESS_PORT", "9902"),
            ("ENVOY_LOG_LEVEL", "warning"),
            ("TOMBOLO_SOCKET_MARK", "0x539"),
            ("TOMBOLO_POD", "front-1"),
            ("TOMBOLO_PROXY_WORKERS", "3"),
        ])
        .expect("valid");
        assert_eq!(options.node_id, "mesh/m/virtualNode/front");
        assert_eq!(options.node_cluster, options.node_id);
        assert_eq!(options.admin, Some("127.0.0.1:9902".parse().unwrap()));
        assert_eq!(options.log, "warn");
        assert_eq!(options.socket_mark, Some(1337));
        assert_eq!(options.node_metadata["tombolo.io/pod"], "front-1");
        assert_eq!(options.worker_count(), 3);
    }

    #[test]
    fn metrics_are_served_to_others_only_where_asked() {
        let metrics = |value| {
            let arn = ("APPMESH_RESOURCE_ARN", "mesh/m/virtualNode/front");
            from(&[arn, ("TOMBOLO_METRICS_ADDRESS", value)]).map(|options| options.metrics)
        };
        assert_eq!(metrics(""), Ok(None));
        assert_eq!(metrics("9901"), Ok("[::]:9901".parse().ok()));
        assert_eq!(metrics("10.0.0.1:9102"), Ok("10.0.0.1:9102".parse().ok()));
        let error = metrics("everywhere").expect_err("no address");
        assert_eq!(error.variable, "TOMBOLO_METRICS_ADDRESS");
    }

    #[test]
    fn deprecated_names_still_work() {
        let options =
            from(&[("APPMESH_VIRTUAL_NODE_NAME", "mesh/m/virtualNode/old")]).expect("valid");
        assert_eq!(options.node_id, "mesh/m/virtualNode/old");
    }

    #[test]
    fn missing_or_malformed_variables_are_named() {
        assert_eq!(from(&[]).unwrap_err().variable, "APPMESH_RESOURCE_ARN");
        let error = from(&[
            ("APPMESH_RESOURCE_ARN", "x"),
            ("TOMBOLO_SOCKET_MARK", "many"),
        ])
        .unwrap_err();
        assert_eq!(error.variable, "TOMBOLO_SOCKET_MARK");
    }
}
