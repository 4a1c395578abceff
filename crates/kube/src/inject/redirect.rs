//! Redirection of the pod's traffic to the proxy: by an init container, or by annotations for a CNI plugin.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, SecurityContext};

use super::config::InjectConfig;
use super::environment::text;
use super::{
    EGRESS_PORT, INGRESS_PORT, PROXY_INIT, PROXY_UID, SWITCH, annotation, named, sidecar, spec,
};
use crate::Violation;

/// Label of Fargate pods, which cannot have the capability that the init container needs.
const FARGATE_PROFILE: &str = "eks.amazonaws.com/fargate-profile";

pub(super) fn apply(
    pod: &mut Pod,
    listener_ports: &[u16],
    config: &InjectConfig,
) -> Result<(), Violation> {
    let listeners: Vec<String> = listener_ports.iter().map(u16::to_string).collect();
    let own =
        |name: &str, default: String| annotation::get(pod, name).map_or(default, str::to_owned);
    let rules = Rules {
        ports: own(annotation::PORTS, listeners.join(",")),
        ignored_ips: own(annotation::EGRESS_IGNORED_IPS, config.ignored_ips.clone()),
        ignored_ports: own(
            annotation::EGRESS_IGNORED_PORTS,
            config.ignored_ports.clone(),
        ),
        ipv6: !annotation::is(pod, annotation::IPV6, "disabled"),
    };
    ports(annotation::PORTS, &rules.ports)?;
    ports(annotation::EGRESS_IGNORED_PORTS, &rules.ignored_ports)?;
    addresses(annotation::EGRESS_IGNORED_IPS, &rules.ignored_ips)?;
    if uses_plugin(pod) {
        annotate(pod, rules)
    } else {
        add_init_container(pod, &rules, config)
    }
    Ok(())
}

struct Rules {
    ports: String,
    ignored_ips: String,
    ignored_ports: String,
    ipv6: bool,
}

/// Rejects ports that would otherwise fail inside the init container, where the error is hard to find.
fn ports(name: &str, list: &str) -> Result<(), Violation> {
    for port in annotation::items(list) {
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(annotation::violation(
                name,
                format!(
                    "{port:?} is not a port; write numbers from 1 to 65535 with commas between"
                ),
            ));
        }
    }
    Ok(())
}

/// As [`ports`], for addresses and ranges of them.
fn addresses(name: &str, list: &str) -> Result<(), Violation> {
    for range in annotation::items(list) {
        let (address, length) = range
            .split_once('/')
            .map_or((range, None), |(address, length)| (address, Some(length)));
        let bits = address
            .parse::<IpAddr>()
            .map(|address| if address.is_ipv4() { 32 } else { 128 });
        let fits = |bits: u8| {
            let length = length.map(str::parse::<u8>);
            length.is_none_or(|length| length.is_ok_and(|length| length <= bits))
        };
        if !bits.is_ok_and(fits) {
            let message = format!(
                "{range:?} is not an address; write addresses or ranges such as 10.0.0.0/8 with commas between"
            );
            return Err(annotation::violation(name, message));
        }
    }
    Ok(())
}

/// Whether a network plugin redirects the pod's traffic.
pub(super) fn uses_plugin(pod: &Pod) -> bool {
    match annotation::get(pod, annotation::CNI) {
        Some(value) => value.eq_ignore_ascii_case("enabled"),
        None => {
            let profile = pod
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(FARGATE_PROFILE));
            profile.is_some_and(|profile| !profile.is_empty())
        }
    }
}

fn annotate(pod: &mut Pod, rules: Rules) {
    let annotations = pod.metadata.annotations.get_or_insert_default();
    let mut set = |name: &str, value: String| annotations.insert(name.to_owned(), value);
    set(annotation::CNI, "enabled".to_owned());
    set(SWITCH, "enabled".to_owned());
    set(annotation::PORTS, rules.ports);
    set(annotation::EGRESS_IGNORED_IPS, rules.ignored_ips);
    set(annotation::EGRESS_IGNORED_PORTS, rules.ignored_ports);
    set(annotation::PROXY_EGRESS_PORT, EGRESS_PORT.to_string());
    set(annotation::PROXY_INGRESS_PORT, INGRESS_PORT.to_string());
    set(annotation::IGNORED_UID, PROXY_UID.to_string());
}

fn add_init_container(pod: &mut Pod, rules: &Rules, config: &InjectConfig) {
    let of_pod = spec(pod).security_context.clone().unwrap_or_default();
    // Redirection takes root, which a pod may have given up for all of its containers.
    let gave_up_root = of_pod.run_as_non_root == Some(true) || of_pod.run_as_user.is_some();
    // As our own image has, which has another user for its other commands.
    let asks_for_root = gave_up_root || !config.init_args.is_empty();
    let containers = spec(pod).init_containers.get_or_insert_default();
    if named(containers, PROXY_INIT) {
        return;
    }
    containers.push(Container {
        name: PROXY_INIT.to_owned(),
        image: Some(config.init_image.clone()),
        args: Some(config.init_args.clone()).filter(|args| !args.is_empty()),
        security_context: Some(SecurityContext {
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_ADMIN".to_owned()]),
                drop: None,
            }),
            run_as_user: asks_for_root.then_some(0),
            run_as_non_root: asks_for_root.then_some(false),
            ..SecurityContext::default()
        }),
        env: Some(vec![
            text("APPMESH_START_ENABLED", "1"),
            text("APPMESH_IGNORE_UID", PROXY_UID.to_string()),
            text("APPMESH_ENVOY_INGRESS_PORT", INGRESS_PORT.to_string()),
            text("APPMESH_ENVOY_EGRESS_PORT", EGRESS_PORT.to_string()),
            text("APPMESH_APP_PORTS", rules.ports.as_str()),
            text("APPMESH_EGRESS_IGNORED_IP", rules.ignored_ips.as_str()),
            text("APPMESH_EGRESS_IGNORED_PORTS", rules.ignored_ports.as_str()),
            text("APPMESH_ENABLE_IPV6", if rules.ipv6 { "1" } else { "0" }),
        ]),
        // Not the pod's own annotations: they apply to containers that run beside the application, and this one ends
        // before.
        resources: sidecar::requirements(&config.resources),
        ..Container::default()
    });
}
