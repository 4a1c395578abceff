//! The kinds of resources, with their names on the command line.

use crate::error::{Error, Result};
use tombolo_model::appmesh;

/// A kind of resource of the mesh or of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Namespace,
    Service,
    Instance,
    Mesh(appmesh::Kind),
}

impl Kind {
    /// All kinds, in an order in which references point backwards.
    pub(crate) const ALL: [Self; 10] = [
        Self::Namespace,
        Self::Service,
        Self::Instance,
        Self::Mesh(appmesh::Kind::Mesh),
        Self::Mesh(appmesh::Kind::VirtualNode),
        Self::Mesh(appmesh::Kind::VirtualRouter),
        Self::Mesh(appmesh::Kind::Route),
        Self::Mesh(appmesh::Kind::VirtualService),
        Self::Mesh(appmesh::Kind::VirtualGateway),
        Self::Mesh(appmesh::Kind::GatewayRoute),
    ];

    /// The `kind` of documents: `VirtualNode`.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::Instance => "Instance",
            Self::Mesh(kind) => kind.as_str(),
        }
    }

    /// The name on the command line: `virtualnode`.
    pub(crate) fn as_str(self) -> &'static str {
        self.names()[0]
    }

    /// The `apiVersion` of its documents: the id and the version of the AWS API whose shapes they have.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Mesh(_) => "appmesh/2019-01-25",
            Self::Namespace | Self::Service | Self::Instance => "servicediscovery/2017-03-14",
        }
    }

    /// Singular, plural, and abbreviations.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Namespace => &["namespace", "namespaces", "ns"],
            Self::Service => &["service", "services", "svc"],
            Self::Instance => &["instance", "instances", "inst"],
            Self::Mesh(kind) => match kind {
                appmesh::Kind::Mesh => &["mesh", "meshes"],
                appmesh::Kind::VirtualNode => &["virtualnode", "virtualnodes", "vn"],
                appmesh::Kind::VirtualRouter => &["virtualrouter", "virtualrouters", "vr"],
                appmesh::Kind::Route => &["route", "routes"],
                appmesh::Kind::VirtualService => &["virtualservice", "virtualservices", "vs"],
                appmesh::Kind::VirtualGateway => &["virtualgateway", "virtualgateways", "vg"],
                appmesh::Kind::GatewayRoute => &["gatewayroute", "gatewayroutes", "gr"],
            },
        }
    }

    /// The kind of a document.
    pub(crate) fn from_title(title: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.title() == title)
            .ok_or_else(|| {
                let titles = Self::ALL.map(Self::title);
                let hint = match nearest(title, &titles) {
                    Some(near) => format!("write {near}"),
                    None => format!("known are {}", titles.join(", ")),
                };
                Error::usage(format!("{title} is not known; {hint}"))
            })
    }

    /// The kind of a command-line word: singular, plural or abbreviation, in any case, optionally qualified by its
    /// API (`services.servicediscovery`, `vn.appmesh`).
    pub(crate) fn parse(word: &str) -> Result<Self> {
        let lower = word.to_ascii_lowercase();
        let (bare, api) = match lower.split_once('.') {
            Some((bare, api)) => (bare, Some(api)),
            None => (lower.as_str(), None),
        };
        let known = Self::ALL.into_iter().find(|kind| {
            let of_api = api.is_none_or(|api| kind.api_version().split('/').next() == Some(api));
            of_api && kind.names().contains(&bare)
        });
        known.ok_or_else(|| {
            let words: Vec<&str> = Self::ALL
                .iter()
                .flat_map(|kind| kind.names())
                .copied()
                .collect();
            let hint = match nearest(bare, &words) {
                Some(near) => format!("did you mean {near}?"),
                None => format!(
                    "a control plane knows {}; pods and the like are of clusters that are up",
                    Self::ALL.map(Self::as_str).join(", ")
                ),
            };
            Error::usage(format!("there is no kind {word:?}: {hint}"))
        })
    }

    /// The kinds of `vn`, `routes,virtualnodes` or `all`.
    pub(crate) fn parse_list(words: &str) -> Result<Vec<Self>> {
        if words == "all" {
            return Ok(Self::ALL.to_vec());
        }
        words.split(',').map(Self::parse).collect()
    }
}

/// The closest known word: at most two edits, and at most half of its letters. Words of more than 64 bytes are not
/// compared: they are not misspelt kinds.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .iter()
        .map(|known| (strsim::levenshtein(&lower, &known.to_lowercase()), *known))
        .filter(|(distance, known)| *distance <= 2 && distance * 2 <= known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_every_word_that_kubectl_users_type() {
        for kind in Kind::ALL {
            for word in kind.names() {
                assert_eq!(Kind::parse(word).ok(), Some(kind), "{word}");
                assert_eq!(Kind::parse(&word.to_uppercase()).ok(), Some(kind), "{word}");
            }
            assert_eq!(Kind::from_title(kind.title()).ok(), Some(kind));
        }
        let parse = |word| Kind::parse(word).ok();
        assert_eq!(parse("services.servicediscovery"), Some(Kind::Service));
        assert_eq!(parse("vn.appmesh"), parse("vn"));
        assert!(Kind::parse("vn.servicediscovery").is_err());
        let parse_list = |words| Kind::parse_list(words).ok();
        assert_eq!(parse_list("all").map(|kinds| kinds.len()), Some(10));
        let both = vec![Kind::Namespace, Kind::Service];
        assert_eq!(parse_list("ns,svc"), Some(both));
    }

    #[test]
    fn a_misspelt_kind_brings_the_right_one() {
        for (wrong, right) in [
            ("virtualnod", "virtualnode"),
            ("virtaulnodes", "virtualnodes"),
            ("mehs", "mesh"),
            ("instnaces", "instances"),
            ("gatewayruote", "gatewayroute"),
        ] {
            let message = Kind::parse(wrong).expect_err("misspelt").to_string();
            assert!(message.contains(&format!("mean {right}?")), "{message}");
        }
        let message = Kind::parse("deployments")
            .expect_err("of Kubernetes")
            .to_string();
        assert!(message.contains("knows namespace"), "{message}");
        let message = Kind::from_title("virtualNode")
            .expect_err("misspelt")
            .to_string();
        assert!(message.contains("write VirtualNode"), "{message}");
    }
}
