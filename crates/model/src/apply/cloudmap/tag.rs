//! The tags of namespaces and services (facts/cloudmap-api.md §12).

use super::{Decide, Reply, Tagged};
use crate::{Reason, Record, Rejection, appmesh::Tag};
use std::sync::Arc;

const MAX_TAGS: usize = 50;
/// A list may be this long before it stops being a list of tags.
const MAX_LIST: usize = 200;

impl Decide<'_> {
    pub(super) fn tag(&mut self, resource: &Tagged, tags: &[Tag]) -> Result<Reply, Rejection> {
        check(tags)?;
        self.change_tags(resource, |own| merge(own, tags))
    }

    pub(super) fn untag(
        &mut self,
        resource: &Tagged,
        tag_keys: &[String],
    ) -> Result<Reply, Rejection> {
        if tag_keys.len() > MAX_LIST {
            return Err(too_many("TagKeys"));
        }
        for (i, key) in tag_keys.iter().enumerate() {
            check_key(&format!("TagKeys[{i}]"), key)?;
        }
        self.change_tags(resource, |own| {
            own.retain(|tag| !tag_keys.contains(&tag.key));
            Ok(())
        })
    }

    fn change_tags(
        &mut self,
        resource: &Tagged,
        change: impl FnOnce(&mut Vec<Tag>) -> Result<(), Rejection>,
    ) -> Result<Reply, Rejection> {
        let record = match resource {
            Tagged::Namespace(id) => {
                let namespace = self.scope.namespace(id).ok_or_else(|| not_found(id))?;
                let mut tagged = (**namespace).clone();
                change(&mut tagged.tags)?;
                (tagged.tags != namespace.tags).then(|| Record::Namespace(Arc::new(tagged)))
            }
            Tagged::Service(id) => {
                let service = self.scope.service(id).ok_or_else(|| not_found(id))?;
                let mut tagged = (**service).clone();
                change(&mut tagged.tags)?;
                (tagged.tags != service.tags).then(|| Record::Service(Arc::new(tagged)))
            }
        };
        if let Some(record) = record {
            self.put(record);
        }
        Ok(Reply::Done)
    }
}

/// The tags of something new. Of two with one key the last one stays, as when they came one after the
/// other.
pub(super) fn of_new(tags: &[Tag]) -> Result<Vec<Tag>, Rejection> {
    check(tags)?;
    let mut own = Vec::new();
    merge(&mut own, tags)?;
    Ok(own)
}

fn merge(own: &mut Vec<Tag>, tags: &[Tag]) -> Result<(), Rejection> {
    for tag in tags {
        match own.iter_mut().find(|own| own.key == tag.key) {
            Some(own) => own.value.clone_from(&tag.value),
            None => own.push(tag.clone()),
        }
    }
    check_count(own.len())
}

fn check(tags: &[Tag]) -> Result<(), Rejection> {
    if tags.len() > MAX_LIST {
        return Err(too_many("Tags"));
    }
    for (i, tag) in tags.iter().enumerate() {
        let field = format!("Tags[{i}].Key");
        check_key(&field, &tag.key)?;
        if tag.key.starts_with("aws:") {
            return Err(Rejection::invalid(field, "must not start with aws:"));
        }
        if tag.value.chars().count() > 256 {
            let field = format!("Tags[{i}].Value");
            return Err(Rejection::invalid(field, "has up to 256 characters"));
        }
    }
    check_count(tags.len())
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

fn too_many(field: &str) -> Rejection {
    Rejection::invalid(field, format!("has more than {MAX_LIST} items"))
}

fn not_found(id: &str) -> Rejection {
    Rejection::new(
        Reason::ResourceNotFound,
        format!("no namespace or service has the id {id}"),
    )
}
