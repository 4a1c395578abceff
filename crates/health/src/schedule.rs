//! The schedule of health checks, and the changes of health by their results, without I/O and clock.

use crate::target::Target;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tombolo_model::{
    Change, Record, RecordKey, Scope, ScopeView, View,
    cloudmap::{Health, Instance, Service},
};

/// The key of an instance: its scope, its service's id and its own id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InstanceKey {
    pub(crate) scope: Scope,
    pub(crate) service_id: Arc<str>,
    pub(crate) instance_id: Arc<str>,
}

/// A check that is due.
#[derive(Clone, Debug)]
pub(crate) struct DueCheck {
    pub(crate) target: Target,
    /// The number of the check, which differs from that of a later check of the same instance.
    pub(crate) number: u64,
}

/// A change of an instance's health, to be committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthChange {
    pub(crate) name: InstanceKey,
    /// The operation of the registration that was checked.
    pub(crate) operation_id: String,
    pub(crate) health: Health,
}

/// The default of `FailureThreshold`.
const DEFAULT_THRESHOLD: u32 = 3;

struct Check {
    target: Target,
    threshold: u32,
    operation_id: String,
    number: u64,
    /// The time at which the check is due; `None` while it is in flight.
    next: Option<Instant>,
    /// The recorded health.
    health: Health,
    /// The number of consecutive results that differ from the recorded health.
    contrary_results: u32,
}

pub(crate) struct Schedule {
    interval: Duration,
    checks: HashMap<InstanceKey, Check>,
    queue: BTreeSet<(Instant, u64)>,
    /// The keys of all checks, by number.
    names: BTreeMap<u64, InstanceKey>,
    last_number: u64,
}

impl Schedule {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            checks: HashMap::new(),
            queue: BTreeSet::new(),
            names: BTreeMap::new(),
            last_number: 0,
        }
    }

    /// The number of checked instances.
    pub(crate) fn len(&self) -> usize {
        self.checks.len()
    }

    /// Synchronizes with a full state: known checks keep their times, new ones are spread over an interval, so
    /// that a start does not probe everything at once.
    pub(crate) fn resync(&mut self, view: &View, now: Instant) {
        let mut gone: BTreeSet<InstanceKey> = self.checks.keys().cloned().collect();
        let mut desired = Vec::new();
        for (scope, state) in view.scopes() {
            for service in state.services().filter(|s| s.health_check.is_some()) {
                let instances = state.instances(&service.id).into_iter();
                for instance in instances.flat_map(|instances| instances.by_id.values()) {
                    let name = name(scope, instance);
                    gone.remove(&name);
                    desired.push((name, service.clone(), instance.clone()));
                }
            }
        }
        for name in gone {
            self.remove(&name);
        }
        let step = self.interval / u32::try_from(desired.len()).unwrap_or(u32::MAX).max(1);
        let mut first = now;
        for (name, service, instance) in desired {
            self.put(name, &service, &instance, first);
            first += step;
        }
    }

    /// Synchronizes with the changes that led to a view.
    pub(crate) fn change(&mut self, view: &View, changes: &[Change], now: Instant) {
        for change in changes {
            let Some(state) = view.scope(change.scope()) else {
                continue;
            };
            match change {
                Change::Put(scope, Record::Instance(instance)) => {
                    self.sync_instance(scope, state, &instance.service_id, &instance.id, now);
                }
                Change::Delete(scope, RecordKey::Instance(service_id, id)) => {
                    self.sync_instance(scope, state, service_id, id, now);
                }
                Change::Put(scope, Record::Service(service)) => {
                    let instances = state.instances(&service.id).into_iter();
                    for instance in instances.flat_map(|instances| instances.by_id.values()) {
                        self.sync_instance(scope, state, &service.id, &instance.id, now);
                    }
                }
                // A service is deleted only when it has no instances.
                Change::Put(..) | Change::Delete(..) => {}
            }
        }
    }

    /// The time of the next check that is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes the next check that is due. It is not due again before its [result](Self::result).
    pub(crate) fn take(&mut self, now: Instant) -> Option<DueCheck> {
        let (at, number) = self.queue.first().copied()?;
        if at > now {
            return None;
        }
        self.queue.remove(&(at, number));
        let check = self.checks.get_mut(self.names.get(&number)?)?;
        check.next = None;
        Some(DueCheck {
            target: check.target.clone(),
            number,
        })
    }

    /// Records the result of a check. `Some` if it changes the instance's health; also with each further result until
    /// the view has the change, so that a change that could not be committed is retried.
    pub(crate) fn result(
        &mut self,
        number: u64,
        is_healthy: bool,
        now: Instant,
    ) -> Option<HealthChange> {
        self.reschedule(number, now);
        let name = self.names.get(&number)?;
        let check = self.checks.get_mut(name)?;
        let seen = if is_healthy {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        if seen == check.health {
            check.contrary_results = 0;
            return None;
        }
        check.contrary_results = check.contrary_results.saturating_add(1);
        (check.contrary_results >= check.threshold).then(|| HealthChange {
            name: name.clone(),
            operation_id: check.operation_id.clone(),
            health: seen,
        })
    }

    /// Reschedules a check without a result after an interval.
    pub(crate) fn reschedule(&mut self, number: u64, now: Instant) {
        let next = now + self.interval;
        let name = self.names.get(&number);
        // Otherwise the instance was deregistered meanwhile.
        if let Some(check) = name.and_then(|name| self.checks.get_mut(name)) {
            check.next = Some(next);
            self.queue.insert((next, number));
        }
    }

    /// Synchronizes the check of one instance with the view.
    fn sync_instance(
        &mut self,
        scope: &Scope,
        state: &ScopeView,
        service: &str,
        id: &str,
        now: Instant,
    ) {
        let found = state.service(service).zip(state.instance(service, id));
        match found {
            Some((service, instance)) => {
                self.put(name(scope, instance), service, instance, now);
            }
            None => self.remove(&InstanceKey {
                scope: scope.clone(),
                service_id: service.into(),
                instance_id: id.into(),
            }),
        }
    }

    fn put(&mut self, name: InstanceKey, service: &Service, instance: &Instance, first: Instant) {
        let Some(target) = Target::of(service, instance) else {
            self.remove(&name);
            return;
        };
        let threshold = service
            .health_check
            .as_ref()
            .and_then(|check| check.failure_threshold)
            .unwrap_or(DEFAULT_THRESHOLD);
        if let Some(known) = self.checks.get_mut(&name)
            && known.operation_id == instance.operation_id
            && known.target == target
        {
            known.threshold = threshold;
            if known.health != instance.health {
                known.health = instance.health;
                known.contrary_results = 0;
            }
            return;
        }
        self.remove(&name);
        self.last_number += 1;
        let number = self.last_number;
        self.queue.insert((first, number));
        self.names.insert(number, name.clone());
        self.checks.insert(
            name,
            Check {
                target,
                threshold,
                operation_id: instance.operation_id.clone(),
                number,
                next: Some(first),
                health: instance.health,
                contrary_results: 0,
            },
        );
    }

    fn remove(&mut self, name: &InstanceKey) {
        let Some(check) = self.checks.remove(name) else {
            return;
        };
        self.names.remove(&check.number);
        if let Some(next) = check.next {
            self.queue.remove(&(next, check.number));
        }
    }
}

fn name(scope: &Scope, instance: &Instance) -> InstanceKey {
    InstanceKey {
        scope: scope.clone(),
        service_id: instance.service_id.clone(),
        instance_id: instance.id.clone(),
    }
}

#[cfg(test)]
mod tests;
