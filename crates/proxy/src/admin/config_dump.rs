//! `/config_dump`: names, versions and compiled forms of the resources.

use serde_json::{Value, json};

use crate::cluster_runtime::Member;
use crate::config::cluster::Discovery;
use crate::config::http_connection_manager::Routes;
use crate::config::listener::Filter;
use crate::generation::Generation;
use crate::options::Options;

pub(super) fn listeners(generation: &Generation) -> Value {
    let listeners = generation.listeners.iter();
    let list: Vec<Value> = listeners
        .map(|bound| json!({ "name": bound.listener.name, "local_address": address(bound.socket.address) }))
        .collect();
    json!({ "listener_statuses": list })
}

pub(super) fn config(generation: &Generation, options: &Options) -> Value {
    let revision = generation.config.revision.to_string();
    json!({
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.BootstrapConfigDump",
                "bootstrap": crate::bootstrap_for_envoy::generate(options),
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump",
                "version_info": revision,
                "dynamic_active_clusters": clusters(generation),
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump",
                "version_info": revision,
                "dynamic_listeners": dynamic_listeners(generation),
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
                "dynamic_route_configs": routes(generation),
            },
            {
                "@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump",
                "dynamic_endpoint_configs": endpoints(generation),
            },
        ],
    })
}

fn clusters(generation: &Generation) -> Vec<Value> {
    let clusters = generation.config.clusters.values();
    clusters
        .map(|entry| {
            let cluster = &entry.value;
            let kind = match &cluster.discovery {
                Discovery::Eds(_) => "EDS",
                Discovery::Static(_) => "STATIC",
                Discovery::StrictDns(_) => "STRICT_DNS",
                Discovery::LogicalDns(_) => "LOGICAL_DNS",
                Discovery::OriginalDst { .. } => "ORIGINAL_DST",
            };
            json!({
                "version_info": entry.version,
                "cluster": {
                    "name": cluster.name,
                    "type": kind,
                    "connect_timeout": format!("{}s", cluster.connect_timeout.as_secs_f64()),
                    "lb_policy": format!("{:?}", cluster.policy),
                    "protocol": format!("{:?}", cluster.protocol),
                    "circuit_breakers": format!("{:?}", cluster.limits),
                    "outlier_detection": cluster.outlier.as_ref().map(|outlier| format!("{outlier:?}")),
                    "health_checks": cluster.health_checks.len(),
                },
            })
        })
        .collect()
}

fn dynamic_listeners(generation: &Generation) -> Vec<Value> {
    let chain = |filter: &Filter| match filter {
        Filter::Http(manager) => json!({
            "filter": "http_connection_manager",
            "stat_prefix": manager.stat_prefix,
            "routes": match &manager.routes {
                Routes::Named(name) => json!({ "route_config_name": name }),
                Routes::Inline(table) => route_table(table),
            },
        }),
        Filter::Tcp(config) => json!({ "filter": "tcp_proxy", "stat_prefix": config.stat_prefix }),
        Filter::Close => json!({ "filter": null }),
    };
    let listeners = generation.config.listeners.values();
    listeners
        .map(|entry| {
            let chains = entry.value.all_chains().map(|known| chain(&known.filter));
            json!({
                "name": entry.value.name,
                "active_state": {
                    "version_info": entry.version,
                    "listener": {
                        "name": entry.value.name,
                        "address": address(entry.value.address),
                        "use_original_dst": entry.value.original_dst,
                        "filter_chains": chains.collect::<Vec<_>>(),
                    },
                },
            })
        })
        .collect()
}

fn routes(generation: &Generation) -> Vec<Value> {
    let tables = generation.config.routes.values();
    tables.map(|entry| json!({ "version_info": entry.version, "route_config": route_table(&entry.value) })).collect()
}

fn route_table(table: &crate::config::route::RouteTable) -> Value {
    let routes: Vec<Value> = table
        .routes()
        .map(|route| json!({ "name": route.name, "path": format!("{:?}", route.matcher.path), "action": format!("{:?}", route.action) }))
        .collect();
    json!({ "name": table.name, "routes": routes })
}

fn endpoints(generation: &Generation) -> Vec<Value> {
    let endpoint = |member: &Member| {
        json!({
            "address": member.host.address.to_string(),
            "healthy": member.host.is_healthy(),
            "weight": member.weight,
            "priority": member.priority,
        })
    };
    let clusters = generation.clusters.iter();
    clusters
        .map(|(name, runtime)| {
            let endpoints: Vec<Value> = runtime.members.list.iter().map(endpoint).collect();
            json!({ "endpoint_config": { "cluster_name": name, "endpoints": endpoints } })
        })
        .collect()
}

fn address(address: std::net::SocketAddr) -> Value {
    crate::bootstrap_for_envoy::address(&address.ip().to_string(), address.port())
}
