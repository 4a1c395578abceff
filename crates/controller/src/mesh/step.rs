//! The decision about one resource: what is desired and what was observed in, the next call out.

use tombolo_model::appmesh::Spec;

use crate::api::{Found, Version};

/// What the API holds, as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// It was not described yet, or may have changed since.
    Unknown,
    /// It does not exist.
    Absent,
    /// It exists.
    Present(Known),
}

/// A resource that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The ARN.
    pub arn: String,
    /// The version that this is about.
    pub version: Version,
    /// The spec that was written or found last; `None`: it was only listed.
    pub spec: Option<Spec>,
    /// Who created it.
    pub owner: Owner,
}

/// Who created a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The tags were not read.
    Unknown,
    /// This controller, in this run or an earlier one.
    Us,
    /// Somebody who leaves no tag: a person, a pipeline, another controller.
    Untagged,
    /// The controller of this identity.
    Other(String),
}

impl Owner {
    /// Whether another owner is known: then it is never deleted.
    pub fn is_other(&self) -> bool {
        matches!(self, Self::Untagged | Self::Other(_))
    }
}

impl Known {
    /// A resource of which only this is known.
    pub(super) fn listed(arn: String, version: Version) -> Self {
        Self {
            arn,
            version,
            spec: None,
            owner: Owner::Unknown,
        }
    }
}

impl From<Option<Found>> for Observed {
    fn from(found: Option<Found>) -> Self {
        match found {
            None => Self::Absent,
            Some(found) => Self::Present(Known {
                spec: Some(found.spec),
                ..Known::listed(found.arn, found.version)
            }),
        }
    }
}

impl Observed {
    /// After a creation or an update to `spec`.
    pub(super) fn applied(found: Found, spec: &Spec, owner: Owner) -> Self {
        Self::Present(Known {
            arn: found.arn,
            version: found.version,
            spec: Some(spec.clone()),
            owner,
        })
    }

    /// After the tags were read: `found` is the owner that they name, `us` this controller.
    pub(super) fn owned_by(&self, found: Option<String>, us: &str) -> Self {
        let owner = match found {
            None => Owner::Untagged,
            Some(found) if found == us => Owner::Us,
            Some(found) => Owner::Other(found),
        };
        match self {
            Self::Present(known) => Self::Present(Known {
                owner,
                ..known.clone()
            }),
            other => other.clone(),
        }
    }
}

/// The next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// None: it is as desired, or not ours to change.
    Done,
    /// Look at it.
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
        /// Who created it.
        owner: Owner,
    },
    /// Delete it.
    Delete,
    /// None: another controller created it with another spec.
    Conflict {
        /// The other controller.
        owner: String,
    },
}

/// Decides the next call. A resource that is not desired is deleted only if this controller created it; one that is
/// desired is brought to the desired spec, unless another controller created it.
pub fn step(desired: Option<&Spec>, observed: &Observed) -> Step {
    match (desired, observed) {
        (None, Observed::Absent) => Step::Done,
        (_, Observed::Unknown) => Step::Describe,
        (Some(_), Observed::Absent) => Step::Create,
        (Some(_), Observed::Present(Known { spec: None, .. })) => Step::Describe,
        (Some(spec), Observed::Present(known)) if known.spec.as_ref() == Some(spec) => Step::Done,
        (_, Observed::Present(known)) => match (&known.owner, desired) {
            (Owner::Unknown, _) => Step::ReadOwner {
                arn: known.arn.clone(),
            },
            (Owner::Us, None) => Step::Delete,
            (Owner::Untagged | Owner::Other(_), None) => Step::Done,
            (Owner::Us | Owner::Untagged, Some(_)) => Step::Update {
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
        Observed::Present(Known {
            spec: spec.cloned(),
            owner,
            ..Known::listed("arn:x".to_owned(), version)
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
            (a, present(b, Owner::Us), update(Owner::Us)),
            (a, present(b, Owner::Untagged), update(Owner::Untagged)),
            (a, present(b, other()), conflict),
            (None, present(None, Owner::Unknown), read()),
            (None, present(None, Owner::Us), Step::Delete),
            (None, present(a, Owner::Untagged), Step::Done),
            (None, present(a, other()), Step::Done),
        ];
        for (desired, observed, expected) in cases {
            let next = step(desired, &observed);
            assert_eq!(next, expected, "{desired:?} {observed:?}");
        }
    }
}
