//! The names of one cluster, ready to be looked up.

use super::{Addresses, Cluster, Endpoint, Service};
use crate::{
    key::{Key, first_label, name_of, name_under, parents},
    zone::{Answer, Draw, Query},
};
use hickory_proto::rr::{
    Name, RData, Record,
    rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
};
use std::{collections::HashMap, net::IpAddr};

/// Seconds for which anything in a cluster may be remembered, also that it is not there: pods come and
/// go in less.
const TTL: u32 = 5;

/// How many values one answer holds. It bounds what one question can cost, beyond what UDP carries.
const MOST_VALUES: usize = 512;

/// The names of one cluster.
pub(super) struct Table {
    domain: Box<[u8]>,
    soa: Record,
    /// Every name that exists, with its values; a name between others has none. Names for addresses
    /// (`in-addr.arpa`) are here too.
    places: HashMap<Box<[u8]>, Vec<Value>>,
}

/// A record without its owner; its addresses go with it.
struct Value {
    data: RData,
    /// Addresses of the name in the data.
    addresses: Vec<IpAddr>,
}

impl Value {
    fn of(data: RData) -> Self {
        Self {
            data,
            addresses: Vec::new(),
        }
    }

    fn of_address(address: IpAddr) -> Self {
        Self::of(address_data(address))
    }
}

impl Table {
    /// Collects all names of a cluster.
    pub(super) fn compile(cluster: &Cluster) -> Self {
        let domain = name_of(&cluster.domain).unwrap_or_else(|| {
            tracing::warn!(
                domain = cluster.domain,
                "not a domain name, so nothing is under it"
            );
            Name::root()
        });
        let server = name_under("ns.dns", &domain).unwrap_or_else(|| domain.clone());
        let contact = name_under("hostmaster", &domain).unwrap_or_else(|| domain.clone());
        let soa = SOA::new(server.clone(), contact, 1, 7200, 1800, 86_400, TTL);
        let key = Key::of(&domain).map_or_else(Box::default, |key| key.as_bytes().into());
        let mut table = Self {
            domain: key,
            soa: Record::from_rdata(domain.clone(), TTL, RData::SOA(soa.clone())),
            places: HashMap::new(),
        };
        if table.domain.is_empty() {
            return table;
        }
        table.add(
            &domain,
            [Value::of(RData::SOA(soa)), Value::of(RData::NS(NS(server)))],
        );
        table.add_under(
            "dns-version",
            &domain,
            [Value::of(RData::TXT(TXT::new(vec!["1.1.0".into()])))],
        );
        table.add_under("svc", &domain, []);
        table.add_under("pod", &domain, []);
        for namespace in &cluster.namespaces {
            table.add_namespace(namespace, &domain);
        }
        for service in &cluster.services {
            table.add_namespace(&service.namespace, &domain);
            let text = format!("{}.{}.svc", service.name, service.namespace);
            match name_under(&text, &domain) {
                Some(name) => table.add_service(service, &name),
                None => tracing::debug!(name = text, "too long for a name"),
            }
        }
        table
    }

    /// Whether a name is one of this cluster's domain.
    pub(super) fn holds(&self, key: &Key) -> bool {
        !self.domain.is_empty() && key.suffixes().any(|suffix| *suffix == *self.domain)
    }

    pub(super) fn answer(&self, query: &Query) -> Answer {
        let Some(values) = self.places.get(query.key.as_bytes()) else {
            return match self.holds(&query.key) {
                true => self.pod(query),
                false => Answer::NotMine,
            };
        };
        let is_alias = |value: &&Value| matches!(value.data, RData::CNAME(_));
        let wanted: Vec<&Value> = match values.iter().find(is_alias) {
            Some(alias) => vec![alias],
            None => values
                .iter()
                .filter(|value| query.wants(value.data.record_type()))
                .collect(),
        };
        if wanted.is_empty() {
            return Answer::NoData(self.soa.clone());
        }
        let picked = Draw(query.seed).sample(&wanted, MOST_VALUES);
        let additionals = picked.iter().flat_map(|value| {
            let target = match &value.data {
                RData::SRV(srv) => Some(&srv.target),
                _ => None,
            };
            let record = move |target: &Name, address: &IpAddr| {
                Record::from_rdata(target.clone(), TTL, address_data(*address))
            };
            target.into_iter().flat_map(move |target| {
                value
                    .addresses
                    .iter()
                    .map(move |address| record(target, address))
            })
        });
        Answer::Records {
            additionals: additionals.collect(),
            answers: picked
                .iter()
                .map(|value| query.record(TTL, value.data.clone()))
                .collect(),
        }
    }

    /// `<address>.<namespace>.pod.<domain>` stands for the address itself, whether or not such a pod
    /// runs; so do CoreDNS and kube-dns, since nobody can be deceived who names the address.
    fn pod(&self, query: &Query) -> Answer {
        let key = query.key.as_bytes();
        let parent = parents(key).nth(1);
        let is_pod = parent.is_some_and(|namespace| {
            let above = parents(namespace).nth(1);
            let under = above.and_then(|above| above.strip_suffix(&*self.domain));
            under == Some(b"\x03pod") && self.places.contains_key(namespace)
        });
        let address = first_label(key).filter(|_| is_pod).and_then(dashed);
        match address.map(address_data) {
            None => Answer::NxDomain(self.soa.clone()),
            Some(data) if query.wants(data.record_type()) => Answer::Records {
                answers: vec![query.record(TTL, data)],
                additionals: Vec::new(),
            },
            Some(_) => Answer::NoData(self.soa.clone()),
        }
    }

    fn add_namespace(&mut self, namespace: &str, domain: &Name) {
        self.add_under(&format!("{namespace}.svc"), domain, []);
        self.add_under(&format!("{namespace}.pod"), domain, []);
    }

    fn add_service(&mut self, service: &Service, name: &Name) {
        match &service.addresses {
            Addresses::ClusterIp(addresses) => {
                self.add(
                    name,
                    addresses.iter().map(|address| Value::of_address(*address)),
                );
                self.add_ports(service, name, name, addresses, 100);
                for address in addresses {
                    self.add_reverse(*address, name);
                }
            }
            Addresses::Headless(endpoints) => {
                self.add(name, []);
                let share = 100 / endpoints.len().clamp(1, 100);
                for endpoint in endpoints {
                    self.add(name, [Value::of_address(endpoint.address)]);
                    let Some(pod) = name_under(&first_label_of(endpoint), name) else {
                        continue;
                    };
                    self.add(&pod, [Value::of_address(endpoint.address)]);
                    self.add_ports(service, name, &pod, &[endpoint.address], share as u16);
                    self.add_reverse(endpoint.address, &pod);
                }
            }
            Addresses::ExternalName(target) => match name_of(target) {
                Some(target) => self.add(name, [Value::of(RData::CNAME(CNAME(target)))]),
                None => tracing::debug!(%name, target, "leads to what is no name"),
            },
        }
    }

    fn add_ports(
        &mut self,
        service: &Service,
        name: &Name,
        target: &Name,
        addresses: &[IpAddr],
        weight: u16,
    ) {
        for port in &service.ports {
            let value = || Value {
                data: RData::SRV(SRV::new(0, weight, port.port, target.clone())),
                addresses: addresses.to_vec(),
            };
            // The service's own name lists all its ports.
            self.add(name, [value()]);
            if !port.name.is_empty() {
                let text = format!("_{}._{}", port.name, port.protocol);
                self.add_under(&text, name, [value()]);
            }
        }
    }

    fn add_reverse(&mut self, address: IpAddr, name: &Name) {
        self.add(
            &Name::from(address),
            [Value::of(RData::PTR(PTR(name.clone())))],
        );
    }

    fn add_under(&mut self, text: &str, domain: &Name, values: impl IntoIterator<Item = Value>) {
        if let Some(name) = name_under(text, domain) {
            self.add(&name, values);
        }
    }

    /// Adds values to a name. Within the domain, the names above it exist from then on (RFC 8020).
    fn add(&mut self, name: &Name, values: impl IntoIterator<Item = Value>) {
        let Some(key) = Key::of(name) else { return };
        if self.holds(&key) {
            let above = key.suffixes().skip(1);
            for suffix in above.take_while(|suffix| suffix.len() > self.domain.len()) {
                if !self.places.contains_key(suffix) {
                    self.places.insert(suffix.into(), Vec::new());
                }
            }
        }
        let place = self.places.entry(key.as_bytes().into()).or_default();
        for value in values {
            // The same address behind two ports, or the same pod twice, is still one record.
            if !place.iter().any(|held| held.data == value.data) {
                place.push(value);
            }
        }
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// The label of a pod under its headless service.
fn first_label_of(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(hostname) => hostname.clone(),
        None => endpoint.address.to_string().replace(['.', ':'], "-"),
    }
}

/// The address in `10-0-1-5` or `fd00--1`.
fn dashed(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = text.replace('-', ".").parse().ok().map(IpAddr::V4);
    v4.or_else(|| text.replace('-', ":").parse().ok().map(IpAddr::V6))
}
