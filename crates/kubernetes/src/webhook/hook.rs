//! The webhooks, by the paths and names that AWS's controller gives them.

use tombolo_kube::crd::Kind;

/// A webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Gives pods their sidecar.
    MutatePod,
    /// Gives objects of a kind their defaults and their membership.
    Mutate(Kind),
    /// Judges objects of a kind.
    Validate(Kind),
}

const POD: &str = "/mutate-v1-pod";
const MUTATE: &str = "/mutate-appmesh-k8s-aws-v1beta2-";
const VALIDATE: &str = "/validate-appmesh-k8s-aws-v1beta2-";

impl Hook {
    /// The webhook that is served at a path.
    pub(super) fn from_path(path: &str) -> Option<Self> {
        let kind = |name: &str| {
            let mut kinds = Kind::ALL.into_iter();
            kinds.find(|kind| kind.name().to_lowercase() == name)
        };
        if path == POD {
            return Some(Self::MutatePod);
        }
        if let Some(name) = path.strip_prefix(MUTATE) {
            return kind(name).map(Self::Mutate);
        }
        kind(path.strip_prefix(VALIDATE)?).map(Self::Validate)
    }

    /// What it does, as a label of metrics.
    pub(super) const fn action(self) -> &'static str {
        match self {
            Self::MutatePod | Self::Mutate(_) => "mutate",
            Self::Validate(_) => "validate",
        }
    }

    /// The kind of the objects, as a label of metrics.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::MutatePod => "Pod",
            Self::Mutate(kind) | Self::Validate(kind) => kind.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_original() {
        for (path, hook) in [
            ("/mutate-v1-pod", Some(Hook::MutatePod)),
            (
                "/mutate-appmesh-k8s-aws-v1beta2-virtualnode",
                Some(Hook::Mutate(Kind::VirtualNode)),
            ),
            (
                "/validate-appmesh-k8s-aws-v1beta2-backendgroup",
                Some(Hook::Validate(Kind::BackendGroup)),
            ),
            ("/validate-appmesh-k8s-aws-v1beta2-VirtualNode", None),
            ("/validate-v1-pod", None),
            ("/", None),
        ] {
            assert_eq!(Hook::from_path(path), hook, "{path}");
        }
    }
}
