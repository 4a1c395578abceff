//! The tags of namespaces and services (facts/cloudmap-api.md §12).

use super::{AddTags, Decide, RemoveTags, Tagged};
use crate::{
    Reason, Record, Rejection, Reply,
    apply::tags::{CLOUD_MAP, merge},
    appmesh::Tag,
};
use std::sync::Arc;

impl Decide<'_> {
    pub(super) fn add_tags(&mut self, command: &AddTags) -> Result<Reply, Rejection> {
        CLOUD_MAP.check(&command.tags)?;
        self.change_tags(&command.resource, |own| merge(own, &command.tags))
    }

    pub(super) fn remove_tags(&mut self, command: &RemoveTags) -> Result<Reply, Rejection> {
        CLOUD_MAP.check_keys(&command.tag_keys)?;
        self.change_tags(&command.resource, |own| {
            own.retain(|tag| !command.tag_keys.contains(&tag.key));
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

fn not_found(id: &str) -> Rejection {
    Rejection::new(
        Reason::ResourceNotFound,
        format!("no namespace or service has the id {id}"),
    )
}
