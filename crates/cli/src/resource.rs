//! Resources of the mesh and of the registry, as a control plane's APIs have them.

mod cells;
pub(crate) mod command;
pub(crate) mod document_spec;
pub(crate) mod id;
pub(crate) mod kind;
pub(crate) mod lookup;
pub(crate) mod references;
pub(crate) mod selection;
pub(crate) mod view;

pub(crate) use cells::{cells, columns, since};

use crate::{
    backend::Object,
    error::{Error, Result},
};
use std::collections::BTreeMap;
use view::ResourceView;

/// Whether a word of the command line can only mean resources of a control plane: they have routes, ARNs, and
/// kinds with the name of their API behind them.
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
    let document = found.document();
    let tags = found.tags.iter();
    let tags: Vec<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
    Object {
        kind: kind.as_str().to_owned(),
        qualified_name: found.id.to_string(),
        short_name: format!("{}/{}", kind.as_str(), found.id.name()),
        namespace: None,
        cluster: String::new(),
        labels: tags.join(","),
        columns: columns(kind),
        cells: cells(found),
        uid: found.id.to_string(),
        version: document.to_string(),
        document,
    }
}

/// Conditions on tags: `team=blue,version!=v1`.
pub(crate) struct TagSelector(Vec<TagCondition>);

struct TagCondition {
    key: String,
    value: String,
    is_equal: bool,
}

impl TagSelector {
    /// # Errors
    /// A part is neither KEY=VALUE nor KEY!=VALUE.
    pub(crate) fn read(selector: &str) -> Result<Self> {
        let read = |text: &str| {
            let (key, value, is_equal) = match (text.split_once("!="), text.split_once('=')) {
                (Some((key, value)), _) => (key, value, false),
                (None, Some((key, value))) => (key, value.trim_start_matches('='), true),
                (None, None) => {
                    return Err(Error::usage(format!(
                        "{text:?} is not KEY=VALUE or KEY!=VALUE of a tag"
                    )));
                }
            };
            Ok(TagCondition {
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                is_equal,
            })
        };
        selector
            .split(',')
            .map(read)
            .collect::<Result<_>>()
            .map(Self)
    }

    pub(crate) fn matches(&self, tags: &BTreeMap<String, String>) -> bool {
        let mut conditions = self.0.iter();
        conditions.all(|it| (tags.get(&it.key) == Some(&it.value)) == it.is_equal)
    }
}
