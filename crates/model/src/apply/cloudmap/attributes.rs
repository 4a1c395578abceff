//! The rules of instance attributes (facts/cloudmap-api.md §4, §8).

use crate::{
    Rejection,
    cloudmap::{
        Attributes, NamespaceType, RecordType, RoutingPolicy, Service,
        attributes::{
            ALIAS_DNS_NAME, EC2_INSTANCE_ID, INIT_HEALTH_STATUS, INSTANCE_CNAME, INSTANCE_IPV4,
            INSTANCE_IPV6, INSTANCE_PORT, RESERVED,
        },
    },
};

const MAX_CUSTOM: usize = 30;
const MAX_CHARACTERS: usize = 5000;

/// Checks the rules that do not depend on the state.
pub(super) fn check(attributes: &Attributes) -> Result<(), Rejection> {
    if attributes.is_empty() {
        return Err(Rejection::invalid("Attributes", "must not be empty"));
    }
    if attributes
        .keys()
        .filter(|key| !key.starts_with(RESERVED))
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
    for (key, value) in attributes.iter() {
        if !is_key(key) {
            let message = format!("the key {key:?} is not 1 to 255 printable characters");
            return Err(Rejection::invalid("Attributes", message));
        }
        if !is_value(value) {
            let message = "is not up to 1024 printable characters that start with no blank";
            return Err(Rejection::invalid(format!("Attributes.{key}"), message));
        }
    }
    check_reserved(attributes)
}

/// Whether this is a valid attribute key.
pub fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether this is a valid attribute value.
pub fn is_value(value: &str) -> bool {
    let is_printable = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    value.len() <= 1024 && value.bytes().all(is_printable) && !value.starts_with([' ', '\t'])
}

/// Checks that the attributes are sufficient for the DNS records and the health check of the service.
pub(super) fn check_fit(
    service: &Service,
    kind: NamespaceType,
    attributes: &Attributes,
) -> Result<(), Rejection> {
    let get = |key: &str| attributes.get(key).map(String::as_str);
    if get(EC2_INSTANCE_ID).is_some() {
        return check_ec2(kind, attributes);
    }
    if get(ALIAS_DNS_NAME).is_some() {
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
            RecordType::A => require(INSTANCE_IPV4, "publishes A records")?,
            RecordType::AAAA => require(INSTANCE_IPV6, "publishes AAAA records")?,
            RecordType::CNAME => require(INSTANCE_CNAME, "publishes CNAME records")?,
            RecordType::SRV => {
                require(INSTANCE_PORT, "publishes SRV records")?;
                if get(INSTANCE_IPV6).is_none() {
                    require(INSTANCE_IPV4, "publishes SRV records")?;
                }
            }
        }
    }
    if service.health_check.is_some() {
        require(INSTANCE_PORT, "has a health check")?;
    }
    Ok(())
}

fn check_reserved(attributes: &Attributes) -> Result<(), Rejection> {
    let get = |key: &str| attributes.get(key).map(String::as_str);
    let invalid = |key: &str, what: &str| {
        Err(Rejection::invalid(
            format!("Attributes.{key}"),
            format!("is not {what}"),
        ))
    };
    for (key, is_read, what) in [
        (
            INSTANCE_IPV4,
            attributes.ipv4().is_some(),
            "an IPv4 address",
        ),
        (
            INSTANCE_IPV6,
            attributes.ipv6().is_some(),
            "an IPv6 address",
        ),
        (
            INSTANCE_PORT,
            attributes.port().is_some(),
            "a port from 0 to 65535",
        ),
    ] {
        if get(key).is_some() && !is_read {
            return invalid(key, what);
        }
    }
    for key in [INSTANCE_CNAME, ALIAS_DNS_NAME] {
        if get(key).is_some_and(|name| !is_domain_name(name)) {
            return invalid(key, "a domain name");
        }
    }
    match get(INIT_HEALTH_STATUS) {
        None | Some("HEALTHY" | "UNHEALTHY") => Ok(()),
        Some(_) => invalid(INIT_HEALTH_STATUS, "HEALTHY or UNHEALTHY"),
    }
}

/// Whether this is a valid DNS name: labels of 1 to 63 characters, with or without a trailing dot.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic())
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// An EC2 instance, whose address is not known: discovery returns only its id.
fn check_ec2(kind: NamespaceType, attributes: &Attributes) -> Result<(), Rejection> {
    let field = "Attributes.AWS_EC2_INSTANCE_ID";
    if kind != NamespaceType::HTTP {
        return Err(Rejection::invalid(field, "needs an HTTP namespace"));
    }
    let companions = [EC2_INSTANCE_ID, INIT_HEALTH_STATUS];
    if let Some(other) = (attributes.keys()).find(|key| !companions.contains(&key.as_str())) {
        let message = format!("goes with AWS_INIT_HEALTH_STATUS alone, not with {other}");
        return Err(Rejection::invalid(field, message));
    }
    Ok(())
}

fn check_alias(service: &Service, attributes: &Attributes) -> Result<(), Rejection> {
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
