//! The records of the instances of one service.

use super::names::ServiceEntry;
use crate::{
    name::{Name, parents},
    record::{RecordType, Records, srv_data},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::atomic::AtomicU64,
};
use tombolo_model::{
    cloudmap::{
        Health, Instance,
        attributes::{ALIAS_DNS_NAME, INSTANCE_CNAME},
    },
    view::ServiceInstances,
};

/// The records of a service's instances, by type. If the service has a health check, these are the records of the
/// healthy instances, or of all instances if none is healthy.
#[derive(Default)]
pub(super) struct Pool {
    /// The instances that the pool was built from.
    instances: Option<ServiceInstances>,
    /// The last revision at which the pool was found valid.
    pub(super) valid_at: AtomicU64,
    pub(super) v4: Records,
    pub(super) v6: Records,
    /// Alias names (`AWS_ALIAS_DNS_NAME`), whose addresses are answered as the service's own.
    pub(super) flattened: Vec<Name>,
    pub(super) srv: Records,
    /// The addresses of the targets, in the order of `srv`.
    pub(super) targets: Vec<Addresses>,
    /// Targets of `CNAME` records.
    pub(super) aliases: Vec<Name>,
    /// The addresses of instances by the wire labels in front of the service's name; empty for empty non-terminals.
    /// Includes unhealthy instances, which can be queried by name.
    pub(super) by_name: HashMap<Box<[u8]>, Addresses>,
}

/// The addresses of one instance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Addresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Addresses {
    pub(super) fn of(instance: &Instance) -> Self {
        Self {
            v4: instance.attributes.ipv4(),
            v6: instance.attributes.ipv6(),
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4).into_iter();
        v4.chain(self.v6.map(IpAddr::V6))
    }
}

impl Pool {
    /// An empty pool that is valid at no revision.
    pub(super) fn stale() -> Self {
        Self {
            valid_at: AtomicU64::new(u64::MAX),
            ..Self::default()
        }
    }

    /// Whether the pool was built from these instances.
    pub(super) fn is_built_from(&self, instances: Option<&ServiceInstances>) -> bool {
        match (&self.instances, instances) {
            // Persistent maps: a changed map has another pointer.
            (Some(own), Some(instances)) => own.by_id.ptr_eq(&instances.by_id),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whether the service's name has no records.
    pub(super) fn is_empty(&self) -> bool {
        self.v4.is_empty()
            && self.v6.is_empty()
            && self.flattened.is_empty()
            && self.srv.is_empty()
            && self.aliases.is_empty()
    }

    pub(super) fn of(
        instances: Option<&ServiceInstances>,
        service_entry: &ServiceEntry,
        revision: u64,
    ) -> Self {
        let ttls = &service_entry.ttls;
        let mut v4 = ByHealth::default();
        let mut v6 = ByHealth::default();
        let mut flattened = ByHealth::default();
        let mut targets = ByHealth::default();
        let mut aliases = ByHealth::default();
        let mut by_name = HashMap::new();
        let all = instances
            .into_iter()
            .flat_map(|instances| instances.by_id.values());
        for instance in all {
            let healthy =
                !service_entry.service.is_health_checked() || instance.health == Health::Healthy;
            let addresses = Addresses::of(instance);
            let named = |key| instance.attribute(key).and_then(Name::parse);
            if ttls.a.is_some() {
                v4.extend(healthy, addresses.v4);
            }
            if ttls.aaaa.is_some() {
                v6.extend(healthy, addresses.v6);
            }
            if ttls.a.is_some() || ttls.aaaa.is_some() {
                flattened.extend(healthy, named(ALIAS_DNS_NAME));
            }
            if ttls.cname.is_some() {
                aliases.extend(healthy, named(INSTANCE_CNAME));
            }
            if ttls.srv.is_some()
                && let Some(port) = instance.attributes.port()
                && let Some(target) = instance_name(&instance.id, &service_entry.name)
            {
                let key = target.key();
                let labels = key.as_bytes().len() - service_entry.name.as_wire().len();
                let labels = &key.as_bytes()[..labels];
                // The ancestors up to the service's name exist too (RFC 8020).
                for parent in parents(labels).skip(1) {
                    by_name.entry(parent.into()).or_default();
                }
                by_name.insert(labels.into(), addresses);
                targets.extend(healthy, [(target, port, addresses)]);
            }
        }
        // Aliases and addresses answer the same queries, so if one of them is healthy, unhealthy ones of both
        // are left out.
        let is_flattened_healthy = !flattened.healthy.is_empty();
        let is_address_healthy = !v4.healthy.is_empty() || !v6.healthy.is_empty();
        let mut pool = Self {
            instances: instances.cloned(),
            valid_at: AtomicU64::new(revision),
            aliases: aliases.healthy_or_all(),
            by_name,
            ..Self::default()
        };
        if is_flattened_healthy || !is_address_healthy {
            pool.flattened = flattened.healthy_or_all();
        }
        if is_address_healthy || !is_flattened_healthy {
            for address in v4.healthy_or_all() {
                pool.v4
                    .push_address(ttls.a.unwrap_or_default(), address.into());
            }
            for address in v6.healthy_or_all() {
                pool.v6
                    .push_address(ttls.aaaa.unwrap_or_default(), address.into());
            }
        }
        for (target, port, addresses) in targets.healthy_or_all() {
            let ttl = ttls.srv.unwrap_or_default();
            pool.srv
                .push(RecordType::SRV, ttl, &srv_data(1, 1, port, &target));
            pool.targets.push(addresses);
        }
        pool
    }
}

/// The values of healthy and of unhealthy instances.
struct ByHealth<T> {
    healthy: Vec<T>,
    unhealthy: Vec<T>,
}

impl<T> Default for ByHealth<T> {
    fn default() -> Self {
        Self {
            healthy: Vec::new(),
            unhealthy: Vec::new(),
        }
    }
}

impl<T> ByHealth<T> {
    fn extend(&mut self, healthy: bool, values: impl IntoIterator<Item = T>) {
        let side = if healthy {
            &mut self.healthy
        } else {
            &mut self.unhealthy
        };
        side.extend(values);
    }

    /// The values of healthy instances, or of all if none is healthy (facts/cloudmap-api.md §10).
    fn healthy_or_all(self) -> Vec<T> {
        if self.healthy.is_empty() {
            self.unhealthy
        } else {
            self.healthy
        }
    }
}

/// The name of an instance under its service. Dots in the id separate labels if all labels are valid, as in an id that
/// is an address; otherwise the id is one label. `None` if the name is too long.
pub(super) fn instance_name(id: &str, service: &Name) -> Option<Name> {
    let labels = Name::under(id, service).filter(|_| !id.ends_with('.'));
    labels.or_else(|| Name::child(id.as_bytes(), service))
}
