//! Resources of the mesh and of the registry in a control plane.

pub(crate) mod command;
pub(crate) mod document_spec;
pub(crate) mod filter;
pub(crate) mod id;
pub(crate) mod kind;
pub(crate) mod lookup;
pub(crate) mod references;
pub(crate) mod selection;
pub(crate) mod view;

use crate::{backend::Object, columns};
use view::ResourceView;

/// Whether a command-line argument can only mean resources of a control plane: routes, ARNs, and kinds qualified by
/// the name of their API.
pub(crate) fn is_control_plane_only(word: &str) -> bool {
    let kinds = word.split('/').next().unwrap_or_default();
    word.starts_with("arn:")
        || kinds.split(',').any(|kind| {
            let api = kind.split_once('.').map(|(_, api)| api);
            matches!(kind, "route" | "routes")
                || matches!(api, Some("appmesh" | "servicediscovery"))
        })
}

/// A resource as commands print it.
pub(crate) fn object(found: &ResourceView) -> Object {
    let kind = found.id.kind();
    Object {
        kind: kind.as_str().to_owned(),
        qualified_name: found.id.to_string(),
        short_name: format!("{}/{}", kind.as_str(), found.id.name()),
        namespace: None,
        cluster: String::new(),
        columns: columns::aws::of(kind),
        document: found.document(),
    }
}
