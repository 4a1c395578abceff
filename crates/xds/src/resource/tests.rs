use std::net::SocketAddr;

use super::*;
use crate::envoy::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use crate::envoy::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use crate::envoy::pb::envoy::config::core::v3::{
    ConfigSource, Metadata, PathConfigSource, TransportSocket,
};
use crate::envoy::pb::envoy::config::listener::v3::filter::ConfigType;
use crate::envoy::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::RouteSpecifier,
};
use crate::envoy::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
};
use crate::envoy::pb::google::protobuf::{Struct, Value, value};
use crate::sample;

const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

fn text(text: &str) -> Value {
    Value {
        kind: Some(value::Kind::StringValue(text.to_owned())),
    }
}

fn fields(count: usize) -> Struct {
    Struct {
        fields: (0..count)
            .map(|n| (format!("key{n}"), text(&n.to_string())))
            .collect(),
    }
}

/// Many entries in several maps, one inside the other: the chance that two hash maps agree
/// on the order of all of them is nil.
fn metadata() -> Metadata {
    let nested = Value {
        kind: Some(value::Kind::StructValue(fields(8))),
    };
    let mut outer = fields(8);
    outer.fields.insert("nested".into(), nested);
    Metadata {
        filter_metadata: (0..8)
            .map(|n| (format!("filter{n}"), outer.clone()))
            .collect(),
        ..Default::default()
    }
}

#[test]
fn every_type_url_leads_back_to_its_kind() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_type_url(kind.type_url()), Some(kind));
    }
    assert_eq!(Cluster::type_url(), Kind::Cluster.type_url());
    assert_eq!(Secret::type_url(), Kind::Secret.type_url());
    assert_eq!(
        Kind::from_type_url("type.googleapis.com/google.protobuf.Any"),
        None
    );
}

#[test]
fn equal_messages_have_equal_bytes_whatever_the_order_of_their_maps() {
    let versions = (0..8).map(|_| {
        let mut cluster = sample::cluster("a", "b", 100);
        cluster.metadata = Some(metadata());
        cluster.typed_extension_protocol_options = (0..8)
            .map(|n| (format!("options{n}"), sample::any(&fields(6))))
            .collect();
        let resource = Resource::encode("a", &cluster);
        let decoded = resource.decode::<Cluster>().unwrap();
        assert!(
            decoded.metadata == cluster.metadata,
            "sorting lost something"
        );
        resource.version().clone()
    });
    let versions: std::collections::BTreeSet<_> = versions.collect();
    assert_eq!(versions.len(), 1);
}

#[test]
fn maps_inside_a_listener_s_filters_are_sorted_too() {
    let versions = (0..8).map(|_| {
        let mut listener = sample::listener("l", AT, "r", "s");
        let mut routes = sample::routes("r", "c");
        routes.virtual_hosts[0].routes[0].metadata = Some(metadata());
        let manager = HttpConnectionManager {
            route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
            ..Default::default()
        };
        let config = ConfigType::TypedConfig(sample::any(&manager));
        listener.filter_chains[0].filters[0].config_type = Some(config);
        Resource::encode("l", &listener).version().clone()
    });
    let versions: std::collections::BTreeSet<_> = versions.collect();
    assert_eq!(versions.len(), 1);
}

#[test]
fn routes_keep_their_order() {
    let mut routes = sample::routes("r", "first");
    let second = sample::routes("r", "a")
        .virtual_hosts
        .remove(0)
        .routes
        .remove(0);
    routes.virtual_hosts[0].routes.push(second);
    let resource = Resource::encode("r", &routes);
    assert_eq!(resource.decode::<RouteConfiguration>().unwrap(), routes);
    routes.virtual_hosts[0].routes.reverse();
    assert_ne!(Resource::encode("r", &routes), resource);
}

#[test]
fn references_name_what_the_stream_must_bring() {
    let found = |resource: &Resource| {
        let references = resource.references().iter();
        references
            .map(|r| format!("{} {}", r.kind, r.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(&Resource::encode("a", &sample::cluster("a", "s", 1))),
        ["EDS s"]
    );
    assert_eq!(
        found(&Resource::encode("a", &sample::cluster("a", "", 1))),
        ["EDS a"]
    );
    assert_eq!(
        found(&Resource::encode("l", &sample::listener("l", AT, "r", "s"))),
        ["RDS r"]
    );
    assert!(found(&Resource::encode("r", &sample::routes("r", "c"))).is_empty());
}

#[test]
fn secrets_of_this_stream_are_references_and_others_are_not() {
    let config = |name: &str, source| SdsSecretConfig {
        name: name.into(),
        sds_config: source,
    };
    let elsewhere = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::PathConfigSource(
            PathConfigSource::default(),
        )),
        ..Default::default()
    };
    let trusted = CombinedCertificateValidationContext {
        validation_context_sds_secret_config: Some(config("root", Some(sample::aggregated()))),
        ..Default::default()
    };
    let common = CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![
            config("own", Some(sample::aggregated())),
            config("static", None),
            config("file", Some(elsewhere)),
        ],
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(trusted)),
        ..Default::default()
    };
    let tls = UpstreamTlsContext {
        common_tls_context: Some(common),
        ..Default::default()
    };
    let mut cluster = sample::cluster("a", "s", 1);
    cluster.transport_socket = Some(TransportSocket {
        name: "tls".into(),
        config_type: Some(SocketConfig::TypedConfig(sample::any(&tls))),
    });
    let resource = Resource::encode("a", &cluster);
    let found = resource
        .references()
        .iter()
        .map(|r| format!("{} {}", r.kind, r.name));
    assert_eq!(found.collect::<Vec<_>>(), ["EDS s", "SDS own", "SDS root"]);
}

#[test]
fn foreign_bytes_give_an_error_and_never_a_panic() {
    // Every prefix of a good message, and every message with one byte changed.
    let mut listener = sample::listener("l", AT, "r", "s");
    listener.metadata = Some(metadata());
    let good = Resource::encode("l", &listener);
    for cut in 0..good.body().len() {
        let body = good.body().slice(..cut);
        drop(Resource::from_encoded(Kind::Listener, "l", body.to_vec()).decode::<Listener>());
        let mut body = good.body().to_vec();
        body[cut] ^= 0xff;
        drop(Resource::from_encoded(Kind::Listener, "l", body).decode::<Listener>());
    }
    assert!(Resource::from_bytes(b"\x0a\xff").is_err());
    assert!(matches!(
        Resource::from_bytes(b""),
        Err(DecodeError::NoBody)
    ));
}

#[test]
fn bytes_give_back_the_resource() {
    let one = Resource::encode("r", &sample::routes("r", "c"));
    let two = Resource::from_bytes(&one.to_bytes()).unwrap();
    assert_eq!((two.body(), &two), (one.body(), &one));
    let wrong = two.decode::<Cluster>().unwrap_err();
    assert_eq!(wrong.to_string(), "the resource is of kind RDS, not CDS");
}
