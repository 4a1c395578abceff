//! The attributes of services themselves (facts/cloudmap-api.md §4, §7).

use super::{Decide, DeleteServiceAttributes, UpdateServiceAttributes, bounds::too_long};
use crate::{Reason, Record, Rejection, Reply, cloudmap::Service};
use std::{collections::BTreeMap, sync::Arc};

/// Maximum number of attributes of a service, and in one call.
const MAX_ATTRIBUTES: usize = 30;

impl Decide<'_> {
    pub(super) fn update_service_attributes(
        &mut self,
        command: &UpdateServiceAttributes,
    ) -> Result<Reply, Rejection> {
        let attributes = &command.attributes;
        check_count(attributes.len())?;
        for (key, value) in attributes {
            check_key(key)?;
            too_long(&format!("Attributes.{key}"), Some(value), 1024)?;
        }
        self.change_attributes(&command.service_id, |own| {
            let new = attributes.iter();
            own.extend(new.map(|(key, value)| (key.clone(), value.clone())));
            if own.len() > MAX_ATTRIBUTES {
                let message = format!(
                    "a service may have {MAX_ATTRIBUTES} attributes, not {}; delete others first",
                    own.len()
                );
                return Err(Rejection::new(Reason::ServiceAttributesLimit, message));
            }
            Ok(())
        })
    }

    pub(super) fn delete_service_attributes(
        &mut self,
        command: &DeleteServiceAttributes,
    ) -> Result<Reply, Rejection> {
        let keys = &command.keys;
        check_count(keys.len())?;
        keys.iter().try_for_each(|key| check_key(key))?;
        self.change_attributes(&command.service_id, |own| {
            own.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    fn change_attributes(
        &mut self,
        service_id: &str,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Rejection>,
    ) -> Result<Reply, Rejection> {
        let service = self.service(service_id)?.clone();
        let mut changed = Service::clone(&service);
        change(&mut changed.attributes)?;
        if changed.attributes != service.attributes {
            self.put(Record::Service(Arc::new(changed)));
        }
        Ok(Reply::Done)
    }
}

fn check_count(count: usize) -> Result<(), Rejection> {
    if !(1..=MAX_ATTRIBUTES).contains(&count) {
        let message = format!("names {count} attributes; a call may name 1 to {MAX_ATTRIBUTES}");
        return Err(Rejection::invalid("Attributes", message));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), Rejection> {
    if key.chars().count() > 255 {
        let message = format!("the key {key:?} has more than 255 characters");
        return Err(Rejection::invalid("Attributes", message));
    }
    Ok(())
}
