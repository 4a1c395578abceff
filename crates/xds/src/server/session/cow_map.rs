//! A copy-on-write map, which takes memory only for entries that differ from a shared map.
//!
//! The state of a stream nearly always equals the snapshot: the client subscribed to every name and was sent every
//! version. With a thousand services, two separate maps for each kind would cost a megabyte per proxy. So a stream has
//! the snapshot's own map as its base, which all streams share, and overrides.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::ordmap::DiffItem;

use crate::resource::Resource;
use crate::snapshot::Resources;

/// The value of an entry that is not overridden, made from the resource in the base.
pub(super) trait FromResource: Clone + PartialEq {
    fn from_resource(resource: &Arc<Resource>) -> Self;
}

/// The number of overrides up to which a rebase is not worth its cost.
const MAX_OVERRIDES: usize = 8;

/// A map from names to `V`: the resources of a shared base, with overrides.
#[derive(Debug)]
pub(super) struct CowMap<V> {
    base: Resources,
    /// Entries that differ from the base. `None` removes an entry of the base.
    overrides: BTreeMap<Arc<str>, Option<V>>,
}

impl<V> Default for CowMap<V> {
    fn default() -> Self {
        CowMap {
            base: Resources::new(),
            overrides: BTreeMap::new(),
        }
    }
}

impl<V: FromResource> CowMap<V> {
    pub(super) fn get(&self, name: &str) -> Option<V> {
        match self.overrides.get(name) {
            Some(value) => value.clone(),
            None => self.base.get(name).map(V::from_resource),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        match self.overrides.get(name) {
            Some(value) => value.is_some(),
            None => self.base.contains_key(name),
        }
    }

    pub(super) fn insert(&mut self, name: Arc<str>, value: V) {
        self.set(name, Some(value));
    }

    /// Removes an entry; returns whether it existed.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        match self.base.get_key_value(name) {
            Some((name, _)) => {
                let before = self.overrides.insert(name.clone(), None);
                before.is_none_or(|value| value.is_some())
            }
            None => self.overrides.remove(name).is_some(),
        }
    }

    fn set(&mut self, name: Arc<str>, value: Option<V>) {
        if self.base.get(&name).map(V::from_resource) == value {
            self.overrides.remove(&name);
        } else {
            self.overrides.insert(name, value);
        }
    }

    /// All entries, the overridden ones last.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, V)> {
        let shared = self
            .base
            .iter()
            .filter(|(name, _)| !self.overrides.contains_key(*name))
            .map(|(name, resource)| (name, V::from_resource(resource)));
        let own = self.overrides.iter();
        shared.chain(own.filter_map(|(name, value)| Some((name, value.clone()?))))
    }

    /// Keeps the entries whose names satisfy `keeps`.
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

    /// The number of entries that satisfy `has`, which every value that is not overridden must satisfy.
    pub(super) fn count(&self, has: impl Fn(&V) -> bool) -> usize {
        let mut count = self.base.len();
        for (name, value) in &self.overrides {
            count -= usize::from(self.base.contains_key(name));
            count += usize::from(value.as_ref().is_some_and(&has));
        }
        count
    }

    /// The number of overridden names that `current` does not have: their texts are not shared with it and take
    /// memory of this stream alone.
    pub(super) fn unshared_count(&self, current: &Resources) -> usize {
        let own = self.overrides.keys();
        own.filter(|name| !current.contains_key(*name)).count()
    }

    /// The number of overrides.
    pub(super) fn override_count(&self) -> usize {
        self.overrides.len()
    }

    /// Replaces the base by `current` if that is worth it; the entries stay the same. The cost depends on the
    /// difference between the two bases.
    pub(super) fn rebase(&mut self, current: &Resources) {
        // A map with few of the names in `current` takes less memory with overrides over an empty base.
        let is_large = !self.base.is_empty() || self.overrides.len() * 2 > current.len();
        if self.overrides.len() <= MAX_OVERRIDES || !is_large || self.base.ptr_eq(current) {
            return;
        }
        let base = std::mem::replace(&mut self.base, current.clone());
        for difference in base.diff(current) {
            let (name, before) = match difference {
                DiffItem::Add(name, _) => (name, None),
                DiffItem::Remove(name, before) => (name, Some(V::from_resource(before))),
                DiffItem::Update {
                    old: (_, before),
                    new: (name, _),
                } => (name, Some(V::from_resource(before))),
            };
            let value = match self.overrides.get(name) {
                Some(value) => value.clone(),
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
    impl FromResource for String {
        fn from_resource(resource: &Arc<Resource>) -> Self {
            resource.version().to_string()
        }
    }

    #[test]
    fn a_cow_map_is_a_map_whatever_its_base_is() {
        for_seeds(100, |seed| {
            let mut rng = Rng::with_seed(seed);
            let (mut cow_map, mut map) = (CowMap::default(), BTreeMap::new());
            let mut current = Resources::new();
            for _ in 0..300 {
                let name: Arc<str> = format!("n{}", rng.usize(..40)).into();
                let version = format!("v{}", rng.usize(..3));
                match rng.usize(..6) {
                    0 | 1 => {
                        cow_map.insert(name.clone(), version.clone());
                        map.insert(name, version);
                    }
                    2 => assert_eq!(cow_map.remove(&name), map.remove(&name).is_some()),
                    3 => {
                        let resource =
                            Resource::received(Kind::Cluster, name.clone(), version, b"");
                        current.insert(name, Arc::new(resource));
                    }
                    4 => drop(current.remove(&name)),
                    _ => cow_map.rebase(&current),
                }
                let entries: BTreeMap<_, _> = cow_map.iter().map(|(k, v)| (k.clone(), v)).collect();
                assert_eq!(entries, map);
                assert_eq!(cow_map.count(|_| true), map.len());
                for n in 0..40 {
                    let name = format!("n{n}");
                    assert_eq!(cow_map.get(&name), map.get(&*name).cloned());
                    assert_eq!(cow_map.contains(&name), map.contains_key(&*name));
                }
            }
        });
    }

    #[test]
    fn a_client_with_the_resources_of_the_snapshot_needs_no_overrides() {
        let resource = |n: u32| {
            let name: Arc<str> = format!("n{n}").into();
            let resource = Resource::received(Kind::Cluster, name.clone(), "v", b"");
            (name, Arc::new(resource))
        };
        let current: Resources = (0..100).map(resource).collect();
        let mut cow_map = CowMap::default();
        for name in current.keys() {
            cow_map.insert(name.clone(), "v".to_owned());
        }
        assert_eq!(cow_map.override_count(), 100);
        cow_map.rebase(&current);
        assert_eq!(cow_map.override_count(), 0);
    }
}
