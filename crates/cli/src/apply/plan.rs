//! The plan of applying documents. Everything is decided, and applied in a dry run, before anything is sent.

use crate::{
    apply::dry_run::DryRun,
    apply::read::{Desired, Problems, in_spec},
    apply::warnings,
    error,
    resource::command,
    resource::document_spec::DocumentSpec,
    resource::id::Id,
    resource::kind::Kind,
    resource::lookup::Lookup,
    resource::view::{ResourceView, document},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tombolo_api::client::Error;
use tombolo_kube::{FieldPath, Violation, manifest::Problem};
use tombolo_model::{Command, Reason, Rejection, appmesh::Spec};

/// The remedy for a missing resource.
const CREATE_FIRST: &str = "make it first, or put it into the same files";

/// The outcome for a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One resource to be applied.
pub(crate) struct Step {
    pub(crate) desired: Desired,
    pub(crate) found: Option<ResourceView>,
    pub(crate) outcome: Outcome,
}

/// All steps in the order of execution, and the existing resources that they need.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) known: Known,
    /// Parts of the documents that have no effect.
    pub(crate) warnings: Vec<String>,
}

/// Existing resources that the documents name or refer to.
pub(crate) type Known = BTreeMap<Id, ResourceView>;

impl Step {
    /// The commands of the step. `id` returns the generated id of the resource's container.
    pub(super) fn commands(&self, id: impl FnOnce(&Id) -> Option<String>) -> Vec<Command> {
        match &self.found {
            // Changes that are impossible were reported before.
            Some(found) => command::change(&self.desired, found).unwrap_or_default(),
            None => {
                let container = self.desired.id.container().and_then(|it| id(&it));
                command::create(&self.desired, &container.unwrap_or_default())
            }
        }
    }

    /// The document of the resource before the step.
    pub(crate) fn before(&self) -> Option<Value> {
        let found = self.found.as_ref()?;
        Some(document(&found.id, &found.content(), &found.tags))
    }

    /// The document of the resource after the step.
    pub(crate) fn after(&self) -> Value {
        let now = self.found.as_ref().map(ResourceView::content);
        let content = self.desired.content.merged_over(now.as_ref());
        let tags = match (&self.desired.tags, &self.found) {
            (Some(tags), _) => tags.clone(),
            (None, Some(found)) => found.tags.clone(),
            (None, None) => BTreeMap::new(),
        };
        document(&self.desired.id, &content, &tags)
    }
}

/// Decides the steps, from the server's current state.
pub(crate) async fn make(lookup: &Lookup, mut desired: Vec<Desired>) -> error::Result<Plan> {
    desired.sort_by_key(|one| rank(one.id.kind()));
    let known = known(lookup, &desired).await?;
    let mut problems = Problems::default();
    let mut failed = BTreeSet::new();
    let mut steps = Vec::new();
    for desired in desired {
        let found = known.get(&desired.id).cloned();
        let outcome = match outcome(&desired, found.as_ref()) {
            Ok(outcome) => outcome,
            Err(violation) => {
                let field = desired.location.in_spec(&violation.field);
                let violation = Violation::new(field, violation.message);
                problems
                    .0
                    .push(desired.location.problem(&desired.id, violation));
                failed.insert(desired.id);
                continue;
            }
        };
        steps.push(Step {
            desired,
            found,
            outcome,
        });
    }
    let mut dry_run = DryRun::new(lookup.client.scope().clone(), known.values());
    let refused = dry_run_all(&mut dry_run, &steps, &known, failed);
    problems.0.extend(refused);
    problems.into_result()?;
    let warnings = warnings::of(&steps, &dry_run);
    Ok(Plan {
        steps,
        known,
        warnings,
    })
}

/// The outcome of applying a document, or the reason why it cannot be applied.
fn outcome(desired: &Desired, found: Option<&ResourceView>) -> Result<Outcome, Violation> {
    let Some(found) = found else {
        return match &desired.content {
            DocumentSpec::Namespace(spec) if spec.is_missing_vpc() => {
                let message = "must be given to make a private namespace; the API never returns it, so no \
                               output has it";
                Err(Violation::new("Vpc", message))
            }
            _ => Ok(Outcome::Created),
        };
    };
    Ok(match command::change(desired, found)?.as_slice() {
        [] => Outcome::Unchanged,
        _ => Outcome::Configured,
    })
}

/// The position of a kind in an order in which references point backwards.
pub(crate) fn rank(kind: Kind) -> usize {
    Kind::ALL
        .iter()
        .position(|known| *known == kind)
        .unwrap_or(0)
}

/// Existing resources: the desired ones, their containers, and the targets of their references in the mesh. Targets
/// in the registry need not exist, and the caller need not be allowed to read them.
async fn known(lookup: &Lookup, desired: &[Desired]) -> Result<Known, Error> {
    let mut ids = BTreeSet::new();
    for desired in desired {
        let mut container = Some(desired.id.clone());
        while let Some(id) = container {
            container = id.container();
            ids.insert(id);
        }
        let targets = desired.references().into_iter().map(|it| it.target);
        ids.extend(targets.filter(|target| matches!(target, Id::Mesh(_))));
    }
    let mut known = Known::new();
    find(lookup, ids, &mut known).await?;
    // A gateway route must be consistent with the provider of its virtual service.
    let is_service = |it: &&ResourceView| matches!(it.spec(), Some(Spec::VirtualService(_)));
    let services = known.values().filter(is_service);
    let providers = services
        .flat_map(ResourceView::references)
        .map(|it| it.target);
    let providers = providers.filter(|id| !known.contains_key(id)).collect();
    find(lookup, providers, &mut known).await?;
    Ok(known)
}

async fn find(lookup: &Lookup, ids: BTreeSet<Id>, known: &mut Known) -> Result<(), Error> {
    let ids: Vec<Id> = ids.into_iter().collect();
    let found = lookup.find_all(&ids).await?.into_iter().flatten();
    known.extend(found.map(|found| (found.id.clone(), found)));
    Ok(())
}

/// Applies all steps in the dry run. Steps that `failed` already, and failures caused only by those, are not reported
/// again.
fn dry_run_all(
    dry_run: &mut DryRun,
    steps: &[Step],
    known: &Known,
    mut failed: BTreeSet<Id>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let made: BTreeSet<&Id> = steps.iter().map(|step| &step.desired.id).collect();
    let is_orphan = |id: &Id| !known.contains_key(id) && !made.contains(id);
    for step in steps {
        let desired = &step.desired;
        let found = match &desired.id.container() {
            Some(container) if failed.contains(container) => Vec::new(),
            Some(container) if is_orphan(container) => vec![no_container(desired, container)],
            _ => match dry_run.step(step) {
                Ok(()) => continue,
                Err(rejection) if is_consequence_of(desired, &rejection, &failed) => Vec::new(),
                Err(rejection) => refused(desired, rejection),
            },
        };
        failed.insert(desired.id.clone());
        problems.extend(found);
    }
    problems
}

/// Whether a step fails only because another one does.
fn is_consequence_of(desired: &Desired, rejection: &Rejection, failed: &BTreeSet<Id>) -> bool {
    let mut references = desired.references().into_iter();
    rejection.reason == Reason::NotFound && references.any(|it| failed.contains(&it.target))
}

fn no_container(desired: &Desired, container: &Id) -> Problem {
    let members = Id::containers(desired.id.kind());
    let member = members.last().copied().unwrap_or_default();
    let field = desired.location.member(member);
    let message = format!("{container} is not there; {CREATE_FIRST}");
    desired
        .location
        .problem(&desired.id, Violation::new(field, message))
}

/// A rejection by a rule of the model, as problems of the fields that it names.
fn refused(desired: &Desired, rejection: Rejection) -> Vec<Problem> {
    let location = &desired.location;
    if rejection.violations.is_empty() {
        let violation = Violation::new(location.name().clone(), rejection.message);
        return vec![location.problem(&desired.id, violation)];
    }
    let advice = match rejection.reason {
        Reason::NotFound => format!("; {CREATE_FIRST}"),
        _ => String::new(),
    };
    let violations = rejection.violations.into_iter();
    violations
        .map(|violation| {
            let field = at(desired, &violation.field.to_string());
            let message = format!("{}{advice}", violation.message);
            location.problem(&desired.id, Violation::new(field, message))
        })
        .collect()
}

/// The path in the document of a field of a command.
fn at(desired: &Desired, field: &str) -> FieldPath {
    let location = &desired.location;
    match (&desired.content, field) {
        (_, "Name" | "InstanceId") => location.name().clone(),
        (_, "Tags" | "tags") => location.member("tags"),
        (DocumentSpec::Mesh(_), field) if field.starts_with("spec") => {
            location.in_spec(&in_spec(field, "").field)
        }
        (DocumentSpec::Mesh(_), _) => location.name().clone(),
        (_, field) => {
            let change = ["Namespace.", "Service."];
            let inner = change.iter().find_map(|prefix| field.strip_prefix(prefix));
            location.in_spec(&FieldPath::from(inner.unwrap_or(field)))
        }
    }
}
