//! References from clusters and listeners to other resources.

use std::sync::Arc;

use prost::{Message, Name};

use super::{Body, Kind};
use crate::envoy::pb::envoy::config::cluster::v3::Cluster;
use crate::envoy::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use crate::envoy::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use crate::envoy::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use crate::envoy::pb::envoy::config::core::v3::{ConfigSource, TransportSocket};
use crate::envoy::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use crate::envoy::pb::envoy::config::listener::v3::{FilterChain, Listener};
use crate::envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use crate::envoy::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, UpstreamTlsContext,
    common_tls_context::ValidationContextType,
};
use crate::envoy::pb::google::protobuf::Any;

/// A reference from one resource to another on the same stream.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference {
    /// The kind of the resource that is referred to.
    pub kind: Kind,
    /// The name of the resource that is referred to.
    pub name: Arc<str>,
}

/// The references of a message.
pub(super) fn find<M: Body>(message: &M) -> Vec<Reference> {
    let mut found = Vec::new();
    message.refer(&mut found);
    found
}

/// The references of an encoded message, for a client. A malformed body has none: [`super::Resource::decode`]
/// reports it.
pub(super) fn decode(kind: Kind, body: &[u8]) -> Vec<Reference> {
    match kind {
        Kind::Cluster => Cluster::decode(body).map(|cluster| find(&cluster)),
        Kind::Listener => Listener::decode(body).map(|listener| find(&listener)),
        Kind::Endpoint | Kind::Route | Kind::Secret => Ok(Vec::new()),
    }
    .unwrap_or_default()
}

pub(super) fn in_listener(listener: &Listener, found: &mut Vec<Reference>) {
    let chains = listener
        .filter_chains
        .iter()
        .chain(&listener.default_filter_chain);
    chains.for_each(|chain| in_filter_chain(chain, found));
}

pub(super) fn in_cluster(cluster: &Cluster, found: &mut Vec<Reference>) {
    let eds = DiscoveryType::Eds as i32;
    if cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(eds)) {
        let config = cluster.eds_cluster_config.as_ref();
        if config.is_none_or(|config| config.eds_config.as_ref().is_none_or(is_aggregated)) {
            let service = config.map_or("", |config| config.service_name.as_str());
            let name = if service.is_empty() {
                &cluster.name
            } else {
                service
            };
            push(found, Kind::Endpoint, name);
        }
    }
    let matches = cluster.transport_socket_matches.iter();
    let sockets = matches.filter_map(|m| m.transport_socket.as_ref());
    for socket in sockets.chain(&cluster.transport_socket) {
        in_transport_socket(socket, found);
    }
}

fn in_filter_chain(chain: &FilterChain, found: &mut Vec<Reference>) {
    for filter in &chain.filters {
        if let Some(FilterConfig::TypedConfig(any)) = &filter.config_type
            && let Some(manager) = unpack::<HttpConnectionManager>(any)
            && let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier
            && rds.config_source.as_ref().is_none_or(is_aggregated)
        {
            push(found, Kind::Route, &rds.route_config_name);
        }
    }
    if let Some(socket) = &chain.transport_socket {
        in_transport_socket(socket, found);
    }
}

fn in_transport_socket(socket: &TransportSocket, found: &mut Vec<Reference>) {
    let Some(SocketConfig::TypedConfig(any)) = &socket.config_type else {
        return;
    };
    let tls = if let Some(tls) = unpack::<UpstreamTlsContext>(any) {
        tls.common_tls_context
    } else if let Some(tls) = unpack::<DownstreamTlsContext>(any) {
        tls.common_tls_context
    } else {
        None
    };
    let Some(CommonTlsContext {
        tls_certificate_sds_secret_configs: certificates,
        validation_context_type: validation,
        ..
    }) = tls
    else {
        return;
    };
    for config in &certificates {
        push_secret(found, config);
    }
    match validation {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            push_secret(found, &config);
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            if let Some(config) = &combined.validation_context_sds_secret_config {
                push_secret(found, config);
            }
        }
        _ => {}
    }
}

/// Adds a secret if it comes over the same stream. A secret without a source is a static one of the bootstrap; one with
/// another source is fetched elsewhere.
fn push_secret(found: &mut Vec<Reference>, config: &SdsSecretConfig) {
    if config.sds_config.as_ref().is_some_and(is_aggregated) {
        push(found, Kind::Secret, &config.name);
    }
}

fn push(found: &mut Vec<Reference>, kind: Kind, name: &str) {
    if !name.is_empty() {
        found.push(Reference {
            kind,
            name: name.into(),
        });
    }
}

fn is_aggregated(source: &ConfigSource) -> bool {
    use ConfigSourceSpecifier::{Ads, Self_};
    matches!(source.config_source_specifier, Some(Ads(_) | Self_(_)))
}

fn unpack<M: Message + Name + Default>(any: &Any) -> Option<M> {
    if any.type_url != M::type_url() {
        return None;
    }
    M::decode(any.value.as_slice()).ok()
}
