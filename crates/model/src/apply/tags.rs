//! Tags of resources of both APIs.

use crate::{Reason, Rejection, appmesh::Tag};

const MAX_TAGS: usize = 50;

/// The names of members and the bounds of tags in the inputs of an API.
pub(super) struct TagRules {
    /// The member with a list of tags, and the members of a tag.
    tags: &'static str,
    key: &'static str,
    value: &'static str,
    /// The member with a list of keys.
    tag_keys: &'static str,
    /// Maximum length of a list in an input. A resource has at most 50 tags in any case.
    max_list: usize,
    /// Whether keys must not start with `aws:`.
    is_aws_reserved: bool,
}

/// facts/appmesh-api.md §3.
pub(super) const APP_MESH: TagRules = TagRules {
    tags: "tags",
    key: "key",
    value: "value",
    tag_keys: "tagKeys",
    max_list: MAX_TAGS,
    is_aws_reserved: false,
};

/// facts/cloudmap-api.md §12.
pub(super) const CLOUD_MAP: TagRules = TagRules {
    tags: "Tags",
    key: "Key",
    value: "Value",
    tag_keys: "TagKeys",
    max_list: 200,
    is_aws_reserved: true,
};

impl TagRules {
    /// Checks the tags of an input.
    pub(super) fn check(&self, tags: &[Tag]) -> Result<(), Rejection> {
        // Where a resource may have as many tags as a list, too long a list is too many tags.
        if self.max_list > MAX_TAGS {
            self.check_list(self.tags, tags.len())?;
        }
        for (i, tag) in tags.iter().enumerate() {
            let field = format!("{}[{i}].{}", self.tags, self.key);
            check_key(&field, &tag.key)?;
            if self.is_aws_reserved && tag.key.starts_with("aws:") {
                return Err(Rejection::invalid(field, "must not start with aws:"));
            }
            if tag.value.chars().count() > 256 {
                let field = format!("{}[{i}].{}", self.tags, self.value);
                return Err(Rejection::invalid(field, "has up to 256 characters"));
            }
        }
        check_count(tags.len())
    }

    /// Checks the keys of an input.
    pub(super) fn check_keys(&self, keys: &[String]) -> Result<(), Rejection> {
        self.check_list(self.tag_keys, keys.len())?;
        let mut keys = keys.iter().enumerate();
        keys.try_for_each(|(i, key)| check_key(&format!("{}[{i}]", self.tag_keys), key))
    }

    /// Checks the tags of a new resource. Of two with one key the last one is kept, as when they came one after the
    /// other.
    pub(super) fn new_tags(&self, tags: &[Tag]) -> Result<Vec<Tag>, Rejection> {
        self.check(tags)?;
        let mut own = Vec::new();
        merge(&mut own, tags)?;
        Ok(own)
    }

    fn check_list(&self, field: &str, count: usize) -> Result<(), Rejection> {
        let max = self.max_list;
        if count > max {
            let message = format!("has {count} items, allowed are 0 to {max}");
            return Err(Rejection::invalid(field, message));
        }
        Ok(())
    }
}

/// Adds `tags` to those of a resource, or overwrites their values.
pub(super) fn merge(own: &mut Vec<Tag>, tags: &[Tag]) -> Result<(), Rejection> {
    for tag in tags {
        match own.iter_mut().find(|own| own.key == tag.key) {
            Some(own) => own.value.clone_from(&tag.value),
            None => own.push(tag.clone()),
        }
    }
    check_count(own.len())
}

fn check_count(count: usize) -> Result<(), Rejection> {
    if count > MAX_TAGS {
        let message = format!("a resource may have {MAX_TAGS} tags, not {count}");
        return Err(Rejection::new(Reason::TooManyTags, message));
    }
    Ok(())
}

fn check_key(field: &str, key: &str) -> Result<(), Rejection> {
    if !(1..=128).contains(&key.chars().count()) {
        return Err(Rejection::invalid(field, "has 1 to 128 characters"));
    }
    Ok(())
}
