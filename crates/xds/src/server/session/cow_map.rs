//! Maps that take memory only for where they differ from a shared one.
//!
//! What a stream must remember about its client is nearly always what the snapshot says: it asked for
//! every name there is, and was sent every version. With a thousand services, two maps of its own for
//! each kind would cost a megabyte for each proxy. So a stream keeps the snapshot's own map, which all
//! streams share, and exceptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::resource::Resource;
use crate::snapshot::Resources;

/// What a resource of the shared map stands for, unless there is an exception.
pub(super) trait Shared: Clone + PartialEq {
    fn of(resource: &Arc<Resource>) -> Self;
}

/// A few exceptions cost less than moving the base for each.
const MAX_EXCEPTIONS: usize = 8;

/// A map from names to `V`: what the entries of a shared map stand for, except where it says otherwise.
#[derive(Debug)]
pub(super) struct Overlay<V> {
    base: Resources,
    /// `None`: there is no such name, though the base has it.
    exceptions: BTreeMap<Arc<str>, Option<V>>,
}

impl<V> Default for Overlay<V> {
    fn default() -> Self {
        Overlay {
            base: Resources::new(),
            exceptions: BTreeMap::new(),
        }
    }
}

impl<V: Shared> Overlay<V> {
    pub(super) fn get(&self, name: &str) -> Option<V> {
        match self.exceptions.get(name) {
            Some(exception) => exception.clone(),
            None => self.base.get(name).map(V::of),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        match self.exceptions.get(name) {
            Some(exception) => exception.is_some(),
            None => self.base.contains_key(name),
        }
    }

    pub(super) fn insert(&mut self, name: Arc<str>, value: V) {
        self.set(name, Some(value));
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        match self.base.get_key_value(name) {
            Some((name, _)) => {
                let exception = self.exceptions.insert(name.clone(), None);
                exception.is_none_or(|before| before.is_some())
            }
            None => self.exceptions.remove(name).is_some(),
        }
    }

    fn set(&mut self, name: Arc<str>, value: Option<V>) {
        if self.base.get(&name).map(V::of) == value {
            self.exceptions.remove(&name);
        } else {
            self.exceptions.insert(name, value);
        }
    }

    /// The entries, those with exceptions last.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, V)> {
        let shared = self
            .base
            .iter()
            .filter(|(name, _)| !self.exceptions.contains_key(*name))
            .map(|(name, resource)| (name, V::of(resource)));
        let own = self.exceptions.iter();
        shared.chain(own.filter_map(|(name, value)| Some((name, value.clone()?))))
    }

    /// Keeps the entries with these names.
    pub(super) fn retain(&mut self, keeps: impl Fn(&Arc<str>) -> bool) {
        let gone: Vec<Arc<str>> = self
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !keeps(name))
            .cloned()
            .collect();
        for name in gone {
            self.remove(&name);
        }
    }

    /// How many entries have a property that those of the base have all.
    pub(super) fn count(&self, has: impl Fn(&V) -> bool) -> usize {
        let mut count = self.base.len();
        for (name, value) in &self.exceptions {
            count -= usize::from(self.base.contains_key(name));
            count += usize::from(value.as_ref().is_some_and(&has));
        }
        count
    }

    /// How many names take memory of this stream alone, since neither the base nor `current` has them.
    pub(super) fn foreign(&self, current: &Resources) -> usize {
        let own = self.exceptions.keys();
        own.filter(|name| !current.contains_key(*name)).count()
    }

    /// How many exceptions there are.
    pub(super) fn exceptions(&self) -> usize {
        self.exceptions.len()
    }

    /// Shares with another map, without a change of the entries. Costs what differs between the old base
    /// and the new one.
    pub(super) fn rebase(&mut self, current: &Resources) {
        // A few names of many take less memory as exceptions.
        let shares = !self.base.is_empty() || self.exceptions.len() * 2 > current.len();
        if self.exceptions.len() <= MAX_EXCEPTIONS || !shares || self.base.ptr_eq(current) {
            return;
        }
        let base = std::mem::replace(&mut self.base, current.clone());
        for difference in base.diff(current) {
            let (name, before) = match difference {
                DiffItem::Add(name, _) => (name, None),
                DiffItem::Remove(name, before) => (name, Some(V::of(before))),
                DiffItem::Update {
                    old: (_, before),
                    new: (name, _),
                } => (name, Some(V::of(before))),
            };
            let value = match self.exceptions.get(name) {
                Some(exception) => exception.clone(),
                None => before,
            };
            self.set(name.clone(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_mesh::for_seeds;
    use crate::resource::Kind;
    use fastrand::Rng;

    /// A version, as a stream remembers it.
    impl Shared for String {
        fn of(resource: &Arc<Resource>) -> Self {
            resource.version().to_string()
        }
    }

    #[test]
    fn an_overlay_is_a_map_whatever_it_is_based_on() {
        for_seeds(100, |seed| {
            let mut rng = Rng::with_seed(seed);
            let (mut overlay, mut map) = (Overlay::default(), BTreeMap::new());
            let mut current = Resources::new();
            for _ in 0..300 {
                let name: Arc<str> = format!("n{}", rng.usize(..40)).into();
                let version = format!("v{}", rng.usize(..3));
                match rng.usize(..6) {
                    0 | 1 => {
                        overlay.insert(name.clone(), version.clone());
                        map.insert(name, version);
                    }
                    2 => assert_eq!(overlay.remove(&name), map.remove(&name).is_some()),
                    3 => {
                        let resource =
                            Resource::received(Kind::Cluster, name.clone(), version, b"");
                        current.insert(name, Arc::new(resource));
                    }
                    4 => drop(current.remove(&name)),
                    _ => overlay.rebase(&current),
                }
                let entries: BTreeMap<_, _> = overlay.iter().map(|(k, v)| (k.clone(), v)).collect();
                assert_eq!(entries, map);
                assert_eq!(overlay.count(|_| true), map.len());
                for n in 0..40 {
                    let name = format!("n{n}");
                    assert_eq!(overlay.get(&name), map.get(&*name).cloned());
                    assert_eq!(overlay.contains(&name), map.contains_key(&*name));
                }
            }
        });
    }

    #[test]
    fn a_client_that_holds_what_the_snapshot_has_takes_no_memory_of_its_own() {
        let resource = |n: u32| {
            let name: Arc<str> = format!("n{n}").into();
            let resource = Resource::received(Kind::Cluster, name.clone(), "v", b"");
            (name, Arc::new(resource))
        };
        let current: Resources = (0..100).map(resource).collect();
        let mut overlay = Overlay::default();
        for name in current.keys() {
            overlay.insert(name.clone(), "v".to_owned());
        }
        assert_eq!(overlay.exceptions(), 100);
        overlay.rebase(&current);
        assert_eq!(overlay.exceptions(), 0);
    }
}
