//! The rules of App Mesh resources that all kinds share. Those between resources are in the modules.

mod ports;
mod references;

use super::{
    Applied, Context, Reply,
    tags::{APP_MESH, merge},
};
use crate::{
    Change, Limit, Limits, Reason, Record, RecordKey, Rejection, Scope, ScopeView, Timestamp, View,
    appmesh::{Kind, Metadata, Resource, ResourceKey, Spec, Tag},
    arn,
    entropy::Entropy,
};
use std::sync::Arc;

/// A command about a mesh resource.
#[derive(Clone, Debug)]
pub enum Command {
    /// Creates a resource.
    Create {
        /// Mesh, kind, parent and name.
        key: ResourceKey,
        /// The desired spec, of the key's kind.
        spec: Spec,
        /// At most 50.
        tags: Vec<Tag>,
        /// Identifies a retry of the call.
        client_token: Option<String>,
    },
    /// Replaces a resource's spec.
    Update {
        /// Mesh, kind, parent and name.
        key: ResourceKey,
        /// The desired spec, of the key's kind; replaces the old one.
        spec: Spec,
        /// Identifies a retry of the call.
        client_token: Option<String>,
    },
    /// Removes a resource.
    Delete {
        /// Mesh, kind, parent and name.
        key: ResourceKey,
    },
    /// Adds tags or overwrites their values.
    Tag {
        /// Mesh, kind, parent and name.
        key: ResourceKey,
        /// At most 50 together with those that the resource has.
        tags: Vec<Tag>,
    },
    /// Removes tags; those that it does not have are ignored.
    Untag {
        /// Mesh, kind, parent and name.
        key: ResourceKey,
        /// At most 50.
        tag_keys: Vec<String>,
    },
}

pub(super) fn apply(
    view: &View,
    context: &Context,
    command: &Command,
) -> Result<Applied, Rejection> {
    let scope = view.scope_or_empty(&context.scope);
    let decide = Decide { scope, context };
    match command {
        Command::Create {
            key,
            spec,
            tags,
            client_token,
        } => decide.create(key, spec, tags, client_token.as_deref()),
        Command::Update {
            key,
            spec,
            client_token,
        } => decide.update(key, spec, client_token.as_deref()),
        Command::Delete { key } => decide.delete(key),
        Command::Tag { key, tags } => decide.tag(key, tags),
        Command::Untag { key, tag_keys } => decide.untag(key, tag_keys),
    }
}

/// Checks that a resource of an imported state keeps every rule.
///
/// # Errors
/// The rule that it breaks.
pub fn check_stored(held: &ScopeView, scope: &Scope, resource: &Resource) -> Result<(), Rejection> {
    let Resource { key, spec, .. } = resource;
    let is_consistent = match key.kind {
        Kind::Mesh => key.mesh == key.name && key.parent.is_empty(),
        kind => kind.parent().is_none() == key.parent.is_empty(),
    };
    if !is_consistent || key.kind != spec.kind() {
        let message = "kind, mesh, parent, name and spec are inconsistent";
        return Err(Rejection::invalid("key", message));
    }
    let context = Context {
        scope: scope.clone(),
        now: Timestamp::default(),
        seed: 0,
        limits: Limits::default(),
    };
    let decide = Decide {
        scope: held,
        context: &context,
    };
    check_name(key)?;
    decide.check_parents(key)?;
    check_spec(key, spec)?;
    APP_MESH.check(&resource.tags)?;
    references::check(held, key, spec)
}

struct Decide<'a> {
    scope: &'a ScopeView,
    context: &'a Context,
}

impl Decide<'_> {
    fn create(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        tags: &[Tag],
        client_token: Option<&str>,
    ) -> Result<Applied, Rejection> {
        check_name(key)?;
        self.check_parents(key)?;
        check_spec(key, spec)?;
        let tags = APP_MESH.new_tags(tags)?;
        if let Some(existing) = self.scope.resource(key) {
            if client_token.is_some()
                && existing.created_by.as_deref() == client_token
                && existing.spec == *spec
            {
                return Ok(Applied::unchanged(Reply::Resource(existing.clone())));
            }
            return Err(Rejection::new(
                Reason::Conflict,
                format!(
                    "{} with name {} already exists{}",
                    key.kind,
                    key.name,
                    self.under(key)
                ),
            ));
        }
        references::check_written(self.scope, key, spec)?;
        self.check_limit(key)?;
        let mut entropy = Entropy::new(self.context.seed);
        let account = &self.context.scope.account;
        let resource = Resource {
            key: key.clone(),
            metadata: Metadata {
                arn: arn::of_resource(&self.context.scope, key),
                uid: entropy.uuid(),
                version: 1,
                created_at: self.context.now,
                last_updated_at: self.context.now,
                mesh_owner: account.clone(),
                resource_owner: account.clone(),
            },
            spec: spec.clone(),
            tags,
            created_by: client_token.map(str::to_owned),
            updated_by: None,
        };
        Ok(self.put(resource))
    }

    fn check_limit(&self, key: &ResourceKey) -> Result<(), Rejection> {
        let parent = key.kind.parent().map(|_| &*key.parent);
        let present = match key.kind {
            Kind::Mesh => self.scope.meshes().count(),
            kind => self.scope.members(&key.mesh, kind, parent).count(),
        };
        let limits = &self.context.limits;
        limits.check(Limit::of_kind(key.kind), present)
    }

    fn update(
        &self,
        key: &ResourceKey,
        spec: &Spec,
        client_token: Option<&str>,
    ) -> Result<Applied, Rejection> {
        let existing = self.existing(key)?;
        check_spec(key, spec)?;
        if client_token.is_some() && existing.updated_by.as_deref() == client_token {
            if existing.spec == *spec {
                return Ok(Applied::unchanged(Reply::Resource(existing.clone())));
            }
            return Err(Rejection::new(
                Reason::Conflict,
                "the client token was already used for an update with another spec",
            ));
        }
        references::check_written(self.scope, key, spec)?;
        let mut resource = Resource::clone(existing);
        resource.metadata.version += 1;
        resource.metadata.last_updated_at = self.context.now;
        resource.spec = spec.clone();
        resource.updated_by = client_token.map(str::to_owned);
        Ok(self.put(resource))
    }

    fn delete(&self, key: &ResourceKey) -> Result<Applied, Rejection> {
        let existing = self.existing(key)?;
        references::check_unused(self.scope, key)?;
        let mut last = Resource::clone(existing);
        last.metadata.last_updated_at = self.context.now;
        if key.kind != Kind::Mesh {
            last.metadata.version += 1;
        }
        let scope = self.context.scope.clone();
        Ok(Applied {
            changes: vec![Change::Delete(scope, RecordKey::Resource(key.clone()))],
            reply: Reply::Resource(Arc::new(last)),
        })
    }

    fn tag(&self, key: &ResourceKey, tags: &[Tag]) -> Result<Applied, Rejection> {
        let mut resource = Resource::clone(self.existing(key)?);
        APP_MESH.check(tags)?;
        merge(&mut resource.tags, tags)?;
        Ok(Applied {
            reply: Reply::Done,
            ..self.put(resource)
        })
    }

    fn untag(&self, key: &ResourceKey, tag_keys: &[String]) -> Result<Applied, Rejection> {
        APP_MESH.check_keys(tag_keys)?;
        let mut resource = Resource::clone(self.existing(key)?);
        resource.tags.retain(|tag| !tag_keys.contains(&tag.key));
        Ok(Applied {
            reply: Reply::Done,
            ..self.put(resource)
        })
    }

    fn put(&self, resource: Resource) -> Applied {
        let resource = Arc::new(resource);
        let record = Record::Resource(resource.clone());
        Applied {
            changes: vec![Change::Put(self.context.scope.clone(), record)],
            reply: Reply::Resource(resource),
        }
    }

    fn existing(&self, key: &ResourceKey) -> Result<&Arc<Resource>, Rejection> {
        self.check_parents(key)?;
        self.scope.resource(key).ok_or_else(|| {
            Rejection::new(
                Reason::NotFound,
                format!(
                    "{} with name {} is not present{}",
                    key.kind,
                    key.name,
                    self.under(key)
                ),
            )
        })
    }

    fn check_parents(&self, key: &ResourceKey) -> Result<(), Rejection> {
        if key.kind == Kind::Mesh {
            return Ok(());
        }
        self.existing(&ResourceKey::mesh(key.mesh.clone()))?;
        if let Some(kind) = key.kind.parent() {
            self.existing(&ResourceKey::new(
                key.mesh.clone(),
                kind,
                key.parent.clone(),
            ))?;
        }
        Ok(())
    }

    /// The place of a resource in messages: ` under mesh m for account a`.
    fn under(&self, key: &ResourceKey) -> String {
        let account = &self.context.scope.account;
        match key.kind {
            Kind::Mesh => format!(" for account {account}"),
            _ => format!(" under mesh {} for account {account}", key.mesh),
        }
    }
}

fn check_spec(key: &ResourceKey, spec: &Spec) -> Result<(), Rejection> {
    assert_eq!(
        key.kind,
        spec.kind(),
        "the API pairs each key with the spec of its kind"
    );
    spec.check().map_err(Rejection::from)
}

/// Names are 1 to 255 letters, digits, dashes and underscores; virtual services are host names, so
/// anything printable but a slash is allowed there (facts/appmesh-api.md §3).
fn check_name(key: &ResourceKey) -> Result<(), Rejection> {
    let name = &key.name;
    let mut field = key.kind.path_segment().to_owned() + "Name";
    if key.kind == Kind::Mesh {
        field = "meshName".into();
    }
    if !(1..=255).contains(&name.chars().count()) {
        return Err(Rejection::invalid(field, "must have 1 to 255 characters"));
    }
    let legal = |c: char| match key.kind {
        Kind::VirtualService => c.is_ascii_graphic() && c != '/',
        _ => c.is_ascii_alphanumeric() || c == '-' || c == '_',
    };
    match name.chars().find(|c| !legal(*c)) {
        Some(c) => Err(Rejection::invalid(
            field,
            format!("{name:?} must not contain {c:?}"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
