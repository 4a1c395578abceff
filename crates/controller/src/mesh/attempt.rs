//! One attempt about one key: the calls, in order, and how they ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use tombolo_kube::crd::Resource as Object;
use tombolo_kube::finalizer;
use tombolo_model::appmesh::{Kind, ResourceKey, Spec};
use tombolo_telemetry::ErrorChain;

use super::{Claim, Observed, Owner, Step, step};
use crate::{ApiError, Cluster, MeshApi, ObjectRef, Outcome, Problem, Reason, Status};

/// Calls of one attempt, at most: look, ask for the owner, create, look again, update.
const STEPS: usize = 6;

/// Why an attempt failed.
pub(super) struct AttemptError {
    pub(super) problem: Problem,
    pub(super) outcome: Outcome,
    /// Whether it may succeed when another resource has come or gone.
    pub(super) waits_for_others: bool,
}

impl AttemptError {
    /// Not an outage.
    fn failed(reason: Reason, message: String) -> Self {
        Self {
            problem: Problem { reason, message },
            outcome: Outcome::Failed,
            waits_for_others: false,
        }
    }

    /// The controller itself failed.
    pub(super) fn internal() -> Self {
        let message = "the controller failed on this object; its log says why";
        Self::failed(Reason::InternalError, message.to_owned())
    }
}

impl From<ApiError> for AttemptError {
    fn from(error: ApiError) -> Self {
        Self {
            problem: Problem::from(&error),
            outcome: error.outcome(),
            waits_for_others: error.waits_for_others(),
        }
    }
}

/// An attempt to bring one resource to what is desired.
pub(super) struct Attempt<C, A> {
    pub(super) api: Arc<A>,
    pub(super) key: ResourceKey,
    /// What is desired.
    pub(super) spec: Option<Arc<Spec>>,
    /// The objects that desire it.
    pub(super) sources: Vec<(Arc<C>, ObjectRef)>,
    pub(super) claim: Claim,
    /// The owner of what is created.
    pub(super) owner: String,
    /// Every owner that is this controller.
    pub(super) ours: BTreeSet<String>,
}

impl<C: Cluster, A: MeshApi> Attempt<C, A> {
    /// Makes the calls that [`step`] names, until nothing is left or one fails. Also what was observed, which is worth
    /// keeping either way.
    pub(super) async fn run(self, mut observed: Observed) -> (Observed, Result<(), AttemptError>) {
        if let Err(error) = self.hold().await {
            return (observed, Err(error));
        }
        for _ in 0..STEPS {
            let next = step(self.spec.as_deref(), &observed, self.claim);
            if next == Step::Done {
                return (observed, Ok(()));
            }
            match self.call(next, &observed).await {
                Ok(Some(next)) => observed = next,
                Ok(None) => return (observed, Ok(())),
                Err(error) => {
                    // An answer that was lost may have been a success.
                    if error.outcome == Outcome::Unreachable {
                        observed = Observed::Unknown;
                    }
                    return (observed, Err(error));
                }
            }
        }
        let message = format!(
            "{} {} changes while it is reconciled",
            self.key.kind, self.key.name
        );
        let error = AttemptError::failed(Reason::Refused, message);
        (observed, Err(error))
    }

    /// Objects are held before anything exists for them.
    async fn hold(&self) -> Result<(), AttemptError> {
        for (cluster, source) in &self.sources {
            if let Err(error) = cluster.hold(source).await {
                let message = ErrorChain(&error).to_string();
                return Err(AttemptError::failed(Reason::FinalizersNotAdded, message));
            }
        }
        Ok(())
    }

    /// One call; what is observed after it. `None`: it is to be left as it is.
    async fn call(
        &self,
        next: Step,
        observed: &Observed,
    ) -> Result<Option<Observed>, AttemptError> {
        let (api, key) = (&*self.api, &self.key);
        Ok(Some(match (next, self.spec.as_deref()) {
            (Step::Done | Step::Create | Step::Update { .. }, None) | (Step::Done, _) => {
                return Ok(None);
            }
            (Step::Describe, _) => Observed::from(api.describe(key).await?),
            (Step::ReadOwner { arn }, _) => match api.owner(&arn).await {
                Ok(found) => observed.owned_by(found, &self.ours),
                Err(ApiError::NotFound(_)) => Observed::Unknown,
                Err(error) => return Err(error.into()),
            },
            (Step::Create, Some(spec)) => match api.create(key, spec, &self.owner).await {
                Ok(found) => Observed::applied(found, spec, Owner::ThisController),
                // Somebody else was faster, or the answer to our own creation was lost.
                Err(ApiError::Exists(_)) => Observed::Unknown,
                Err(error) => return Err(error.into()),
            },
            (Step::Update { owner }, Some(spec)) => match api.update(key, spec).await {
                Ok(found) => Observed::applied(found, spec, owner),
                Err(ApiError::NotFound(_)) => Observed::Unknown,
                Err(error) => return Err(error.into()),
            },
            (Step::Delete, _) => {
                self.empty().await?;
                match api.delete(key).await {
                    Ok(()) => Observed::Absent,
                    // Others are in the mesh: whoever leaves last deletes it.
                    Err(ApiError::InUse(_)) if self.claim == Claim::Shared => return Ok(None),
                    Err(error) => return Err(error.into()),
                }
            }
            (Step::Conflict { owner }, _) => {
                let message = format!(
                    "{} {} belongs to {owner} and has a different spec there; make both equal, or give this one \
                     another awsName",
                    key.kind, key.name
                );
                return Err(AttemptError::failed(Reason::Conflict, message));
            }
        }))
    }

    /// A virtual router that goes takes its routes along, also those that its object does not know.
    async fn empty(&self) -> Result<(), ApiError> {
        if self.key.kind != Kind::VirtualRouter || self.claim == Claim::None {
            return Ok(());
        }
        let routes = self.api.list(&self.key.mesh, Kind::Route, &self.key.name);
        match routes.await {
            Ok(routes) => {
                for route in routes {
                    self.api.delete(&route.key).await?;
                }
                Ok(())
            }
            Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Writes the status of an object, and before that what admission adds to one that nobody admitted.
pub(super) async fn write<C: Cluster>(
    cluster: &C,
    object: &ObjectRef,
    admitted: Option<Arc<Object>>,
    status: &Status,
) -> Outcome {
    let written = async {
        match admitted {
            // The change that this makes brings the object here again.
            Some(admitted) => cluster.admit(object, &admitted).await,
            None => cluster.patch_status(object, status).await,
        }
    };
    match written.await {
        Ok(()) => Outcome::Done,
        Err(error) => {
            tracing::warn!(%object, error = %ErrorChain(&error), "status not written");
            Outcome::Failed
        }
    }
}

/// Lets an object go whose resource is gone.
pub(super) async fn release<C: Cluster>(cluster: &C, object: &ObjectRef) -> Outcome {
    for finalizer in [
        finalizer::MESH_MEMBERS,
        finalizer::VIRTUAL_GATEWAY_MEMBERS,
        finalizer::APP_MESH,
    ] {
        if let Err(error) = cluster.release(object, finalizer).await {
            tracing::warn!(%object, finalizer, error = %ErrorChain(&error), "finalizer not removed");
            return Outcome::Failed;
        }
    }
    Outcome::Done
}
