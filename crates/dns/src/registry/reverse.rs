//! The names of addresses.
//!
//! Nobody needs them most of the time, so they are collected at the first question for one, and from then
//! on brought up to date at each such question that follows a change: only what differs between the
//! persistent maps of instances is looked at.

use super::{
    names::{Names, Site},
    pool::{Addresses, instance_name},
};
use crate::name::Name;
use parking_lot::Mutex;
use std::{collections::HashMap, net::IpAddr, sync::Arc};
use tombolo_model::{View, cloudmap::Instance, view::ServiceInstances};

/// How many names one address is told to have; more would be a mistake, or a way to make long answers.
const MOST_NAMES: usize = 8;

/// Names by address.
#[derive(Default)]
pub(super) struct Reverse(Mutex<Index>);

#[derive(Default)]
struct Index {
    revision: u64,
    by_address: HashMap<IpAddr, Vec<Entry>>,
    /// What is in `by_address`, by the address of its service.
    held: HashMap<usize, (Arc<Site>, ServiceInstances)>,
}

struct Entry {
    site: Arc<Site>,
    instance: Arc<Instance>,
}

/// A name of an address.
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) ttl: u32,
    pub(super) site: Arc<Site>,
}

impl Reverse {
    /// The names of an address that a view sees.
    pub(super) fn find(
        &self,
        view: &View,
        names: &Names,
        client_view: usize,
        address: IpAddr,
    ) -> Vec<Found> {
        let mut index = self.0.lock();
        if index.revision < view.revision {
            // Put back when it is complete: after a panic, an empty one begins anew.
            let mut next = std::mem::take(&mut *index);
            next.follow(view, names);
            *index = next;
        }
        let mut found: Vec<Found> = Vec::new();
        let entries = index.by_address.get(&address).into_iter().flatten();
        for entry in entries.filter(|entry| [0, client_view].contains(&entry.site.layer)) {
            let Some((name, ttl)) = entry.name() else {
                continue;
            };
            // Several instances of one service can be at one address.
            if !found.iter().any(|known| known.name == name) {
                let site = entry.site.clone();
                found.push(Found { name, ttl, site });
            }
            if found.len() == MOST_NAMES {
                break;
            }
        }
        found
    }
}

impl Entry {
    /// The name that leads back to the address: the instance's where it has one, else its service's.
    fn name(&self) -> Option<(Name, u32)> {
        let ttls = &self.site.ttls;
        if let Some(ttl) = ttls.srv {
            return Some((instance_name(&self.instance.id, &self.site.name)?, ttl));
        }
        let ttl = ttls.a.or(ttls.aaaa)?;
        Some((self.site.name.clone(), ttl))
    }
}

impl Index {
    fn follow(&mut self, view: &View, names: &Names) {
        let mut before = std::mem::take(&mut self.held);
        for site in names.sites() {
            let Some(now) = site.instances(view) else {
                continue;
            };
            let address = Arc::as_ptr(site).addr();
            let then = before.remove(&address).map(|(_, then)| then.by_id);
            let then = then.unwrap_or_default();
            if !then.ptr_eq(&now.by_id) {
                for (id, instance) in &now.by_id {
                    match then.get(id) {
                        Some(old) if Arc::ptr_eq(old, instance) => continue,
                        Some(old) => self.remove(site, old),
                        None => {}
                    }
                    self.add(site, instance);
                }
                let gone = then.iter().filter(|(id, _)| !now.by_id.contains_key(*id));
                gone.for_each(|(_, instance)| self.remove(site, instance));
            }
            self.held.insert(address, (site.clone(), now.clone()));
        }
        // What is left belongs to services that are gone or were made anew.
        for (site, then) in before.into_values() {
            then.by_id
                .values()
                .for_each(|instance| self.remove(&site, instance));
        }
        self.revision = view.revision;
    }

    fn add(&mut self, site: &Arc<Site>, instance: &Arc<Instance>) {
        for address in Addresses::of(instance).iter() {
            let entries = self.by_address.entry(address).or_default();
            entries.push(Entry {
                site: site.clone(),
                instance: instance.clone(),
            });
        }
    }

    fn remove(&mut self, site: &Arc<Site>, instance: &Arc<Instance>) {
        for address in Addresses::of(instance).iter() {
            let Some(entries) = self.by_address.get_mut(&address) else {
                continue;
            };
            entries.retain(|entry| {
                !(Arc::ptr_eq(&entry.site, site) && entry.instance.id == instance.id)
            });
            if entries.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}
