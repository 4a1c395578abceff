//! The Cloud Map namespaces of the store, as DNS zones (facts/cloudmap-api.md §10).
//!
//! Answers are made from the newest view at each question, so that a registration is in DNS before its
//! call returns. What can be prepared is kept and checked against the view: [`names::Names`] for as long
//! as namespaces and services stay the same, a [`pool::Pool`] for as long as one service's instances do.
//! Checking costs less than being told: there is no event to miss and no moment at which the two differ.

mod names;
mod pool;

use crate::zone::{Answer, Draw, Query, Zone};
use arc_swap::ArcSwap;
use hickory_proto::rr::{
    RData, Record, RecordType,
    rdata::{A, AAAA, CNAME, NS, SRV},
};
use names::{Names, Owner, Place, Site};
use pool::{Address, Pool};
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tombolo_model::{View, registry::RoutingPolicy};
use tombolo_store::Store;

/// How many values a `MULTIVALUE` answer holds.
const MOST_VALUES: usize = 8;

/// Seconds for which the addresses of the name server and of aliases may be remembered.
const STEADY_TTL: u32 = 60;

/// What to publish.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Whether the services of HTTP namespaces have names too. In Cloud Map they have none.
    pub resolve_http_namespaces: bool,
    /// The addresses of this server, which each zone's `ns.<zone>` then has; may be empty.
    pub addresses: Vec<IpAddr>,
}

/// The namespaces of the store.
pub struct Registry {
    source: Box<dyn Fn() -> Arc<View> + Send + Sync>,
    config: Config,
    names: ArcSwap<Checked>,
    /// Held by the one who checks or compiles names, so that a change is paid for once.
    compiling: Mutex<()>,
}

/// Names, and the newest revision that they are known to be right for.
struct Checked {
    revision: AtomicU64,
    names: Names,
}

impl Registry {
    /// Publishes what a store holds.
    pub fn new(store: Store, config: Config) -> Self {
        Self::over(move || store.view(), config)
    }

    /// Publishes views from anywhere; their revision must grow with each change.
    pub fn over(source: impl Fn() -> Arc<View> + Send + Sync + 'static, config: Config) -> Self {
        let names = Names::compile(&View::default(), &config);
        Self {
            source: Box::new(source),
            config,
            names: ArcSwap::from_pointee(Checked {
                revision: AtomicU64::new(0),
                names,
            }),
            compiling: Mutex::new(()),
        }
    }

    fn names(&self, view: &View) -> Arc<Checked> {
        let fresh = || {
            let names = self.names.load_full();
            (names.revision.load(Ordering::Acquire) >= view.revision).then_some(names)
        };
        if let Some(names) = fresh() {
            return names;
        }
        // Guards nothing but the work itself, so a panic in another thread leaves nothing half done.
        let _guard = self
            .compiling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = fresh() {
            return names;
        }
        let current = self.names.load_full();
        if current.names.is_current(view) {
            current.revision.store(view.revision, Ordering::Release);
            return current;
        }
        let next = Arc::new(Checked {
            revision: AtomicU64::new(view.revision),
            names: Names::compile(view, &self.config),
        });
        self.names.store(next.clone());
        next
    }
}

impl Zone for Registry {
    fn answer(&self, query: &Query, _from: IpAddr) -> Answer {
        let view = (self.source)();
        let checked = self.names(&view);
        let Some((place, rest)) = checked.names.find(&query.key) else {
            return Answer::NotMine;
        };
        let soa = || place.zone.soa(view.revision);
        let answers = match &place.owner {
            Owner::Service(site) => {
                let pool = site.pool(&view);
                if !rest.is_empty() {
                    return instance(query, place, &pool, rest, soa);
                }
                if pool.is_empty() && !place.has_names_below && !place.is_apex() {
                    // As in Route 53, a service without instances has no records, hence no name.
                    return Answer::NxDomain(soa());
                }
                let (mut answers, additionals) = service(query, site, &pool);
                answers.extend(apex(query, place, view.revision));
                return finish(answers, additionals, soa);
            }
            _ if !rest.is_empty() => return Answer::NxDomain(soa()),
            Owner::NameServer => self
                .config
                .addresses
                .iter()
                .map(|address| address_data(*address))
                .filter(|data| query.wants(data.record_type()))
                .map(|data| query.record(STEADY_TTL, data))
                .collect(),
            Owner::Nobody => apex(query, place, view.revision),
        };
        finish(answers, Vec::new(), soa)
    }
}

fn finish(answers: Vec<Record>, additionals: Vec<Record>, soa: impl Fn() -> Record) -> Answer {
    if answers.is_empty() {
        return Answer::NoData(soa());
    }
    Answer::Records {
        answers,
        additionals,
    }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

/// SOA and NS, if this is a zone's apex.
fn apex(query: &Query, place: &Place, revision: u64) -> Vec<Record> {
    let mut answers = Vec::new();
    if place.is_apex() {
        if query.wants(RecordType::SOA) {
            answers.push(place.zone.soa(revision));
        }
        if query.wants(RecordType::NS) {
            let server = RData::NS(NS(place.zone.name_server.clone()));
            answers.push(query.record(STEADY_TTL, server));
        }
    }
    answers
}

/// The records of a service's own name.
fn service(query: &Query, site: &Site, pool: &Pool) -> (Vec<Record>, Vec<Record>) {
    let mut draw = Draw(query.seed);
    let most = match site.routing {
        RoutingPolicy::MultiValue => MOST_VALUES,
        RoutingPolicy::Weighted => 1,
    };
    let mut answers = Vec::new();
    let mut additionals = Vec::new();
    if let Some(ttl) = site.ttls.cname {
        // An alias answers every type; two aliases would contradict each other.
        let targets = draw.sample(&pool.aliases, 1);
        answers.extend(
            targets
                .into_iter()
                .map(|target| query.record(ttl, RData::CNAME(CNAME(target.clone())))),
        );
        return (answers, additionals);
    }
    for (kind, ttl, pool) in [
        (RecordType::A, site.ttls.a, &pool.v4),
        (RecordType::AAAA, site.ttls.aaaa, &pool.v6),
    ] {
        let Some(ttl) = ttl.filter(|_| query.wants(kind)) else {
            continue;
        };
        for address in draw.sample(pool, most) {
            match address {
                Address::Of(address) => answers.push(query.record(ttl, address_data(*address))),
                // Route 53 would show the target's addresses as its own; an alias leads to the same ones.
                // Invariant: such a service is WEIGHTED, so the alias is the only record.
                Address::Alias(target) => {
                    answers.clear();
                    let alias = RData::CNAME(CNAME(target.clone()));
                    answers.push(query.record(STEADY_TTL, alias));
                    return (answers, additionals);
                }
            }
        }
    }
    if let Some(ttl) = site.ttls.srv.filter(|_| query.wants(RecordType::SRV)) {
        for target in draw.sample(&pool.targets, most) {
            let data = SRV::new(1, 1, target.port, target.name.clone());
            answers.push(query.record(ttl, RData::SRV(data)));
            additionals.extend(target.addresses.iter().map(|address| {
                Record::from_rdata(target.name.clone(), ttl, address_data(*address))
            }));
        }
    }
    (answers, additionals)
}

/// The records of a name below a service: `<instance>.<service>.<namespace>`.
fn instance(
    query: &Query,
    place: &Place,
    pool: &Pool,
    rest: &[u8],
    soa: impl Fn() -> Record,
) -> Answer {
    let Owner::Service(site) = &place.owner else {
        return Answer::NxDomain(soa());
    };
    let answers = match pool.by_name.get(rest) {
        None => return Answer::NxDomain(soa()),
        Some(addresses) => addresses
            .iter()
            .map(|address| address_data(*address))
            .filter(|data| query.wants(data.record_type()))
            .map(|data| query.record(site.ttls.srv.unwrap_or(STEADY_TTL), data))
            .collect(),
    };
    finish(answers, Vec::new(), soa)
}

#[cfg(test)]
mod tests;
