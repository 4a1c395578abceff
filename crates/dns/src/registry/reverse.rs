//! Reverse DNS: the names of instances by address.
//!
//! Reverse queries are rare, so the index is built at the first one, and updated at the first one after each change. An
//! update visits only the services whose persistent map of instances has changed.

use super::{
    names::{Names, ServiceEntry},
    pool::{Addresses, instance_name},
};
use crate::name::Name;
use parking_lot::Mutex;
use std::{collections::HashMap, net::IpAddr, sync::Arc};
use tombolo_model::{View, cloudmap::Instance, view::ServiceInstances};

/// The greatest number of PTR records of an address, which limits the length of the answer.
const MAX_NAMES: usize = 8;

/// The index of names by address.
#[derive(Default)]
pub(super) struct Reverse(Mutex<Index>);

#[derive(Default)]
struct Index {
    revision: u64,
    by_address: HashMap<IpAddr, Vec<Entry>>,
    /// The indexed services and their instances in `by_address`, by the pointer of the `ServiceEntry`.
    indexed: HashMap<usize, (Arc<ServiceEntry>, ServiceInstances)>,
}

struct Entry {
    service_entry: Arc<ServiceEntry>,
    instance: Arc<Instance>,
}

/// A name of an address, with its TTL in seconds.
pub(super) struct ReverseName {
    pub(super) name: Name,
    pub(super) ttl: u32,
    pub(super) service_entry: Arc<ServiceEntry>,
}

impl Reverse {
    /// The names of an address that clients of a view see.
    pub(super) fn find(
        &self,
        view: &View,
        names: &Names,
        client_view: usize,
        address: IpAddr,
    ) -> Vec<ReverseName> {
        let mut index = self.0.lock();
        if index.revision < view.revision {
            // Put back when complete: after a panic, the index is rebuilt from an empty one.
            let mut next = std::mem::take(&mut *index);
            next.update(view, names);
            *index = next;
        }
        let mut found: Vec<ReverseName> = Vec::new();
        let entries = index.by_address.get(&address).into_iter().flatten();
        for entry in entries.filter(|entry| [0, client_view].contains(&entry.service_entry.tree)) {
            let Some((name, ttl)) = entry.name() else {
                continue;
            };
            // Several instances of a service can have the same address.
            if !found.iter().any(|known| known.name == name) {
                let service_entry = entry.service_entry.clone();
                found.push(ReverseName {
                    name,
                    ttl,
                    service_entry,
                });
            }
            if found.len() == MAX_NAMES {
                break;
            }
        }
        found
    }
}

impl Entry {
    /// The instance's name if it has one, else its service's, with the TTL.
    fn name(&self) -> Option<(Name, u32)> {
        let ttls = &self.service_entry.ttls;
        if let Some(ttl) = ttls.srv {
            return Some((
                instance_name(&self.instance.id, &self.service_entry.name)?,
                ttl,
            ));
        }
        let ttl = ttls.a.or(ttls.aaaa)?;
        Some((self.service_entry.name.clone(), ttl))
    }
}

impl Index {
    fn update(&mut self, view: &View, names: &Names) {
        let mut before = std::mem::take(&mut self.indexed);
        for service_entry in names.service_entries() {
            let Some(now) = service_entry.instances(view) else {
                continue;
            };
            let address = Arc::as_ptr(service_entry).addr();
            let then = before.remove(&address).map(|(_, then)| then.by_id);
            let then = then.unwrap_or_default();
            if !then.ptr_eq(&now.by_id) {
                for (id, instance) in &now.by_id {
                    match then.get(id) {
                        Some(old) if Arc::ptr_eq(old, instance) => continue,
                        Some(old) => self.remove(service_entry, old),
                        None => {}
                    }
                    self.add(service_entry, instance);
                }
                let gone = then.iter().filter(|(id, _)| !now.by_id.contains_key(*id));
                gone.for_each(|(_, instance)| self.remove(service_entry, instance));
            }
            self.indexed
                .insert(address, (service_entry.clone(), now.clone()));
        }
        // The remaining services were deleted or recompiled.
        for (service_entry, then) in before.into_values() {
            then.by_id
                .values()
                .for_each(|instance| self.remove(&service_entry, instance));
        }
        self.revision = view.revision;
    }

    fn add(&mut self, service_entry: &Arc<ServiceEntry>, instance: &Arc<Instance>) {
        for address in Addresses::of(instance).iter() {
            let entries = self.by_address.entry(address).or_default();
            entries.push(Entry {
                service_entry: service_entry.clone(),
                instance: instance.clone(),
            });
        }
    }

    fn remove(&mut self, service_entry: &Arc<ServiceEntry>, instance: &Arc<Instance>) {
        for address in Addresses::of(instance).iter() {
            let Some(entries) = self.by_address.get_mut(&address) else {
                continue;
            };
            entries.retain(|entry| {
                !(Arc::ptr_eq(&entry.service_entry, service_entry)
                    && entry.instance.id == instance.id)
            });
            if entries.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}
