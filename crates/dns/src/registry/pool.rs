//! What the instances of one service publish.

use super::names::Ttls;
use crate::key::{Key, name_of, name_under, parents};
use hickory_proto::rr::Name;
use std::{collections::HashMap, net::IpAddr};
use tombolo_model::{
    registry::{Health, Instance, Service},
    view::ServiceInstances,
};

/// The values to pick from, by type. If the health of the instances is known, only healthy ones are
/// here, or all of them where none is healthy.
pub(super) struct Pool {
    /// What it was made of.
    of: Option<ServiceInstances>,
    pub(super) v4: Vec<Address>,
    pub(super) v6: Vec<Address>,
    pub(super) targets: Vec<Target>,
    /// Targets of `CNAME` records.
    pub(super) aliases: Vec<Name>,
    /// The addresses of instances by the wire labels in front of the service's name. Labels that only
    /// lie between have none. Unhealthy instances are here too: whoever knows the name may ask.
    pub(super) by_name: HashMap<Box<[u8]>, Vec<IpAddr>>,
}

/// Where an instance of a service with `A` or `AAAA` records is.
pub(super) enum Address {
    /// Here.
    Of(IpAddr),
    /// Wherever this name (`AWS_ALIAS_DNS_NAME`) leads.
    Alias(Name),
}

/// The rest of an `SRV` record.
pub(super) struct Target {
    pub(super) name: Name,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

impl Pool {
    /// Whether it was made of just these instances.
    pub(super) fn is_of(&self, instances: Option<&ServiceInstances>) -> bool {
        match (&self.of, instances) {
            // The maps are persistent: one that changed is another one.
            (Some(of), Some(instances)) => of.by_id.ptr_eq(&instances.by_id),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether there is nothing to publish.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty()
            && self.v6.is_empty()
            && self.targets.is_empty()
            && self.aliases.is_empty()
    }

    pub(super) fn of(
        instances: Option<&ServiceInstances>,
        service: &Service,
        name: &Name,
        ttls: &Ttls,
    ) -> Self {
        let mut v4 = Choice::default();
        let mut v6 = Choice::default();
        let mut targets = Choice::default();
        let mut aliases = Choice::default();
        let mut by_name = HashMap::new();
        let all = instances
            .into_iter()
            .flat_map(|instances| instances.by_id.values());
        for instance in all {
            let healthy = !service.is_health_checked() || instance.health == Health::Healthy;
            let addresses = addresses(instance);
            let alias = instance.attribute("AWS_ALIAS_DNS_NAME").and_then(name_of);
            for (ttl, choice, is_kind) in [
                (ttls.a, &mut v4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
                (ttls.aaaa, &mut v6, IpAddr::is_ipv6),
            ] {
                if ttl.is_some() {
                    let own = addresses.iter().filter(|address| is_kind(address));
                    choice.extend(healthy, own.map(|address| Address::Of(*address)));
                    choice.extend(healthy, alias.clone().map(Address::Alias));
                }
            }
            if ttls.srv.is_some()
                && let Some(port) = instance
                    .attribute("AWS_INSTANCE_PORT")
                    .and_then(|port| port.parse().ok())
                && let Some((target, labels)) = instance_name(&instance.id, name)
            {
                // Names between the instance and the service exist too.
                for parent in parents(&labels).skip(1) {
                    by_name.entry(parent.into()).or_insert_with(Vec::new);
                }
                by_name.insert(labels, addresses.clone());
                targets.extend(
                    healthy,
                    [Target {
                        name: target,
                        port,
                        addresses,
                    }],
                );
            }
            if ttls.cname.is_some() {
                aliases.extend(
                    healthy,
                    instance.attribute("AWS_INSTANCE_CNAME").and_then(name_of),
                );
            }
        }
        Self {
            of: instances.cloned(),
            v4: v4.best(),
            v6: v6.best(),
            targets: targets.best(),
            aliases: aliases.best(),
            by_name,
        }
    }
}

/// Values of healthy instances, and of the others.
struct Choice<T> {
    healthy: Vec<T>,
    unhealthy: Vec<T>,
}

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Self {
            healthy: Vec::new(),
            unhealthy: Vec::new(),
        }
    }
}

impl<T> Choice<T> {
    fn extend(&mut self, healthy: bool, values: impl IntoIterator<Item = T>) {
        let side = if healthy {
            &mut self.healthy
        } else {
            &mut self.unhealthy
        };
        side.extend(values);
    }

    /// An answer with a doubtful address is better than none (facts/cloudmap-api.md §10).
    fn best(self) -> Vec<T> {
        if self.healthy.is_empty() {
            self.unhealthy
        } else {
            self.healthy
        }
    }
}

fn addresses(instance: &Instance) -> Vec<IpAddr> {
    // An address of the wrong family would make a record of the wrong type.
    let v4 = instance
        .attribute("AWS_INSTANCE_IPV4")
        .and_then(|text| text.parse().ok())
        .filter(IpAddr::is_ipv4);
    let v6 = instance
        .attribute("AWS_INSTANCE_IPV6")
        .and_then(|text| text.parse().ok())
        .filter(IpAddr::is_ipv6);
    v4.into_iter().chain(v6).collect()
}

/// The name of an instance, and the wire labels that it adds to its service's name. Dots in an id
/// separate labels where that gives labels, as in an id that is an address; otherwise the id is one label.
/// `None` if it is too long for that.
fn instance_name(id: &str, service: &Name) -> Option<(Name, Box<[u8]>)> {
    if let Some(key) = Key::parse(id).filter(|_| !id.ends_with('.')) {
        return Some((name_under(id, service)?, key.as_bytes().into()));
    }
    let name = Name::from_labels(std::iter::once(id.as_bytes()).chain(service.iter())).ok()?;
    let mut labels = vec![u8::try_from(id.len()).ok()?];
    labels.extend(id.bytes().map(|byte| byte.to_ascii_lowercase()));
    Some((name, labels.into()))
}
