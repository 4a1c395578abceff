//! The endpoint and the kind of a health check.

use crate::probe::ProbeError;
use std::net::{IpAddr, SocketAddr};
use tombolo_model::cloudmap::{HealthCheckType, Instance, Service};

/// The endpoint of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) kind: ProbeKind,
}

/// The condition under which an instance is healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    /// The endpoint accepts a connection.
    Tcp,
    /// The endpoint answers a request for this path with a status from 200 to 399.
    Http { path: String, tls: bool },
}

impl Target {
    /// The target of an instance's check. `None` if the service has no health check, or the instance no
    /// address: an alias has the health of its target.
    pub(crate) fn of(service: &Service, instance: &Instance) -> Option<Self> {
        let check = service.health_check.as_ref()?;
        let port = instance.attributes.port()?;
        // With both addresses, the IPv4 address is checked.
        let address = instance.attributes.address()?;
        let path = || {
            let path = check.resource_path.as_deref().unwrap_or_default();
            // The leading slash is optional.
            format!("/{}", path.strip_prefix('/').unwrap_or(path))
        };
        let kind = match check.kind {
            HealthCheckType::TCP => ProbeKind::Tcp,
            kind => ProbeKind::Http {
                path: path(),
                tls: kind == HealthCheckType::HTTPS,
            },
        };
        Some(Self {
            address: SocketAddr::new(address, port),
            kind,
        })
    }

    /// Refuses loopback addresses, unless `loopback` is true, and link-local addresses, such as a cloud's
    /// metadata service: callers who register instances choose where the server connects to.
    pub(crate) fn check_address(&self, loopback: bool) -> Result<(), ProbeError> {
        let address = self.address.ip().to_canonical();
        let is_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if is_local
            || address.is_multicast()
            || address.is_unspecified()
            || (address.is_loopback() && !loopback)
        {
            return Err(ProbeError::ForbiddenAddress(address));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_model::{
        Timestamp,
        cloudmap::{Health, HealthCheckConfig},
    };

    fn service(kind: HealthCheckType, path: Option<&str>) -> Service {
        Service {
            id: "srv-1".into(),
            name: "web".into(),
            namespace_id: "ns-1".into(),
            description: None,
            dns_config: None,
            health_check: Some(HealthCheckConfig {
                kind,
                resource_path: path.map(Into::into),
                failure_threshold: None,
            }),
            custom_health_check: false,
            creator_request_id: None,
            created_at: Timestamp(0),
            tags: Vec::new(),
            attributes: Default::default(),
        }
    }

    fn instance(attributes: &[(&str, &str)]) -> Instance {
        Instance {
            service_id: "srv-1".into(),
            id: "one".into(),
            attributes: attributes
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            creator_request_id: None,
            operation_id: "op".into(),
            health: Health::Healthy,
            discovery_json: tombolo_model::Memo::default(),
        }
    }

    #[test]
    fn the_address_and_the_path_come_from_the_attributes_and_the_check() {
        let http = |path: &str, tls| ProbeKind::Http {
            path: path.into(),
            tls,
        };
        let four = ("AWS_INSTANCE_IPV4", "10.0.0.1");
        let six = ("AWS_INSTANCE_IPV6", "fd00::1");
        let port = ("AWS_INSTANCE_PORT", "81");
        let of = |kind, path, attributes: &[(&str, &str)]| {
            Target::of(&service(kind, path), &instance(attributes))
        };
        let target = |address: &str, kind| {
            let address = address.parse().expect("an address");
            Some(Target { address, kind })
        };
        use HealthCheckType::{HTTP, HTTPS, TCP};
        for (kind, path, attributes, expected) in [
            (
                TCP,
                None,
                &[four, port][..],
                target("10.0.0.1:81", ProbeKind::Tcp),
            ),
            (
                HTTP,
                None,
                &[four, port],
                target("10.0.0.1:81", http("/", false)),
            ),
            (
                HTTP,
                Some("up?a=b"),
                &[four, six, port],
                target("10.0.0.1:81", http("/up?a=b", false)),
            ),
            (
                HTTPS,
                Some("/up"),
                &[six, port],
                target("[fd00::1]:81", http("/up", true)),
            ),
            (HTTP, None, &[four], None),
            (HTTP, None, &[port, ("AWS_ALIAS_DNS_NAME", "a.b")], None),
        ] {
            assert_eq!(
                of(kind, path, attributes),
                expected,
                "{kind:?} {attributes:?}"
            );
        }
    }

    #[test]
    fn only_addresses_of_others_are_checked() {
        for (address, loopback, expected) in [
            ("10.0.0.1", false, true),
            ("192.0.2.1", false, true),
            ("2001:db8::1", false, true),
            ("127.0.0.1", true, true),
            ("127.0.0.1", false, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("169.254.169.254", true, false),
            ("::ffff:169.254.169.254", true, false),
            ("fe80::1", true, false),
            ("0.0.0.0", true, false),
            ("::", true, false),
            ("224.0.0.1", true, false),
            ("ff02::1", true, false),
            ("255.255.255.255", true, false),
        ] {
            let target = Target {
                address: SocketAddr::new(address.parse().expect("an address"), 80),
                kind: ProbeKind::Tcp,
            };
            let reached = target.check_address(loopback);
            assert_eq!(reached.is_ok(), expected, "{address}: {reached:?}");
        }
    }
}
