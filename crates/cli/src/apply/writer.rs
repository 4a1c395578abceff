//! Sends commands to a server.

use crate::{
    apply::plan::{Known, Step},
    resource::command,
    resource::id::Id,
    resource::view::{Details, ResourceView},
};
use std::collections::BTreeMap;
use tombolo_api::client::{Client, Error};
use tombolo_model::{
    Command,
    apply::{appmesh as mesh_apply, cloudmap},
};

/// A server that is written to, and the generated ids that are known.
pub(crate) struct Writer<'a> {
    client: &'a Client,
    ids: BTreeMap<Id, String>,
}

/// A step that was not done.
pub(crate) struct StepError {
    pub(crate) error: Error,
    /// Whether a part of the step was done, or may have been because an answer was lost.
    pub(crate) is_open: bool,
}

/// The id that the server generated for a created resource.
type GeneratedId = Option<String>;

impl<'a> Writer<'a> {
    pub(crate) fn new(client: &'a Client, known: &Known) -> Self {
        let ids = known.iter().filter_map(|(id, found)| {
            let generated = match &found.details {
                Details::Namespace(namespace) => namespace.id.clone(),
                Details::Service { service, .. } => service.id.clone(),
                Details::Instance { .. } | Details::Mesh(_) => return None,
            };
            Some((id.clone(), generated))
        });
        Self {
            client,
            ids: ids.collect(),
        }
    }

    /// Executes a step.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<(), StepError> {
        let id = &step.desired.id;
        let commands = step.commands(|id| self.ids.get(id).cloned());
        let found = step.found.as_ref();
        let made = self.send_all(&commands, found, false).await?;
        if let Some(made) = made {
            let commands = command::complete(&step.desired, &made);
            self.ids.insert(id.clone(), made);
            self.send_all(&commands, found, true).await?;
        }
        Ok(())
    }

    /// Sends commands one after the other. `is_begun`: an earlier command of the same step was sent.
    async fn send_all(
        &self,
        commands: &[Command],
        found: Option<&ResourceView>,
        mut is_begun: bool,
    ) -> Result<GeneratedId, StepError> {
        let mut made = None;
        for command in commands {
            let sent = self.send(command, found).await;
            let sent = sent.map_err(|error| StepError {
                is_open: is_begun || matches!(error, Error::Transport(_)),
                error,
            })?;
            made = made.or(sent);
            is_begun = true;
        }
        Ok(made)
    }

    /// Deletes a resource and waits for the end of the operation.
    pub(crate) async fn delete(&self, found: &ResourceView) -> Result<(), Error> {
        self.send(&command::delete(found), Some(found)).await?;
        Ok(())
    }

    async fn send(
        &self,
        command: &Command,
        found: Option<&ResourceView>,
    ) -> Result<GeneratedId, Error> {
        let arn = found.and_then(ResourceView::arn).unwrap_or_default();
        match command {
            Command::AppMesh(command) => self.send_mesh(command, arn).await.map(|()| None),
            Command::CloudMap(command) => self.send_registry(command, arn).await,
        }
    }

    async fn send_mesh(&self, command: &mesh_apply::Command, arn: &str) -> Result<(), Error> {
        use mesh_apply::Command;
        match command {
            Command::Create {
                key, spec, tags, ..
            } => self.client.create_tagged(key, spec, tags).await.map(|_| ()),
            Command::Update { key, spec, .. } => self.client.update(key, spec).await.map(|_| ()),
            Command::Delete { key } => self.client.delete(key).await.map(|_| ()),
            Command::Tag { tags, .. } => self.client.tag(arn, tags).await,
            Command::Untag { tag_keys, .. } => self.client.untag(arn, tag_keys).await,
        }
    }

    async fn send_registry(
        &self,
        command: &cloudmap::Command,
        arn: &str,
    ) -> Result<GeneratedId, Error> {
        use cloudmap::Command;
        let client = self.client;
        let operation = match command {
            Command::CreateNamespace(create) => {
                let operation = client.create_namespace(create).await?;
                let mut done = client.wait(&operation).await?;
                return Ok(done.targets.remove("NAMESPACE"));
            }
            Command::CreateService(create) => {
                return Ok(Some(client.create_service(create).await?.id));
            }
            Command::UpdateServiceAttributes(update) => {
                let (id, attributes) = (&update.service_id, &update.attributes);
                let update = client.update_service_attributes(id, attributes);
                return update.await.map(|()| None);
            }
            Command::DeleteServiceAttributes(delete) => {
                let delete = client.delete_service_attributes(&delete.service_id, &delete.keys);
                return delete.await.map(|()| None);
            }
            Command::AddTags(add) => {
                return client.tag_registry(arn, &add.tags).await.map(|()| None);
            }
            Command::RemoveTags(remove) => {
                let removed = client.untag_registry(arn, &remove.tag_keys);
                return removed.await.map(|()| None);
            }
            Command::DeleteService(delete) => {
                return client.delete_service(&delete.id).await.map(|()| None);
            }
            Command::UpdateNamespace(update) => client.update_namespace(update).await?,
            Command::DeleteNamespace(delete) => client.delete_namespace(&delete.id).await?,
            Command::UpdateService(update) => client.update_service(update).await?,
            Command::RegisterInstance(register) => client.register_instance(register).await?,
            Command::DeregisterInstance(it) => {
                client
                    .deregister_instance(&it.service_id, &it.instance_id)
                    .await?
            }
            // Health is reported by health checkers, not by documents.
            Command::UpdateInstanceCustomHealthStatus(_) | Command::RecordHealth(_) => {
                return Ok(None);
            }
        };
        client.wait(&operation).await?;
        Ok(None)
    }
}
