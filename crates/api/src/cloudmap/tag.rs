//! Tags as Cloud Map spells them (facts/cloudmap-api.md §4, §12).

use super::invalid;
use crate::wire::Failure;
use serde::Deserialize;
use tombolo_model::mesh::Tag;

/// A tag of an input.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagInput {
    key: String,
    /// May be empty, but must be there.
    value: String,
}

const MAX_TAGS: usize = 50;
/// A list may be this long before it stops being a list of tags.
const MAX_LIST: usize = 200;

/// The tags of a creation. None when the member is absent.
pub(super) fn read(tags: Option<Vec<TagInput>>) -> Result<Vec<Tag>, Failure> {
    let tags = tags.unwrap_or_default();
    if tags.len() > MAX_LIST {
        return Err(invalid(format!("Tags: has more than {MAX_LIST} items")));
    }
    if tags.len() > MAX_TAGS {
        return Err(Failure::bad(
            "TooManyTagsException",
            format!("a resource may have {MAX_TAGS} tags, not {}", tags.len()),
        ));
    }
    for (i, tag) in tags.iter().enumerate() {
        if !(1..=128).contains(&tag.key.chars().count()) {
            return Err(invalid(format!("Tags[{i}].Key: has 1 to 128 characters")));
        }
        if tag.key.starts_with("aws:") {
            return Err(invalid(format!("Tags[{i}].Key: must not start with aws:")));
        }
        if tag.value.chars().count() > 256 {
            return Err(invalid(format!(
                "Tags[{i}].Value: has up to 256 characters"
            )));
        }
    }
    let read = |TagInput { key, value }| Tag { key, value };
    Ok(tags.into_iter().map(read).collect())
}
