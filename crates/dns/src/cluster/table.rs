//! The compiled names of one cluster.

use super::{Addresses, Cluster, Endpoint, Service};
use crate::{
    name::{Key, Name, first_label, parents},
    record::{RecordType, Records, address_type, srv_data},
    reply::{Authority, Reply},
    zone::{Query, Target, Verdict, sample},
};
use fastrand::Rng;
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

/// The TTL of all records and negative answers of a cluster, in seconds. Short, because pods come and go.
const TTL: u32 = 5;

/// The serial of the SOA is constant: these zones are not transferred.
const SERIAL: u32 = 1;

/// The greatest number of records in an answer, which limits the cost of a query over TCP.
const MAX_VALUES: usize = 512;

/// The names of one cluster.
pub(super) struct Table {
    domain: Option<Domain>,
    /// Every existing name with its records, which are empty for an empty non-terminal. Includes reverse names
    /// (`in-addr.arpa`, `ip6.arpa`).
    nodes: HashMap<Box<[u8]>, Node>,
}

/// The cluster domain, as a zone.
struct Domain {
    authority: Authority,
    key: Box<[u8]>,
}

impl Domain {
    fn parse(text: &str) -> Option<Self> {
        let name = Name::parse(text)?;
        Some(Self {
            key: name.key().as_bytes().into(),
            authority: Authority::new(name, "ns.dns", TTL),
        })
    }
}

/// The records of one name.
#[derive(Default)]
struct Node {
    alias: Option<Name>,
    sets: BTreeMap<RecordType, RecordSet>,
}

/// The records of one type.
#[derive(Default)]
struct RecordSet {
    records: Records,
    /// For `SRV` records: the addresses of each target, in the order of the records.
    addresses: Vec<Vec<IpAddr>>,
}

/// A record without its owner. An `SRV` record also has the addresses of its target.
struct Value {
    kind: RecordType,
    data: Vec<u8>,
    addresses: Vec<IpAddr>,
}

impl Value {
    fn of(kind: RecordType, data: Vec<u8>) -> Self {
        Self {
            kind,
            data,
            addresses: Vec::new(),
        }
    }

    fn of_address(address: &IpAddr) -> Self {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        Self::of(address_type(*address), data)
    }

    fn of_name(kind: RecordType, name: &Name) -> Self {
        Self::of(kind, [name.as_wire(), &[0]].concat())
    }
}

impl Table {
    /// Collects all names of a cluster.
    pub(super) fn compile(cluster: &Cluster) -> Self {
        let mut table = Self {
            domain: Domain::parse(&cluster.domain),
            nodes: HashMap::new(),
        };
        let Some(Domain { authority, .. }) = &table.domain else {
            tracing::warn!(
                domain = cluster.domain,
                "not a domain name, so nothing is under it"
            );
            return table;
        };
        let (domain, server) = (authority.zone.clone(), authority.name_server.clone());
        table.add(&domain, [Value::of_name(RecordType::NS, &server)]);
        let version = Value::of(RecordType::TXT, b"\x051.1.0".to_vec());
        table.add_under("dns-version", &domain, [version]);
        table.add_under("svc", &domain, []);
        table.add_under("pod", &domain, []);
        for namespace in &cluster.namespaces {
            table.add_namespace(namespace, &domain);
        }
        for service in &cluster.services {
            table.add_namespace(&service.namespace, &domain);
            let text = format!("{}.{}.svc", service.name, service.namespace);
            match Name::under(&text, &domain) {
                Some(name) => table.add_service(service, &name),
                None => tracing::debug!(name = text, "too long for a name"),
            }
        }
        table
    }

    /// Whether a name is in the cluster's domain.
    pub(super) fn is_in_domain(&self, key: &Key) -> bool {
        let domain = self.domain.as_ref();
        domain.is_some_and(|domain| key.suffixes().any(|suffix| *suffix == *domain.key))
    }

    pub(super) fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let Some(domain) = &self.domain else {
            return Verdict::NotInZone;
        };
        let key = query.key.as_bytes();
        let Some(node) = self.nodes.get(key) else {
            return match self.is_in_domain(&query.key) {
                true => self.pod(domain, query, reply),
                false => Verdict::NotInZone,
            };
        };
        if let Some(alias) = &node.alias {
            reply.alias(TTL, alias);
            return match query.wants(RecordType::CNAME) {
                true => Verdict::Found,
                false => Verdict::Alias(Target(alias.clone())),
            };
        }
        if *key == *domain.key && query.wants(RecordType::SOA) {
            reply.answer_soa(&domain.authority, SERIAL);
            return Verdict::Found;
        }
        // The answer to ANY is the records of one type (RFC 8482 §4.1).
        let Some((kind, set)) = node.sets.iter().find(|(kind, _)| query.wants(**kind)) else {
            reply.negative(&domain.authority, SERIAL);
            return Verdict::NoData;
        };
        let mut rng = Rng::with_seed(query.seed);
        if *kind != RecordType::SRV {
            sample(&mut rng, set.records.len(), MAX_VALUES, |index| {
                reply.answer(set.records.get(index));
            });
            return Verdict::Found;
        }
        let mut written = Vec::new();
        sample(&mut rng, set.records.len(), MAX_VALUES, |index| {
            written.push((reply.answer_srv(set.records.get(index)), index));
        });
        for (target, index) in written {
            let Some(target) = target else { continue };
            for address in &set.addresses[index] {
                reply.additional(target, TTL, *address);
            }
        }
        Verdict::Found
    }

    /// Answers `<address>.<namespace>.pod.<domain>` with the address, whether or not such a pod
    /// runs, as CoreDNS and kube-dns do.
    fn pod(&self, domain: &Domain, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let key = query.key.as_bytes();
        let parent = parents(key).nth(1);
        let is_pod = parent.is_some_and(|namespace| {
            let above = parents(namespace).nth(1);
            let under = above.and_then(|above| above.strip_suffix(&*domain.key));
            under == Some(b"\x03pod") && self.nodes.contains_key(namespace)
        });
        match first_label(key)
            .filter(|_| is_pod)
            .and_then(parse_dashed_address)
        {
            Some(address) if query.wants(address_type(address)) => {
                reply.answer_address(TTL, address);
                Verdict::Found
            }
            found => {
                reply.negative(&domain.authority, SERIAL);
                match found {
                    Some(_) => Verdict::NoData,
                    None => Verdict::NxDomain,
                }
            }
        }
    }

    fn add_namespace(&mut self, namespace: &str, domain: &Name) {
        self.add_under(&format!("{namespace}.svc"), domain, []);
        self.add_under(&format!("{namespace}.pod"), domain, []);
    }

    fn add_service(&mut self, service: &Service, name: &Name) {
        match &service.addresses {
            Addresses::ClusterIp(addresses) => {
                self.add(name, addresses.iter().map(Value::of_address));
                self.add_ports(service, name, name, addresses, 100);
                for address in addresses {
                    self.add_reverse(*address, name);
                }
            }
            Addresses::Headless(endpoints) => {
                self.add(name, []);
                let share = 100 / endpoints.len().clamp(1, 100);
                for endpoint in endpoints {
                    self.add(name, [Value::of_address(&endpoint.address)]);
                    let Some(pod) = Name::under(&first_label_of(endpoint), name) else {
                        continue;
                    };
                    self.add(&pod, [Value::of_address(&endpoint.address)]);
                    self.add_ports(service, name, &pod, &[endpoint.address], share as u16);
                    self.add_reverse(endpoint.address, &pod);
                }
            }
            Addresses::ExternalName(target) => match Name::parse(target) {
                Some(target) => self.node(name).alias = Some(target),
                None => tracing::debug!(%name, target, "the target is not a domain name"),
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
                kind: RecordType::SRV,
                data: srv_data(0, weight, port.port, target),
                addresses: addresses.to_vec(),
            };
            // SRV records of all ports are also at the service's own name.
            self.add(name, [value()]);
            if !port.name.is_empty() {
                let text = format!("_{}._{}", port.name, port.protocol);
                self.add_under(&text, name, [value()]);
            }
        }
    }

    fn add_reverse(&mut self, address: IpAddr, name: &Name) {
        let value = Value::of_name(RecordType::PTR, name);
        self.add(&Name::reverse(address), [value]);
    }

    fn add_under(&mut self, text: &str, domain: &Name, values: impl IntoIterator<Item = Value>) {
        if let Some(name) = Name::under(text, domain) {
            self.add(&name, values);
        }
    }

    fn add(&mut self, name: &Name, values: impl IntoIterator<Item = Value>) {
        let node = self.node(name);
        for value in values {
            let set = node.sets.entry(value.kind).or_default();
            // Equal values, such as the same address behind two ports, are one record.
            if set.records.contains(&value.data) {
                continue;
            }
            set.records.push(value.kind, TTL, &value.data);
            set.addresses.push(value.addresses);
        }
    }

    /// The node of a name, created if needed. Within the domain, its ancestors are created too (RFC 8020).
    fn node(&mut self, name: &Name) -> &mut Node {
        let key = name.key();
        if self.is_in_domain(&key) {
            let domain = self.domain.as_ref().map_or(0, |domain| domain.key.len());
            let above = key.suffixes().skip(1);
            for suffix in above.take_while(|suffix| suffix.len() > domain) {
                if !self.nodes.contains_key(suffix) {
                    self.nodes.insert(suffix.into(), Node::default());
                }
            }
        }
        self.nodes.entry(key.as_bytes().into()).or_default()
    }
}

/// The first label of a pod's name under its headless service.
fn first_label_of(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(hostname) => hostname.clone(),
        None => endpoint.address.to_string().replace(['.', ':'], "-"),
    }
}

/// The address in `10-0-1-5` or `fd00--1`.
fn parse_dashed_address(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    let v4 = text.replace('-', ".").parse().ok().map(IpAddr::V4);
    v4.or_else(|| text.replace('-', ":").parse().ok().map(IpAddr::V6))
}
