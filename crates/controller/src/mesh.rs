//! Reconciles mesh objects into the App Mesh API.

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

pub use step::{KnownResource, Observed, Owner, Step, step};

use crate::cluster::{Changes, is_same};
use crate::desired::{self, Desired};
use crate::jobs::Jobs;
use crate::queue::RETRY_PAUSES;
use crate::{
    ApiError, Cluster, Event, MeshApi, ObjectRef, Observer, Options, Outcome, Problem, Reason,
    Status, WorkQueue,
};
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
    Listing(Result<Listing, ApiError>),
}

/// The reason why an attempt failed.
struct AttemptError {
    problem: Problem,
    outcome: Outcome,
}

impl AttemptError {
    /// A failure other than an outage.
    fn failed(reason: Reason, message: String) -> Self {
        Self {
            problem: Problem { reason, message },
            outcome: Outcome::Failed,
        }
    }
}

impl From<ApiError> for AttemptError {
    fn from(error: ApiError) -> Self {
        Self {
            problem: Problem::from(&error),
            outcome: error.outcome(),
        }
    }
}

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
        for object in new.objects.keys() {
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
            let (api, owner) = (self.api.clone(), self.options.clone());
            self.jobs.spawn(Key::Resource(key.clone()), async move {
                let (observed, result) =
                    reconcile(&*api, &key, spec.as_deref(), observed, &owner.owner).await;
                AttemptResult::Resource(observed, result)
            });
        }
        while self.statuses.running() < CONCURRENT
            && let Some(object) = self.statuses.pop(now)
        {
            let status = self.status(&object);
            let Some(status) = status.filter(|status| self.written.get(&object) != Some(status))
            else {
                self.statuses.finish(&object, Outcome::Done, now);
                continue;
            };
            let cluster = self.clusters[object.cluster].clone();
            self.jobs.spawn(Key::Status(object.clone()), async move {
                let outcome = match cluster.patch_status(&object, &status).await {
                    Ok(()) => Outcome::Done,
                    Err(error) => {
                        tracing::warn!(%object, error = %ErrorChain(&error), "status not written");
                        Outcome::Failed
                    }
                };
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
                let message = "the controller failed on this object; its log says why";
                let error = AttemptError::failed(Reason::InternalError, message.to_owned());
                self.reconciled(key, Observed::Unknown, Err(error), now);
            }
            (Key::Status(object), Ok(AttemptResult::Status(status, outcome))) => {
                if outcome == Outcome::Done {
                    self.written.insert(object.clone(), status);
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
        let outcome = match result {
            Ok(()) => {
                self.problems.remove(&key);
                Outcome::Done
            }
            Err(AttemptError { problem, outcome }) => {
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
        let desired = self.desired.borrow().clone();
        let resource = desired.resources.get(&key);
        for source in resource.iter().flat_map(|resource| &resource.sources) {
            self.statuses.add(source.clone(), 0);
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
            if matches!(known, Observed::Present(known) if !known.owner.is_other()) {
                self.queue.add(key.clone(), rank(&key, false));
            }
        }
        // A status that was changed by others is written again.
        self.written.clear();
        for object in desired.objects.keys() {
            self.statuses.add(object.clone(), 0);
        }
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
        let mut status = Status {
            generation: asked.generation,
            problem: desired.rejected.get(object).map(Problem::from),
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

/// Maximum calls of one attempt: describe, read the owner, create, describe again, update.
const STEPS: usize = 6;

/// One attempt: makes the calls of [`step()`] until none is left or one fails. Also returns the observed state, which
/// is kept either way.
async fn reconcile<A: MeshApi>(
    api: &A,
    key: &ResourceKey,
    desired: Option<&tombolo_model::appmesh::Spec>,
    mut observed: Observed,
    owner: &str,
) -> (Observed, Result<(), AttemptError>) {
    for _ in 0..STEPS {
        let next = match (step(desired, &observed), desired) {
            (Step::Done, _) => return (observed, Ok(())),
            (Step::Describe, _) => api.describe(key).await.map(Observed::from),
            (Step::ReadOwner { arn }, _) => api
                .owner(&arn)
                .await
                .map(|found| observed.owned_by(found, owner)),
            (Step::Create, Some(spec)) => match api.create(key, spec, owner).await {
                // Another client created it, or the answer to this controller's own creation was lost.
                Err(ApiError::Exists(_)) => Ok(Observed::Unknown),
                created => {
                    created.map(|found| Observed::applied(found, spec, Owner::ThisController))
                }
            },
            (Step::Update { owner }, Some(spec)) => match api.update(key, spec).await {
                Err(ApiError::NotFound(_)) => Ok(Observed::Unknown),
                updated => updated.map(|found| Observed::applied(found, spec, owner)),
            },
            (Step::Create | Step::Update { .. }, None) => return (observed, Ok(())),
            (Step::Delete, _) => api.delete(key).await.map(|()| Observed::Absent),
            (Step::Conflict { owner }, _) => {
                return (
                    observed,
                    Err(AttemptError::failed(
                        Reason::Conflict,
                        format!(
                            "{} {} belongs to {owner} and has a different spec there; make both equal, or give this one another awsName",
                            key.kind, key.name
                        ),
                    )),
                );
            }
        };
        match next {
            Ok(next) => observed = next,
            Err(error) => {
                // A call whose answer was lost may have succeeded.
                let observed = match error {
                    ApiError::Unreachable(_) => Observed::Unknown,
                    _ => observed,
                };
                return (observed, Err(error.into()));
            }
        }
    }
    let message = format!("{} {} changes while it is reconciled", key.kind, key.name);
    (
        observed,
        Err(AttemptError::failed(Reason::Refused, message)),
    )
}

#[cfg(test)]
mod tests;
