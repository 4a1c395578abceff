//! Reconciles mesh objects into the App Mesh API.

mod attempt;
mod listing;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backon::{BackoffBuilder, ExponentialBackoff};
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;
use tokio::time::Instant;
use tombolo_kube::ClusterObjects;
use tombolo_model::appmesh::{Kind, ResourceKey};
use tombolo_telemetry::ErrorChain;

pub use step::{Claim, KnownResource, Observed, Owner, Step, step};

use crate::cluster::{self, Changes, is_same};
use crate::desired::{self, Desired};
use crate::jobs::Jobs;
use crate::queue::RETRY_PAUSES;
use crate::{
    ApiError, Cluster, Event, MeshApi, ObjectRef, Observer, Options, Outcome, Problem, Reason,
    Status, WorkQueue,
};
use attempt::{Attempt, AttemptError};
use listing::Listing;

/// Maximum concurrent calls.
const CONCURRENT: usize = 16;

/// Reconciles the App Mesh API with the objects of all clusters, and writes the status of the objects.
pub struct Controller<C, A> {
    clusters: Vec<Arc<C>>,
    api: Arc<A>,
    options: Arc<Options>,
    observer: Observer,
    /// The objects that `desired` was computed from, by cluster.
    seen: Vec<Arc<ClusterObjects>>,
    desired: watch::Sender<Arc<Desired>>,
    /// The known state of the API. Absent: unknown.
    observed: BTreeMap<ResourceKey, Observed>,
    problems: BTreeMap<ResourceKey, Problem>,
    /// Resources that wait for others to come or to go: tried again as soon as one has.
    waiting: BTreeSet<ResourceKey>,
    /// Resources of deleted objects that are gone, or that are not ours to delete.
    settled: BTreeSet<ResourceKey>,
    /// Deleted objects that were let go.
    released: BTreeSet<ObjectRef>,
    /// What keeps pods of virtual nodes out of the registry.
    registry: watch::Receiver<Arc<RegistryProblems>>,
    /// Resources that [`Event::Created`] was sent for.
    announced: BTreeSet<ResourceKey>,
    /// Resources to reconcile.
    queue: WorkQueue<ResourceKey>,
    /// Objects whose status is to be written.
    statuses: WorkQueue<ObjectRef>,
    /// The status that was written last.
    written: BTreeMap<ObjectRef, Status>,
    jobs: Jobs<Key, AttemptResult>,
    schedule: ComparisonSchedule,
}

/// The schedule of full comparisons with the API.
struct ComparisonSchedule {
    /// Time of the next comparison; absent during one.
    due: Option<Instant>,
    /// The remaining backoff after failed comparisons; absent: the last one succeeded.
    pauses: Option<ExponentialBackoff>,
    /// Whether one has succeeded: later ones only list meshes with owned resources.
    has_succeeded: bool,
}

/// The subject of an attempt.
enum Key {
    Resource(ResourceKey),
    Status(ObjectRef),
    Listing,
}

/// The result of an attempt.
enum AttemptResult {
    Resource(Observed, Result<(), AttemptError>),
    Status(Status, Outcome),
    Released(Outcome),
    Listing(Result<Listing, ApiError>),
}

/// Problems of registering pods, by virtual node.
pub type RegistryProblems = BTreeMap<ObjectRef, Problem>;

impl<C: Cluster, A: MeshApi> Controller<C, A> {
    /// A controller without any knowledge of the API.
    pub fn new(clusters: Vec<Arc<C>>, api: Arc<A>, options: Options, observer: Observer) -> Self {
        Self {
            clusters,
            api,
            observer,
            seen: Vec::new(),
            desired: watch::channel(Arc::default()).0,
            observed: BTreeMap::new(),
            problems: BTreeMap::new(),
            waiting: BTreeSet::new(),
            settled: BTreeSet::new(),
            released: BTreeSet::new(),
            registry: watch::channel(Arc::default()).1,
            announced: BTreeSet::new(),
            queue: WorkQueue::default(),
            statuses: WorkQueue::default(),
            written: BTreeMap::new(),
            jobs: Jobs::new(),
            schedule: ComparisonSchedule {
                due: Some(Instant::now()),
                pauses: None,
                has_succeeded: false,
            },
            options: Arc::new(options),
        }
    }

    /// Writes problems of the registry into the status of virtual nodes, too.
    #[must_use]
    pub fn with_registry(mut self, problems: watch::Receiver<Arc<RegistryProblems>>) -> Self {
        self.registry = problems;
        self
    }

    /// The desired state of the clusters, as it changes. Computed once for all readers.
    pub fn desired(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.subscribe()
    }

    /// Reconciles at each change and on a timer, until dropped. `restarted` is notified when the API was restarted,
    /// so that lost resources are noticed at once.
    pub async fn run(mut self, restarted: Arc<Notify>) {
        let mut changes = Changes::of(&self.clusters);
        let mut is_changed = true;
        loop {
            if std::mem::take(&mut is_changed) {
                self.refresh();
            }
            self.start_jobs();
            let due = [
                self.queue.next_due(),
                self.statuses.next_due(),
                self.schedule.due,
            ];
            let due = due.into_iter().flatten().min();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changes.next() => is_changed = true,
                () = changed(&mut self.registry) => self.write_statuses(),
                () = restarted.notified() => {
                    self.queue.reachable();
                    self.schedule.due = self.schedule.due.map(|_| Instant::now());
                }
                Some((key, ended)) = self.jobs.next() => self.ended(key, ended),
                () = timer => {}
            }
        }
    }

    /// Computes the desired state if an object has changed, and queues the differences.
    fn refresh(&mut self) {
        let objects = self.clusters.iter().map(|cluster| cluster.objects());
        let objects: Vec<_> = objects.collect();
        if is_same(&objects, &self.seen) {
            return;
        }
        let named: Vec<_> = (self.clusters.iter().zip(&objects))
            .map(|(cluster, objects)| (cluster.name(), objects.as_ref()))
            .collect();
        let new = Arc::new(desired::desired(&named));
        self.seen = objects;
        let old = self.desired.send_replace(new.clone());
        for (key, resource) in &new.resources {
            let before = old.resources.get(key);
            if before.is_none_or(|before| before.spec != resource.spec) {
                self.queue.add(key.clone(), rank(key, true));
            }
        }
        for key in new.to_delete() {
            if !old.is_claimed(key) && !old.resources.contains_key(key) {
                self.problems.remove(key);
                self.queue.add(key.clone(), rank(key, false));
            }
        }
        self.settled
            .retain(|key| new.claims(key) && !new.resources.contains_key(key));
        self.released
            .retain(|object| new.deleted.contains_key(object));
        let deleted = old
            .resources
            .keys()
            .filter(|key| !new.resources.contains_key(*key));
        for key in deleted.filter(|key| !new.keeps(key)) {
            self.problems.remove(key);
            self.queue.add(key.clone(), rank(key, false));
        }
        self.written
            .retain(|object, _| new.objects.contains_key(object));
        for object in old
            .objects
            .keys()
            .filter(|object| !new.objects.contains_key(*object))
        {
            self.statuses.remove(object);
        }
        self.write_statuses();
    }

    /// Queues every object to have its status written if it differs from what was written last.
    fn write_statuses(&mut self) {
        let desired = self.desired.borrow().clone();
        for object in desired.objects.keys() {
            self.statuses.add(object.clone(), 0);
        }
    }

    fn start_jobs(&mut self) {
        let now = Instant::now();
        while self.queue.running() < CONCURRENT
            && let Some(key) = self.queue.pop(now)
        {
            let desired = self.desired.borrow().clone();
            let resource = desired.resources.get(&key);
            let spec = resource.map(|resource| resource.spec.clone());
            if spec.is_none() && desired.keeps(&key) {
                self.queue.finish(&key, Outcome::Done, now);
                continue;
            }
            let observed = self
                .observed
                .get(&key)
                .cloned()
                .unwrap_or(Observed::Unknown);
            let attempt = Attempt {
                api: self.api.clone(),
                claim: self.claim(&key, &desired),
                sources: self.sources(resource),
                owner: self.owner(resource),
                ours: cluster::owners(&self.clusters, &self.options.owner),
                key: key.clone(),
                spec,
            };
            self.jobs.spawn(Key::Resource(key), async move {
                let (observed, result) = attempt.run(observed).await;
                AttemptResult::Resource(observed, result)
            });
        }
        while self.statuses.running() < CONCURRENT
            && let Some(object) = self.statuses.pop(now)
        {
            if self.is_to_be_released(&object) {
                let cluster = self.clusters[object.cluster].clone();
                self.jobs.spawn(Key::Status(object.clone()), async move {
                    AttemptResult::Released(attempt::release(&*cluster, &object).await)
                });
                continue;
            }
            let status = self.status(&object);
            let Some(status) = status.filter(|status| self.written.get(&object) != Some(status))
            else {
                self.statuses.finish(&object, Outcome::Done, now);
                continue;
            };
            let cluster = self.clusters[object.cluster].clone();
            let admitted = self.desired.borrow().admitted.get(&object).cloned();
            self.jobs.spawn(Key::Status(object.clone()), async move {
                let outcome = attempt::write(&*cluster, &object, admitted, &status).await;
                AttemptResult::Status(status, outcome)
            });
        }
        if self.schedule.due.is_some_and(|due| due <= now) {
            self.schedule.due = None;
            let (api, desired) = (self.api.clone(), self.desired.borrow().clone());
            let meshes = self
                .schedule
                .has_succeeded
                .then(|| self.own_meshes(&desired));
            self.jobs.spawn(Key::Listing, async move {
                AttemptResult::Listing(listing::list(&*api, meshes).await)
            });
        }
    }

    /// Whether the object is being deleted and nothing of it is left.
    fn is_to_be_released(&self, object: &ObjectRef) -> bool {
        let desired = self.desired.borrow();
        let is_gone =
            |key: &ResourceKey| self.settled.contains(key) || desired.resources.contains_key(key);
        !self.released.contains(object)
            && desired
                .deleted
                .get(object)
                .is_some_and(|resources| resources.iter().all(is_gone))
    }

    /// What objects that are being deleted have to say about a resource.
    fn claim(&self, key: &ResourceKey, desired: &Desired) -> Claim {
        match key.kind {
            _ if !self.options.adopt || !desired.claims(key) => Claim::None,
            Kind::Mesh => Claim::Shared,
            _ => Claim::Own,
        }
    }

    /// The objects that desire a resource, with their clusters.
    fn sources(&self, resource: Option<&desired::Resource>) -> Vec<(Arc<C>, ObjectRef)> {
        let sources = resource.iter().flat_map(|resource| &resource.sources);
        sources
            .map(|source| (self.clusters[source.cluster].clone(), source.clone()))
            .collect()
    }

    /// The owner of a resource that is created now: the cluster of the first object that desires it.
    fn owner(&self, resource: Option<&desired::Resource>) -> String {
        let first = resource.and_then(|resource| resource.sources.first());
        let owner = first.and_then(|source| self.clusters[source.cluster].owner());
        owner.unwrap_or(&self.options.owner).to_owned()
    }

    /// Something was created, changed or deleted: what waits for it is tried again.
    fn wake_waiting(&mut self, changed: &ResourceKey, desired: &Desired) {
        for key in std::mem::take(&mut self.waiting) {
            if key.mesh == changed.mesh {
                let rank = rank(&key, desired.resources.contains_key(&key));
                self.queue.add(key, rank);
            } else {
                self.waiting.insert(key);
            }
        }
    }

    /// Meshes with owned resources.
    fn own_meshes(&self, desired: &Desired) -> BTreeSet<Arc<str>> {
        let known = self.observed.iter().filter(|(_, observed)| match observed {
            Observed::Present(known) => known.owner == Owner::ThisController,
            Observed::Unknown | Observed::Absent => false,
        });
        let known = known.map(|(key, _)| key.mesh.clone());
        known
            .chain(desired.resources.keys().map(|key| key.mesh.clone()))
            .collect()
    }

    fn ended(&mut self, key: Key, ended: Result<AttemptResult, JoinError>) {
        let now = Instant::now();
        if let Err(panic) = &ended {
            tracing::error!(error = %ErrorChain(panic), "a reconciliation failed");
        }
        match (key, ended) {
            (Key::Resource(key), Ok(AttemptResult::Resource(observed, result))) => {
                self.reconciled(key, observed, result, now)
            }
            (Key::Resource(key), _) => {
                self.reconciled(key, Observed::Unknown, Err(AttemptError::internal()), now);
            }
            (Key::Status(object), Ok(AttemptResult::Status(status, outcome))) => {
                if outcome == Outcome::Done {
                    self.written.insert(object.clone(), status);
                }
                self.statuses.finish(&object, outcome, now);
            }
            (Key::Status(object), Ok(AttemptResult::Released(outcome))) => {
                if outcome == Outcome::Done {
                    self.released.insert(object.clone());
                }
                self.statuses.finish(&object, outcome, now);
            }
            (Key::Status(object), _) => self.statuses.finish(&object, Outcome::Failed, now),
            (Key::Listing, Ok(AttemptResult::Listing(Ok(listing)))) => self.compare(listing, now),
            (Key::Listing, ended) => {
                if let Ok(AttemptResult::Listing(Err(error))) = ended {
                    tracing::debug!(error = %ErrorChain(&error), "mesh resources not listed");
                }
                let pauses = self
                    .schedule
                    .pauses
                    .get_or_insert_with(|| RETRY_PAUSES.build());
                let pause = pauses.next().unwrap_or(self.options.recheck);
                self.schedule.due = Some(now + pause.min(self.options.recheck));
            }
        }
    }

    fn reconciled(
        &mut self,
        key: ResourceKey,
        observed: Observed,
        result: Result<(), AttemptError>,
        now: Instant,
    ) {
        let desired = self.desired.borrow().clone();
        let is_changed = self.observed.get(&key) != Some(&observed);
        self.waiting.remove(&key);
        let outcome = match result {
            Ok(()) => {
                self.problems.remove(&key);
                if desired.claims(&key) && !desired.resources.contains_key(&key) {
                    self.settled.insert(key.clone());
                }
                if is_changed {
                    self.wake_waiting(&key, &desired);
                }
                Outcome::Done
            }
            Err(AttemptError {
                problem,
                outcome,
                waits_for_others,
            }) => {
                if waits_for_others {
                    self.waiting.insert(key.clone());
                }
                if outcome == Outcome::Failed && self.problems.get(&key) != Some(&problem) {
                    tracing::warn!(resource = %key, reason = problem.reason.as_str(), "{problem}");
                }
                self.problems.insert(key.clone(), problem);
                outcome
            }
        };
        let was_outage = self.queue.is_outage();
        self.queue.finish(&key, outcome, now);
        match (was_outage, self.queue.is_outage()) {
            (false, true) => tracing::warn!("the mesh API does not answer; trying until it does"),
            (true, false) => tracing::info!("the mesh API answers again"),
            _ => {}
        }
        let resource = desired.resources.get(&key);
        let sources = resource.iter().flat_map(|resource| &resource.sources);
        let deleted = desired.deleted.iter();
        let deleted = deleted.filter(|(_, resources)| resources.contains(&key));
        for object in sources.chain(deleted.map(|(object, _)| object)) {
            self.statuses.add(object.clone(), 0);
        }
        match (&observed, resource) {
            (Observed::Present(_), Some(_)) if self.announced.insert(key.clone()) => {
                (self.observer)(Event::Created(key.clone()));
            }
            (Observed::Absent, None) => {
                self.observed.remove(&key);
                self.announced.remove(&key);
                return;
            }
            _ => {}
        }
        self.observed.insert(key, observed);
    }

    /// Compares a listing with the known state, and queues the differences.
    fn compare(&mut self, listing: Listing, now: Instant) {
        let desired = self.desired.borrow().clone();
        for (key, observed) in &mut self.observed {
            let is_listed = match (listing.resources.get(key), &*observed) {
                (Some(listed), Observed::Present(known)) => listed.version == known.version,
                (Some(_), _) => false,
                (None, Observed::Present(_)) => !listing.covers(&key.mesh),
                (None, _) => true,
            };
            if !is_listed {
                *observed = Observed::Unknown;
            }
        }
        self.observed.retain(|key, observed| {
            listing.resources.contains_key(key)
                || desired.resources.contains_key(key)
                || matches!(observed, Observed::Present(_))
        });
        for key in desired.resources.keys() {
            if !matches!(self.observed.get(key), Some(Observed::Present(_))) {
                self.queue.add(key.clone(), rank(key, true));
            }
        }
        for (key, listed) in listing.resources {
            if desired.resources.contains_key(&key) || desired.keeps(&key) {
                continue;
            }
            let known = self
                .observed
                .entry(key.clone())
                .or_insert(Observed::Unknown);
            if !matches!(known, Observed::Present(_)) {
                *known = Observed::Present(KnownResource::listed(listed.arn, listed.version));
            }
            let is_ours = |owner: &Owner| match owner {
                Owner::Unknown | Owner::ThisController => true,
                Owner::Untagged => self.options.adopt && desired.claims(&key),
                Owner::Other(_) => false,
            };
            if matches!(known, Observed::Present(known) if is_ours(&known.owner)) {
                self.queue.add(key.clone(), rank(&key, false));
            }
        }
        // A status that was changed by others is written again.
        self.written.clear();
        self.write_statuses();
        self.schedule = ComparisonSchedule {
            due: Some(now + self.options.recheck),
            pauses: None,
            has_succeeded: true,
        };
    }

    /// The desired status of an object; `None` when the object is deleted.
    fn status(&self, object: &ObjectRef) -> Option<Status> {
        let desired = self.desired.borrow();
        let asked = desired.objects.get(object)?;
        let pending = || {
            let members = desired.pending.get(object)?;
            Some(Problem {
                reason: Reason::PendingMembersDeletion,
                message: format!("it is being deleted and waits for {members} to go first"),
            })
        };
        let mut status = Status {
            generation: asked.generation,
            problem: (desired.rejected.get(object).map(Problem::from)).or_else(pending),
            registry: self.registry.borrow().get(object).cloned(),
            ..Status::default()
        };
        for key in &asked.resources {
            if let Some(Observed::Present(known)) = self.observed.get(key) {
                if key.kind == Kind::Route {
                    status
                        .routes
                        .insert(key.name.to_string(), known.arn.clone());
                } else {
                    status.arn = Some(known.arn.clone());
                }
            }
            match (&mut status.problem, self.problems.get(key)) {
                (Some(problem), Some(further)) => {
                    problem.message = format!("{}; {}", problem.message, further.message);
                }
                (none, further) => *none = none.take().or(further.cloned()),
            }
        }
        Some(status)
    }
}

/// The order of calls: parents are created before children, and deleted after them, when all else has changed.
fn rank(key: &ResourceKey, desired: bool) -> u32 {
    let position = Kind::ALL
        .iter()
        .position(|kind| *kind == key.kind)
        .unwrap_or(0);
    let kinds = Kind::ALL.len();
    let rank = if desired {
        position
    } else {
        2 * kinds - position
    };
    u32::try_from(rank).unwrap_or(u32::MAX)
}

/// The next change; never when the sender is gone.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
