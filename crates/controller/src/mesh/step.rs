//! The decision for one resource: desired and observed state in, the next call out.

use std::collections::BTreeSet;

use tombolo_model::appmesh::Spec;

use crate::api::{DescribedResource, Version};

/// The known state of a resource in the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// Not described yet, or possibly changed since.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(KnownResource),
}

/// A resource that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownResource {
    /// The ARN.
    pub arn: String,
    /// The version of this state.
    pub version: Version,
    /// The spec that was last written or described; `None`: the resource was only listed.
    pub spec: Option<Spec>,
    /// The owner.
    pub owner: Owner,
}

/// The creator of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The tags were not read.
    Unknown,
    /// This controller, in this run or an earlier one.
    ThisController,
    /// A creator that sets no tag: a person, a pipeline, another controller.
    Untagged,
    /// The controller with this identity.
    Other(String),
}

impl Owner {
    /// Whether it has another owner: then it is never deleted.
    pub fn is_other(&self) -> bool {
        matches!(self, Self::Untagged | Self::Other(_))
    }
}

impl KnownResource {
    /// A resource that was only listed.
    pub(super) fn listed(arn: String, version: Version) -> Self {
        Self {
            arn,
            version,
            spec: None,
            owner: Owner::Unknown,
        }
    }
}

impl From<Option<DescribedResource>> for Observed {
    fn from(found: Option<DescribedResource>) -> Self {
        match found {
            None => Self::Absent,
            Some(found) => Self::Present(KnownResource {
                spec: Some(found.spec),
                ..KnownResource::listed(found.arn, found.version)
            }),
        }
    }
}

impl Observed {
    /// The state after a creation or an update to `spec`.
    pub(super) fn applied(found: DescribedResource, spec: &Spec, owner: Owner) -> Self {
        Self::Present(KnownResource {
            arn: found.arn,
            version: found.version,
            spec: Some(spec.clone()),
            owner,
        })
    }

    /// After the tags were read: `found` is the owner that they name, `ours` are the names of this controller.
    pub(super) fn owned_by(&self, found: Option<String>, ours: &BTreeSet<String>) -> Self {
        let owner = match found {
            None => Owner::Untagged,
            Some(found) if ours.contains(&found) => Owner::ThisController,
            Some(found) => Owner::Other(found),
        };
        match self {
            Self::Present(known) => Self::Present(KnownResource {
                owner,
                ..known.clone()
            }),
            other => other.clone(),
        }
    }
}

/// What an object that is being deleted has to say about its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There is no such object.
    None,
    /// The resource is the object's, unless another controller created it.
    Own,
    /// The resource belongs to all who have such an object, whoever created it: a mesh, which the API keeps as long as
    /// anybody has something in it.
    Shared,
}

/// The next call for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// None: it is as desired, or owned by another controller.
    Done,
    /// Describe it.
    Describe,
    /// Read the tags of the resource with this ARN.
    ReadOwner {
        /// The ARN.
        arn: String,
    },
    /// Create it.
    Create,
    /// Replace its spec; it stays with its owner.
    Update {
        /// The owner.
        owner: Owner,
    },
    /// Delete it.
    Delete,
    /// None: another controller owns it, with another spec.
    Conflict {
        /// The other controller.
        owner: String,
    },
}

/// Decides the next call. A resource that is not desired is deleted only if this controller created it, or if nobody is
/// known to have created it and an object claims it; one that is desired is brought to the desired spec, unless another
/// controller created it.
pub fn step(desired: Option<&Spec>, observed: &Observed, claim: Claim) -> Step {
    match (desired, observed) {
        (None, Observed::Absent) => Step::Done,
        (_, Observed::Unknown) => Step::Describe,
        (Some(_), Observed::Absent) => Step::Create,
        (Some(_), Observed::Present(KnownResource { spec: None, .. })) => Step::Describe,
        (Some(spec), Observed::Present(known)) if known.spec.as_ref() == Some(spec) => Step::Done,
        (_, Observed::Present(known)) => match (&known.owner, desired) {
            (Owner::Unknown, _) => Step::ReadOwner {
                arn: known.arn.clone(),
            },
            (Owner::ThisController, None) => Step::Delete,
            (Owner::Untagged, None) if claim != Claim::None => Step::Delete,
            (Owner::Other(_), None) if claim == Claim::Shared => Step::Delete,
            (Owner::Untagged | Owner::Other(_), None) => Step::Done,
            (Owner::ThisController | Owner::Untagged, Some(_)) => Step::Update {
                owner: known.owner.clone(),
            },
            (Owner::Other(owner), Some(_)) => Step::Conflict {
                owner: owner.clone(),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_model::Timestamp;

    fn spec(filter: &str) -> Spec {
        Spec::Mesh(serde_json::from_value(json!({"egressFilter": {"type": filter}})).unwrap())
    }

    fn present(spec: Option<&Spec>, owner: Owner) -> Observed {
        let version = Version {
            number: 1,
            updated: Timestamp::default(),
        };
        Observed::Present(KnownResource {
            spec: spec.cloned(),
            owner,
            ..KnownResource::listed("arn:x".to_owned(), version)
        })
    }

    #[test]
    fn each_combination_has_its_call() {
        let (a, b) = (spec("ALLOW_ALL"), spec("DROP_ALL"));
        let (a, b) = (Some(&a), Some(&b));
        let west = || "west".to_owned();
        let other = || Owner::Other(west());
        let read = || Step::ReadOwner {
            arn: "arn:x".to_owned(),
        };
        let update = |owner| Step::Update { owner };
        let conflict = Step::Conflict { owner: west() };
        let cases = [
            (None, Observed::Unknown, Step::Describe),
            (a, Observed::Unknown, Step::Describe),
            (None, Observed::Absent, Step::Done),
            (a, Observed::Absent, Step::Create),
            (a, present(a, Owner::Unknown), Step::Done),
            (a, present(a, other()), Step::Done),
            (a, present(None, Owner::Unknown), Step::Describe),
            (a, present(b, Owner::Unknown), read()),
            (
                a,
                present(b, Owner::ThisController),
                update(Owner::ThisController),
            ),
            (a, present(b, Owner::Untagged), update(Owner::Untagged)),
            (a, present(b, other()), conflict),
            (None, present(None, Owner::Unknown), read()),
            (None, present(None, Owner::ThisController), Step::Delete),
            (None, present(a, Owner::Untagged), Step::Done),
            (None, present(a, other()), Step::Done),
        ];
        for (desired, observed, expected) in cases {
            let next = step(desired, &observed, Claim::None);
            assert_eq!(next, expected, "{desired:?} {observed:?}");
        }
        let claimed = step(None, &present(a, Owner::Untagged), Claim::Own);
        assert_eq!(claimed, Step::Delete);
        assert_eq!(step(None, &present(a, other()), Claim::Own), Step::Done);
        let shared = step(None, &present(a, other()), Claim::Shared);
        assert_eq!(shared, Step::Delete);
    }
}
