//! Generates a bootstrap for a real Envoy that replaces this proxy: same node, same control plane, same socket mark.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::admin::METRICS_PATHS;
use crate::options::Options;

/// The cluster of Envoy's own admin endpoints.
const ADMIN: &str = "tombolo_admin";
/// The cluster through which Envoy reaches the control plane.
const CONTROL_PLANE: &str = "tombolo_control_plane";
/// Credentials whose value is a file's content.
const TOKEN_FILE: &str = "envoy.grpc_credentials.file_based_metadata";
const SOL_SOCKET: u32 = 1;
const SO_MARK: u32 = 36;

/// The bootstrap configuration as JSON, for `envoy --config-path`.
///
/// The control plane speaks delta ADS over HTTP/2 at `options.xds_address`, over TLS if that begins with `https://`;
/// without one, Envoy starts with the admin endpoint only. A socket mark becomes a `SO_MARK` option on every upstream
/// socket, including the control plane's, so that redirect rules exempt Envoy's own traffic.
#[must_use]
pub fn generate(options: &Options) -> Value {
    let admin = options
        .admin
        .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9901));
    let mut config = json!({
        "node": {
            "id": options.node_id,
            "cluster": options.node_cluster,
            "metadata": options.node_metadata,
        },
        "admin": { "address": address(&admin.ip().to_string(), admin.port()) },
        "stats_config": {
            "stats_tags": [
                { "tag_name": "tombolo.node", "fixed_value": options.node_id },
                { "tag_name": "tombolo.cluster", "fixed_value": options.node_cluster },
            ],
        },
        "layered_runtime": {
            "layers": [{ "name": "admin", "admin_layer": {} }],
        },
    });
    if let Some(mark) = options.socket_mark {
        config["cluster_manager"] = json!({
            "upstream_bind_config": {
                "source_address": { "address": "0.0.0.0", "port_value": 0 },
                "socket_options": [{
                    "description": "SO_MARK",
                    "level": SOL_SOCKET,
                    "name": SO_MARK,
                    "int_value": mark,
                    "state": "STATE_PREBIND",
                }],
            },
        });
    }
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    if let Some(metrics) = options.metrics {
        listeners.push(metrics_listener(metrics));
        let admin = address(&admin.ip().to_string(), admin.port());
        clusters.push(cluster(ADMIN, "STATIC", admin));
    }
    let xds_address = options.xds_address.as_deref();
    let service = if let Some(target) = xds_address.and_then(|it| it.strip_prefix("https://")) {
        Some(encrypted_control_plane(target, options))
    } else if let Some(control_plane) = xds_address.and_then(control_plane) {
        clusters.push(control_plane);
        Some(json!({ "envoy_grpc": { "cluster_name": CONTROL_PLANE } }))
    } else {
        None
    };
    if let Some(service) = service {
        let ads = json!({ "ads": {}, "resource_api_version": "V3" });
        config["dynamic_resources"] = json!({
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [service],
            },
        });
    }
    config["static_resources"] = json!({ "listeners": listeners, "clusters": clusters });
    config
}

/// A listener through which other hosts read the admin endpoints' metrics.
fn metrics_listener(metrics: SocketAddr) -> Value {
    let routes: Vec<Value> = METRICS_PATHS
        .iter()
        .map(|path| {
            json!({
                "match": {
                    "path": path,
                    "headers": [{ "name": ":method", "string_match": { "exact": "GET" } }],
                },
                "route": { "cluster": ADMIN },
            })
        })
        .collect();
    let mut address = address(&metrics.ip().to_string(), metrics.port());
    if metrics.is_ipv6() {
        // `::` serves IPv4 clients too.
        address["socket_address"]["ipv4_compat"] = true.into();
    }
    json!({
        "name": "tombolo_metrics",
        "address": address,
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "metrics",
                "route_config": { "virtual_hosts": [{ "name": "metrics", "domains": ["*"], "routes": routes }] },
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                }],
            },
        }] }],
    })
}

/// The control plane behind TLS at `host:port`. Envoy's own gRPC client cannot read a token anew for each call; that of
/// gRPC can.
fn encrypted_control_plane(target: &str, options: &Options) -> Value {
    let roots = match &options.xds_authorities {
        Some(path) => json!({ "root_certs": { "filename": path } }),
        None => json!({}),
    };
    let mut service = json!({
        "target_uri": target,
        "stat_prefix": CONTROL_PLANE,
        "channel_credentials": { "ssl_credentials": roots },
        "channel_args": { "args": {
            // A control plane that is gone without closing the connection is noticed within a minute.
            "grpc.keepalive_time_ms": { "int_value": 30_000 },
            "grpc.keepalive_timeout_ms": { "int_value": 20_000 },
        } },
    });
    if let Some(path) = &options.xds_token_file {
        service["credentials_factory_name"] = TOKEN_FILE.into();
        service["call_credentials"] = json!([{ "from_plugin": {
            "name": TOKEN_FILE,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.config.grpc_credential.v3.FileBasedMetadataConfig",
                "secret_data": { "filename": path },
                "header_key": "authorization",
                "header_prefix": "Bearer ",
            },
        } }]);
    }
    json!({ "google_grpc": service })
}

/// The cluster of the control plane at `host:port` or `unix:///path`.
fn control_plane(endpoint: &str) -> Option<Value> {
    let mut cluster = if let Some(path) = endpoint.strip_prefix("unix://") {
        let mut cluster = cluster(CONTROL_PLANE, "STATIC", json!({ "pipe": { "path": path } }));
        // Source addresses and marks do not apply to Unix sockets.
        cluster["upstream_bind_config"] = json!({});
        cluster
    } else {
        let (host, port) = host_port(endpoint)?;
        let is_address = host.parse::<IpAddr>().is_ok();
        let kind = if is_address { "STATIC" } else { "STRICT_DNS" };
        cluster(CONTROL_PLANE, kind, address(&host, port))
    };
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {
                "http2_protocol_options": {
                    // Detects within a minute that the control plane has vanished without closing the connection.
                    "connection_keepalive": { "interval": "30s", "timeout": "20s" },
                },
            },
        },
    });
    cluster["upstream_connection_options"] = json!({ "tcp_keepalive": { "keepalive_time": 60 } });
    Some(cluster)
}

fn cluster(name: &str, kind: &str, address: Value) -> Value {
    json!({
        "name": name,
        "type": kind,
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

pub(crate) fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

/// Splits `host:port`, an IPv6 host in brackets; a scheme before it is dropped.
fn host_port(text: &str) -> Option<(String, u16)> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = text.rsplit_once(':')?;
    Some((
        host.trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_kinds_split() {
        assert_eq!(
            host_port("127.0.0.1:18000"),
            Some(("127.0.0.1".to_owned(), 18000))
        );
        assert_eq!(
            host_port("http://control.test:1"),
            Some(("control.test".to_owned(), 1))
        );
        assert_eq!(host_port("[::1]:9"), Some(("::1".to_owned(), 9)));
        assert_eq!(host_port("nowhere"), None);
    }

    #[test]
    fn control_plane_behind_a_unix_socket_is_a_pipe() {
        let options = Options {
            xds_address: Some("unix:///run/xds.sock".to_owned()),
            ..Options::default()
        };
        let config = generate(&options);
        let cluster = &config["static_resources"]["clusters"][0];
        let path = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
        assert_eq!(cluster.pointer(path), Some(&json!("/run/xds.sock")));
    }

    #[test]
    fn control_plane_behind_tls_is_told_the_token() {
        let config = generate(&Options {
            xds_address: Some("https://xds.mesh.test:18000".to_owned()),
            xds_authorities: Some("/ca.pem".into()),
            xds_token_file: Some("/token".into()),
            ..Options::default()
        });
        let grpc = &config["dynamic_resources"]["ads_config"]["grpc_services"][0]["google_grpc"];
        assert_eq!(grpc["target_uri"], "xds.mesh.test:18000");
        let root = "/channel_credentials/ssl_credentials/root_certs/filename";
        assert_eq!(grpc.pointer(root), Some(&json!("/ca.pem")));
        let token = "/call_credentials/0/from_plugin/typed_config/secret_data/filename";
        assert_eq!(grpc.pointer(token), Some(&json!("/token")));
        assert_eq!(config["static_resources"]["clusters"], json!([]));
    }

    #[test]
    fn mark_and_control_plane_appear_only_when_given() {
        let bare = generate(&Options::default());
        assert!(bare.get("cluster_manager").is_none() && bare.get("dynamic_resources").is_none());
        let full = generate(&Options {
            socket_mark: Some(1337),
            xds_address: Some("127.0.0.1:18000".to_owned()),
            ..Options::default()
        });
        let option = &full["cluster_manager"]["upstream_bind_config"]["socket_options"][0];
        assert_eq!(
            (option["level"].as_u64(), option["name"].as_u64()),
            (Some(1), Some(36))
        );
        assert_eq!(option["int_value"], 1337);
        assert_eq!(
            full["dynamic_resources"]["ads_config"]["api_type"],
            "DELTA_GRPC"
        );
    }
}
