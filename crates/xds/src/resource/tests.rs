use std::net::SocketAddr;

use super::*;
use crate::envoy::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use crate::envoy::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use crate::envoy::pb::envoy::config::core::v3::{ConfigSource, PathConfigSource, TransportSocket};
use crate::envoy::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, SdsSecretConfig, UpstreamTlsContext,
    common_tls_context::{CombinedCertificateValidationContext, ValidationContextType},
};
use crate::envoy::pb::google::protobuf::Any;
use crate::sample;

const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

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
fn a_resource_is_the_same_whether_it_is_encoded_at_once_or_in_parts() {
    let mut routes = sample::routes("r", "first");
    let part = |hosts: &RouteConfiguration| {
        let virtual_hosts = hosts.virtual_hosts.clone();
        let only = RouteConfiguration {
            virtual_hosts,
            ..Default::default()
        };
        EncodedFields::new(only.encode_to_vec())
    };
    let (one, two) = (part(&routes), part(&sample::routes("r", "second")));
    let head = RouteConfiguration {
        name: "r".into(),
        ..Default::default()
    }
    .encode_to_vec();
    let assemble =
        |parts: &[&EncodedFields]| Resource::assemble(Kind::Route, "r", &head, parts, Vec::new());
    let both = assemble(&[&one, &two]);
    routes
        .virtual_hosts
        .extend(sample::routes("r", "second").virtual_hosts);
    assert_eq!(both.decode::<RouteConfiguration>().unwrap(), routes);
    assert_eq!(both, assemble(&[&one, &two]));
    assert_ne!(both, assemble(&[&two, &one]), "the order counts");
    assert_ne!(both, assemble(&[&one]));
}

#[test]
fn a_resource_is_kept_in_the_form_in_which_responses_carry_it() {
    let resource = Resource::encode("a", &sample::cluster("a", "s", 1));
    let wire = discovery::Resource::decode(resource.wire_bytes()).unwrap();
    assert_eq!((&*wire.name, &*wire.version), ("a", &**resource.version()));
    let any = Any::decode(resource.any_bytes()).unwrap();
    assert_eq!(wire.resource, Some(any.clone()));
    assert_eq!(
        (any.type_url, &*any.value),
        (Cluster::type_url(), resource.body())
    );
    assert_eq!(
        resource.decode::<Cluster>().unwrap(),
        sample::cluster("a", "s", 1)
    );
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
    let good = Resource::encode("l", &sample::listener("l", AT, "r", "s"));
    for cut in 0..good.body().len() {
        let body = &good.body()[..cut];
        drop(Resource::received(Kind::Listener, "l", "v", body).decode::<Listener>());
        let mut body = good.body().to_vec();
        body[cut] ^= 0xff;
        drop(Resource::received(Kind::Listener, "l", "v", &body).decode::<Listener>());
    }
    let empty = Resource::from_wire(discovery::Resource::default());
    assert!(matches!(empty, Err(DecodeError::NoBody)));
}

#[test]
fn bytes_give_back_the_resource() {
    let one = Resource::encode("r", &sample::routes("r", "c"));
    let wire = discovery::Resource::decode(one.wire_bytes()).unwrap();
    let two = Resource::from_wire(wire).unwrap();
    assert_eq!((two.body(), &two), (one.body(), &one));
    let wrong = two.decode::<Cluster>().unwrap_err();
    assert_eq!(wrong.to_string(), "the resource is of kind RDS, not CDS");
}
