//! What the attributes of an instance must be (facts/cloudmap-api.md §4, §8).

use crate::{
    Rejection,
    registry::{RecordType, RoutingPolicy, Service},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

const MAX_CUSTOM: usize = 30;
const MAX_CHARACTERS: usize = 5000;

pub(super) fn check(
    service: &Service,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Rejection> {
    check_shape(attributes)?;
    let get = |key: &str| attributes.get(key).map(String::as_str);
    check_reserved(get)?;
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

fn check_shape(attributes: &BTreeMap<String, String>) -> Result<(), Rejection> {
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
        let legal_key =
            !key.is_empty() && key.len() <= 255 && key.bytes().all(|b| b.is_ascii_graphic());
        if !legal_key {
            let message = format!("the key {key:?} is not 1 to 255 printable characters");
            return Err(Rejection::invalid("Attributes", message));
        }
        let printable = value
            .bytes()
            .all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\t');
        if value.len() > 1024 || !printable || value.starts_with([' ', '\t']) {
            let message = "is not up to 1024 printable characters that start with no blank";
            return Err(Rejection::invalid(format!("Attributes.{key}"), message));
        }
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
    match get("AWS_INIT_HEALTH_STATUS") {
        None | Some("HEALTHY" | "UNHEALTHY") => Ok(()),
        Some(_) => invalid("AWS_INIT_HEALTH_STATUS", "HEALTHY or UNHEALTHY"),
    }
}

fn check_alias(service: &Service, attributes: &BTreeMap<String, String>) -> Result<(), Rejection> {
    let field = "Attributes.AWS_ALIAS_DNS_NAME";
    let config = service.dns_config.as_ref();
    if config.and_then(|config| config.routing_policy) != Some(RoutingPolicy::Weighted) {
        return Err(Rejection::invalid(
            field,
            "needs a service with routing policy WEIGHTED",
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
