//! The Cloud Map namespaces of the store, as DNS zones (facts/cloudmap-api.md §10).
//!
//! Each answer is made from the newest view, so that a registration is in DNS before its call returns. Two caches are
//! validated against the view at each query: [`names::Names`] is valid while namespaces and services stay the same, a
//! [`pool::Pool`] while the instances of one service do. Validation is simpler than events: none can be missed, and an
//! answer is never stale. While nothing changes, a query costs one comparison of revisions, one or two look-ups and a
//! copy.

mod names;
mod pool;
mod reverse;

use crate::{
    name::Name,
    range::Views,
    record::{RecordType, address_type},
    reply::Reply,
    zone::{Query, Target, Verdict, Zone, sample},
};
use arc_swap::{ArcSwap, Guard};
use fastrand::Rng;
use names::{Names, Node, NodeData, ServiceEntry};
use parking_lot::Mutex;
use pool::Pool;
use reverse::Reverse;
use std::{net::IpAddr, sync::Arc};
use tombolo_model::{View, cloudmap::RoutingPolicy};
use tombolo_store::Store;

/// The greatest number of records in an answer with `MULTIVALUE` routing.
const MAX_VALUES: usize = 8;

/// The TTL of the name server's addresses and of flattened aliases, in seconds.
const DEFAULT_TTL: u32 = 60;

/// The selection of published namespaces, and the clients that see them.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether services of HTTP namespaces have DNS names. In Cloud Map they have none.
    pub resolve_http_namespaces: bool,
    /// The addresses of this server for each zone's name server, `ns.<zone>`; may be empty.
    pub addresses: Vec<IpAddr>,
    /// The clients of each VPC, which see its private namespaces. Without VPCs, every client sees all of them.
    pub views: Arc<Views>,
}

/// The namespaces of the store.
pub struct Registry {
    source: Box<dyn Fn() -> Arc<View> + Send + Sync>,
    config: Config,
    current: ArcSwap<Snapshot>,
    reverse: Reverse,
    /// Locked while names are validated or compiled, so that a change is compiled once.
    compiling: Mutex<()>,
}

/// A view, and the names compiled from it.
struct Snapshot {
    view: Arc<View>,
    names: Arc<Names>,
}

impl Registry {
    /// Publishes the namespaces of a store.
    pub fn new(store: Store, config: Config) -> Self {
        Self::from_source(move || store.view(), config)
    }

    /// Publishes the namespaces of the views from `source`; the revision must grow with each change.
    pub fn from_source(
        source: impl Fn() -> Arc<View> + Send + Sync + 'static,
        config: Config,
    ) -> Self {
        let view = Arc::new(View::default());
        let names = Arc::new(Names::compile(&view, &config, &Names::default()));
        Self {
            source: Box::new(source),
            config,
            current: ArcSwap::from_pointee(Snapshot { view, names }),
            reverse: Reverse::default(),
            compiling: Mutex::new(()),
        }
    }

    /// The newest view with its names.
    fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        let view = (self.source)();
        let current = self.current.load();
        if current.view.revision >= view.revision {
            return current;
        }
        let _guard = self.compiling.lock();
        let current = self.current.load();
        if current.view.revision >= view.revision {
            return current;
        }
        let names = match current.names.is_current(&view) {
            true => current.names.clone(),
            false => Arc::new(Names::compile(&view, &self.config, &current.names)),
        };
        let next = Arc::new(Snapshot { view, names });
        self.current.store(next.clone());
        Guard::from_inner(next)
    }

    /// Answers a reverse name with the names of the instances at the address.
    fn answer_reverse(&self, query: &Query, snapshot: &Snapshot, reply: &mut Reply<'_>) -> Verdict {
        let Some(address) = query.key.reversed_address() else {
            return Verdict::NotInZone;
        };
        let (view, names) = (&snapshot.view, &snapshot.names);
        let found = self.reverse.find(view, names, query.view, address);
        let Some(first) = found.first() else {
            return Verdict::NotInZone;
        };
        if !query.wants(RecordType::PTR) {
            reply.negative(&first.service_entry.zone, view.revision as u32);
            return Verdict::NoData;
        }
        for found in &found {
            reply.answer_name(RecordType::PTR, found.ttl, &found.name);
        }
        Verdict::Found
    }

    /// Answers SOA and NS of a zone's apex; `None` for other names and types.
    fn answer_apex(
        &self,
        query: &Query,
        node: &Node,
        serial: u32,
        reply: &mut Reply<'_>,
    ) -> Option<Verdict> {
        if !node.is_apex {
            return None;
        }
        if query.wants(RecordType::SOA) {
            reply.answer_soa(&node.zone, serial);
            return Some(Verdict::Found);
        }
        if query.kind != RecordType::NS {
            return None;
        }
        let server: &Name = &node.zone.name_server;
        reply.answer_name(RecordType::NS, DEFAULT_TTL, server);
        for address in &self.config.addresses {
            reply.additional_of(server, DEFAULT_TTL, *address);
        }
        Some(Verdict::Found)
    }
}

impl Zone for Registry {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let snapshot = self.snapshot();
        // The serial of a zone is the revision, which grows with each change.
        let serial = snapshot.view.revision as u32;
        let Some((node, rest)) = snapshot.names.find(query.view, &query.key) else {
            return self.answer_reverse(query, &snapshot, reply);
        };
        let missing = |reply: &mut Reply<'_>| {
            reply.negative(&node.zone, serial);
            Verdict::NxDomain
        };
        let found = match &node.data {
            NodeData::Service(service_entry) => {
                let pool = service_entry.pool(&snapshot.view);
                if rest.is_empty() {
                    if pool.is_empty() && !node.has_children && !node.is_apex {
                        // As in Route 53, a service without instances has no records, so its name does not exist.
                        return missing(reply);
                    }
                    let own = service(query, service_entry, &pool, reply);
                    own.or_else(|| self.answer_apex(query, node, serial, reply))
                } else if let Some(addresses) = pool.by_name.get(rest) {
                    let ttl = service_entry.ttls.srv.unwrap_or(DEFAULT_TTL);
                    answer_addresses(query, addresses.iter(), ttl, reply)
                } else {
                    return missing(reply);
                }
            }
            _ if !rest.is_empty() => return missing(reply),
            NodeData::NameServer => {
                let addresses = self.config.addresses.iter().copied();
                answer_addresses(query, addresses, DEFAULT_TTL, reply)
            }
            NodeData::Empty => self.answer_apex(query, node, serial, reply),
        };
        found.unwrap_or_else(|| {
            reply.negative(&node.zone, serial);
            Verdict::NoData
        })
    }
}

/// Answers with the addresses of one name; to `ANY`, with those of one type (RFC 8482 §4.1). `None` if there are none
/// of the query's type.
fn answer_addresses(
    query: &Query,
    addresses: impl Iterator<Item = IpAddr>,
    ttl: u32,
    reply: &mut Reply<'_>,
) -> Option<Verdict> {
    let mut kind = None;
    for address in addresses {
        let this = address_type(address);
        if query.wants(this) && *kind.get_or_insert(this) == this {
            reply.answer_address(ttl, address);
        }
    }
    kind.map(|_| Verdict::Found)
}

/// Answers with the records of a service's name; to `ANY`, with those of one type (RFC 8482 §4.1). `None` if there are
/// none of the query's type.
fn service(
    query: &Query,
    service_entry: &ServiceEntry,
    pool: &Pool,
    reply: &mut Reply<'_>,
) -> Option<Verdict> {
    let mut rng = Rng::with_seed(query.seed);
    let max_records = match service_entry.routing {
        RoutingPolicy::MultiValue => MAX_VALUES,
        RoutingPolicy::Weighted => 1,
    };
    if let Some(ttl) = service_entry.ttls.cname {
        // An alias answers every type, and a name can have only one (RFC 1034 §3.6.2).
        let target = pool.aliases.get(rng.usize(..pool.aliases.len().max(1)))?;
        reply.alias(ttl, target);
        return Some(match query.wants(RecordType::CNAME) {
            true => Verdict::Found,
            false => Verdict::Alias(Target(target.clone())),
        });
    }
    for (kind, ttl, records) in [
        (RecordType::A, service_entry.ttls.a, &pool.v4),
        (RecordType::AAAA, service_entry.ttls.aaaa, &pool.v6),
    ] {
        if ttl.is_none() || !query.wants(kind) || records.is_empty() && pool.flattened.is_empty() {
            continue;
        }
        if pool.flattened.is_empty() {
            sample(&mut rng, records.len(), max_records, |index| {
                reply.answer(records.get(index))
            });
            return Some(Verdict::Found);
        }
        // Such a service has WEIGHTED routing: answer with one of its addresses, or with the addresses of one of its
        // aliases.
        let drawn = rng.usize(..records.len() + pool.flattened.len());
        return Some(match drawn.checked_sub(records.len()) {
            None => {
                reply.answer(records.get(drawn));
                Verdict::Found
            }
            Some(index) => Verdict::Flatten(Target(pool.flattened[index].clone()), DEFAULT_TTL),
        });
    }
    let ttl = service_entry
        .ttls
        .srv
        .filter(|_| query.wants(RecordType::SRV))?;
    if pool.srv.is_empty() {
        return None;
    }
    let mut written = [(None, 0); MAX_VALUES];
    let mut count = 0;
    sample(&mut rng, pool.srv.len(), max_records, |index| {
        written[count] = (reply.answer_srv(pool.srv.get(index)), index);
        count += 1;
    });
    for (target, index) in &written[..count] {
        let Some(target) = *target else { continue };
        for address in pool.targets[*index].iter() {
            reply.additional(target, ttl, address);
        }
    }
    Some(Verdict::Found)
}

#[cfg(test)]
mod tests;
