//! The Cloud Map namespaces of the store, as DNS zones (facts/cloudmap-api.md §10).
//!
//! Answers are made from the newest view at each question, so that a registration is in DNS before its
//! call returns. What can be prepared is kept and checked against the view: [`names::Names`] for as long
//! as namespaces and services stay the same, a [`pool::Pool`] for as long as one service's instances do.
//! Checking is cheaper than events: none can be missed, and at no moment do the two differ.
//! While nothing changes, a question costs one comparison of revisions, one or two look-ups and a copy.

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

/// Records in an answer with `MULTIVALUE` routing, at most.
const MAX_VALUES: usize = 8;

/// Seconds for which the addresses of the name server and of aliases may be remembered.
const STEADY_TTL: u32 = 60;

/// Which namespaces are published, to whom.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether the services of HTTP namespaces have names too. In Cloud Map they have none.
    pub resolve_http_namespaces: bool,
    /// The addresses of this server, which each zone's `ns.<zone>` then has; may be empty.
    pub addresses: Vec<IpAddr>,
    /// The clients of each VPC, who see its private namespaces. Without any, every client sees all of them.
    pub views: Arc<Views>,
}

/// The namespaces of the store.
pub struct Registry {
    source: Box<dyn Fn() -> Arc<View> + Send + Sync>,
    config: Config,
    current: ArcSwap<Snapshot>,
    reverse: Reverse,
    /// Held by the one who checks or compiles names, so that a change is paid for once.
    compiling: Mutex<()>,
}

/// A view, and the names that are right for it.
struct Snapshot {
    view: Arc<View>,
    names: Arc<Names>,
}

impl Registry {
    /// Publishes what a store holds.
    pub fn new(store: Store, config: Config) -> Self {
        Self::over(move || store.view(), config)
    }

    /// Publishes views from anywhere; their revision must grow with each change.
    pub fn over(source: impl Fn() -> Arc<View> + Send + Sync + 'static, config: Config) -> Self {
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
        let held = self.current.load();
        if held.view.revision >= view.revision {
            return held;
        }
        // Guards nothing but the work itself.
        let _guard = self.compiling.lock();
        let held = self.current.load();
        if held.view.revision >= view.revision {
            return held;
        }
        let names = match held.names.is_current(&view) {
            true => held.names.clone(),
            false => Arc::new(Names::compile(&view, &self.config, &held.names)),
        };
        let next = Arc::new(Snapshot { view, names });
        self.current.store(next.clone());
        Guard::from_inner(next)
    }

    /// The names of an address, as far as it is that of an instance.
    fn answer_reverse(&self, query: &Query, snapshot: &Snapshot, reply: &mut Reply<'_>) -> Verdict {
        let Some(address) = query.key.reversed_address() else {
            return Verdict::NotMine;
        };
        let (view, names) = (&snapshot.view, &snapshot.names);
        let found = self.reverse.find(view, names, query.view, address);
        let Some(first) = found.first() else {
            return Verdict::NotMine;
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

    /// SOA and NS, if this is a zone's apex.
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
        reply.answer_name(RecordType::NS, STEADY_TTL, server);
        for address in &self.config.addresses {
            reply.additional_of(server, STEADY_TTL, *address);
        }
        Some(Verdict::Found)
    }
}

impl Zone for Registry {
    fn answer(&self, query: &Query, reply: &mut Reply<'_>) -> Verdict {
        let snapshot = self.snapshot();
        // Its serial is the revision, so that it grows with each change.
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
                        // As in Route 53, a service without instances has no records, hence no name.
                        return missing(reply);
                    }
                    let own = service(query, service_entry, &pool, reply);
                    own.or_else(|| self.answer_apex(query, node, serial, reply))
                } else if let Some(addresses) = pool.by_name.get(rest) {
                    let ttl = service_entry.ttls.srv.unwrap_or(STEADY_TTL);
                    answer_addresses(query, addresses.iter(), ttl, reply)
                } else {
                    return missing(reply);
                }
            }
            _ if !rest.is_empty() => return missing(reply),
            NodeData::NameServer => {
                let addresses = self.config.addresses.iter().copied();
                answer_addresses(query, addresses, STEADY_TTL, reply)
            }
            NodeData::Empty => self.answer_apex(query, node, serial, reply),
        };
        found.unwrap_or_else(|| {
            reply.negative(&node.zone, serial);
            Verdict::NoData
        })
    }
}

/// The addresses of one name; to `ANY`, those of one type (RFC 8482 §4.1). `None` if there are none of
/// the type asked for.
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

/// The records of a service's own name; to `ANY`, those of one type (RFC 8482 §4.1). `None` if there are
/// none of the type asked for.
fn service(
    query: &Query,
    service_entry: &ServiceEntry,
    pool: &Pool,
    reply: &mut Reply<'_>,
) -> Option<Verdict> {
    let mut rng = Rng::with_seed(query.seed);
    let most = match service_entry.routing {
        RoutingPolicy::MultiValue => MAX_VALUES,
        RoutingPolicy::Weighted => 1,
    };
    if let Some(ttl) = service_entry.ttls.cname {
        // An alias answers every type; two aliases would contradict each other.
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
            sample(&mut rng, records.len(), most, |index| {
                reply.answer(records.get(index))
            });
            return Some(Verdict::Found);
        }
        // Such a service has WEIGHTED routing: one of its addresses, or the address behind one of its aliases.
        let drawn = rng.usize(..records.len() + pool.flattened.len());
        return Some(match drawn.checked_sub(records.len()) {
            None => {
                reply.answer(records.get(drawn));
                Verdict::Found
            }
            Some(stand) => Verdict::Flatten(Target(pool.flattened[stand].clone()), STEADY_TTL),
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
    sample(&mut rng, pool.srv.len(), most, |index| {
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
