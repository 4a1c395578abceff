//! Deleting objects of clusters.

use super::{Local, ObjectRef};
use crate::{
    delete::{Objects, Options},
    error::{Error, Result},
    json::text,
    target, terminal,
};
use tombolo_local::control_socket;

impl Local<'_> {
    pub(super) async fn delete_objects(
        &self,
        objects: Objects<'_>,
        options: &Options,
    ) -> Result<()> {
        if options.dry_run || options.report.data().is_some() {
            return Err(Error::usage(
                "--dry-run and --output are for resources of a control plane",
            ));
        }
        let requests = self.requests(objects, options).await?;
        let mut is_any = false;
        for request in &requests {
            for object in self.client.delete(request).await? {
                is_any = true;
                terminal::print(format_args!("{object} deleted\n"))?;
            }
        }
        if !is_any && !options.ignore_not_found {
            return Err(Error::Lookup("nothing of this is there".into()));
        }
        Ok(())
    }

    /// The deletion requests, computed before any is sent: one for each object, or one for all manifests.
    async fn requests(
        &self,
        objects: Objects<'_>,
        options: &Options,
    ) -> Result<Vec<control_socket::Delete>> {
        let query = match objects {
            Objects::Files(sources) => {
                return Ok(vec![control_socket::Delete {
                    cluster: self.args.cluster.clone(),
                    namespace: self.args.namespace.clone(),
                    sources,
                    grace_seconds: options.grace_period,
                    ..control_socket::Delete::default()
                }]);
            }
            Objects::All(query) => return self.selected(query.kind, query.selector, options).await,
            Objects::Named(query) if query.selector.is_some() => {
                return self.selected(query.kind, query.selector, options).await;
            }
            Objects::Named(query) => query,
        };
        let mut requests = Vec::new();
        for target in target::read_kubernetes(query.kind, query.names)? {
            let Some(name) = target.name else {
                return Err(Error::usage(
                    "name what to delete, or choose by labels with -l, or everything with --all",
                ));
            };
            match self.args.find_optional(&target.kind, &name).await? {
                Some(found) => requests.push(request(target.kind, found, options)),
                None if options.ignore_not_found => {}
                None => {
                    return Err(Error::Lookup(format!(
                        "{} \"{name}\" not found",
                        target.kind
                    )));
                }
            }
        }
        Ok(requests)
    }

    /// All objects of a kind, or those that labels select. They must be in one namespace: a command for one namespace
    /// must not delete from others.
    async fn selected(
        &self,
        kind: &str,
        selector: Option<&str>,
        options: &Options,
    ) -> Result<Vec<control_socket::Delete>> {
        let mut requests = Vec::new();
        let mut locations: Vec<String> = Vec::new();
        for cluster in self.args.list(kind, None, selector).await? {
            for item in &cluster.items {
                let found = ObjectRef {
                    cluster: cluster.cluster.clone(),
                    namespace: text(item, "/metadata/namespace"),
                    name: text(item, "/metadata/name"),
                };
                if !locations.contains(&found.location()) {
                    locations.push(found.location());
                }
                requests.push(request(text(item, "/kind"), found, options));
            }
        }
        if locations.len() > 1 {
            return Err(Error::usage(format!(
                "there are some in several places ({}): choose by --cluster and -n",
                locations.join(", ")
            )));
        }
        Ok(requests)
    }
}

fn request(kind: String, found: ObjectRef, options: &Options) -> control_socket::Delete {
    control_socket::Delete {
        kind,
        cluster: Some(found.cluster),
        namespace: Some(found.namespace).filter(|namespace| !namespace.is_empty()),
        name: Some(found.name),
        grace_seconds: options.grace_period,
        ..control_socket::Delete::default()
    }
}
