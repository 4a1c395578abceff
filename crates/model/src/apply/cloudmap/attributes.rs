//! What the attributes of an instance must be (facts/cloudmap-api.md §4, §8).

use crate::{
    Rejection,
    cloudmap::{NamespaceType, RecordType, RoutingPolicy, Service},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

const MAX_CUSTOM: usize = 30;
const MAX_CHARACTERS: usize = 5000;

/// Checks what can be said without the state.
pub(super) fn check(attributes: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if attributes.is_empty() {
        return Err(Rejection::invalid("Attributes", "must not be empty"));
    }
    if attributes
        .keys()
        .filter(|key| !key.starts_with("AWS_"))
        .count()
        > MAX_CUSTOM
    {
        let message = format!("has more than {MAX_CUSTOM} custom attributes");
        return Err(Rejection::invalid("Attributes", message));
    }
    let characters: usize = attributes.iter().map(|(k, v)| k.len() + v.len()).sum();
    if characters > MAX_CHARACTERS {
        let message = format!("has {characters} characters, allowed are {MAX_CHARACTERS}");
        return Err(Rejection::invalid("Attributes", message));
    }
    for (key, value) in attributes {
        if !is_key(key) {
            let message = format!("the key {key:?} is not 1 to 255 printable characters");
            return Err(Rejection::invalid("Attributes", message));
        }
        if !is_value(value) {
            let message = "is not up to 1024 printable characters that start with no blank";
            return Err(Rejection::invalid(format!("Attributes.{key}"), message));
        }
    }
    check_reserved(|key| attributes.get(key).map(String::as_str))
}

/// Whether an attribute of an instance may be called this.
pub fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether an attribute of an instance may have this value.
pub fn is_value(value: &str) -> bool {
    let is_printable = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    value.len() <= 1024 && value.bytes().all(is_printable) && !value.starts_with([' ', '\t'])
}

/// Checks that a service can publish and check an instance with these attributes.
pub(super) fn check_fit(
    service: &Service,
    kind: NamespaceType,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    let get = |key: &str| attributes.get(key).map(String::as_str);
    if get("AWS_EC2_INSTANCE_ID").is_some() {
        return check_machine(kind, attributes);
    }
    if get("AWS_ALIAS_DNS_NAME").is_some() {
        return check_alias(service, attributes);
    }
    let require = |key: &str, why: &str| match get(key) {
        Some(_) => Ok(()),
        None => Err(Rejection::invalid(
            format!("Attributes.{key}"),
            format!("must be given because the service {why}"),
        )),
    };
    for record in service
        .dns_config
        .iter()
        .flat_map(|config| &config.dns_records)
    {
        match record.kind {
            RecordType::A => require("AWS_INSTANCE_IPV4", "publishes A records")?,
            RecordType::AAAA => require("AWS_INSTANCE_IPV6", "publishes AAAA records")?,
            RecordType::CNAME => require("AWS_INSTANCE_CNAME", "publishes CNAME records")?,
            RecordType::SRV => {
                require("AWS_INSTANCE_PORT", "publishes SRV records")?;
                if get("AWS_INSTANCE_IPV6").is_none() {
                    require("AWS_INSTANCE_IPV4", "publishes SRV records")?;
                }
            }
        }
    }
    if service.health_check.is_some() {
        require("AWS_INSTANCE_PORT", "has a health check")?;
    }
    Ok(())
}

fn check_reserved<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<(), Rejection> {
    let invalid = |key: &str, what: &str| {
        Err(Rejection::invalid(
            format!("Attributes.{key}"),
            format!("is not {what}"),
        ))
    };
    if get("AWS_INSTANCE_IPV4").is_some_and(|v| v.parse::<Ipv4Addr>().is_err()) {
        return invalid("AWS_INSTANCE_IPV4", "an IPv4 address");
    }
    if get("AWS_INSTANCE_IPV6").is_some_and(|v| v.parse::<Ipv6Addr>().is_err()) {
        return invalid("AWS_INSTANCE_IPV6", "an IPv6 address");
    }
    if get("AWS_INSTANCE_PORT").is_some_and(|v| v.parse::<u16>().is_err()) {
        return invalid("AWS_INSTANCE_PORT", "a port from 0 to 65535");
    }
    for key in ["AWS_INSTANCE_CNAME", "AWS_ALIAS_DNS_NAME"] {
        if get(key).is_some_and(|name| !is_domain_name(name)) {
            return invalid(key, "a domain name");
        }
    }
    match get("AWS_INIT_HEALTH_STATUS") {
        None | Some("HEALTHY" | "UNHEALTHY") => Ok(()),
        Some(_) => invalid("AWS_INIT_HEALTH_STATUS", "HEALTHY or UNHEALTHY"),
    }
}

/// Whether a name can be put into DNS: labels of 1 to 63 characters, with or without the last dot.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic())
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A machine of EC2. Its address is not known here, so it is found by its id alone.
fn check_machine(
    kind: NamespaceType,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    let field = "Attributes.AWS_EC2_INSTANCE_ID";
    if kind != NamespaceType::HTTP {
        return Err(Rejection::invalid(field, "needs an HTTP namespace"));
    }
    let companions = ["AWS_EC2_INSTANCE_ID", "AWS_INIT_HEALTH_STATUS"];
    if let Some(other) = (attributes.keys()).find(|key| !companions.contains(&key.as_str())) {
        let message = format!("goes with AWS_INIT_HEALTH_STATUS alone, not with {other}");
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}

fn check_alias(service: &Service, attributes: &BTreeMap<String, String>) -> Result<(), Rejection> {
    let field = "Attributes.AWS_ALIAS_DNS_NAME";
    let config = service.dns_config.as_ref();
    let has_addresses = config.is_some_and(|config| {
        let mut records = config.dns_records.iter();
        records.any(|record| matches!(record.kind, RecordType::A | RecordType::AAAA))
    });
    let policy = config.and_then(|config| config.routing_policy);
    if !has_addresses || policy != Some(RoutingPolicy::Weighted) {
        return Err(Rejection::invalid(
            field,
            "needs a service with A or AAAA records and routing policy WEIGHTED",
        ));
    }
    if attributes
        .keys()
        .any(|key| key.starts_with("AWS_INSTANCE_"))
    {
        return Err(Rejection::invalid(
            field,
            "excludes every AWS_INSTANCE_ attribute",
        ));
    }
    Ok(())
}
