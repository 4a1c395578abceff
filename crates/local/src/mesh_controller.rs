//! Adapts a local cluster to the mesh and registry controllers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tombolo_controller::{Event, ObjectRef, Observer, Options, PatchError, Status};
use tombolo_kube::{ClusterObjects, crd};

use crate::cluster::{Cluster, Key, Kind, Objects, now};
use crate::kubelet::status::set_readiness_gate;
use crate::progress::{self, Progress};

/// The controller's identity in the ownership tag. All runs over one data directory have the same one.
const OWNER: &str = "tombolo-up";

/// The VPC of private namespaces. Only a label: all clusters share one network.
const VPC: &str = "vpc-local";

/// TTL of DNS records in seconds. The App Mesh controller's 300 suit a cloud; local pods come and go.
const DNS_TTL: u32 = 5;

/// The options of the controller of `tombolo up`.
pub(crate) fn options() -> Options {
    Options {
        create_namespaces: Some(VPC.to_owned()),
        dns_ttl: DNS_TTL,
        ..Options::new(OWNER)
    }
}

/// Forwards the controller's events as progress.
pub(crate) fn observer(progress: Progress) -> Observer {
    Arc::new(move |event| {
        progress.send(match event {
            Event::Created(key) => progress::Event::MeshObject {
                kind: key.kind.to_string(),
                name: key.name.to_string(),
            },
            Event::NamespaceCreated { name } => progress::Event::NamespaceCreated { name },
            Event::AddressTaken { node, address } => progress::Event::Warning {
                message: format!(
                    "a pod of virtual node {node} is not registered: somebody else registered its address {address}; \
                     deregister that instance"
                ),
            },
        });
    })
}

/// The key of a mesh object in the store of its cluster.
pub(crate) fn key(object: &ObjectRef) -> Option<Key> {
    let kind = Kind::read(crd::API_VERSION, object.kind.name())?;
    Some(Key::new(kind, &object.namespace, &object.name))
}

impl tombolo_controller::Cluster for Cluster {
    fn name(&self) -> &str {
        &self.name
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.objects.watch()
    }

    fn objects(&self) -> Arc<ClusterObjects> {
        self.objects.read(|objects| objects.mesh().clone())
    }

    fn pods(&self) -> Vec<Arc<Pod>> {
        self.objects.read(Objects::list::<Pod>)
    }

    async fn patch_status(&self, object: &ObjectRef, status: &Status) -> Result<(), PatchError> {
        if let Some(key) = key(object) {
            self.objects.write(|objects| {
                objects.edit_body(&key, |body| {
                    body["status"] = status.to_json(object.kind, body.get("status"), now());
                })
            });
        }
        Ok(())
    }

    async fn set_readiness_gate(
        &self,
        namespace: &str,
        pod: &str,
        condition: &str,
    ) -> Result<(), PatchError> {
        self.objects.write(|objects| {
            objects.edit::<Pod>(namespace, pod, |pod| {
                set_readiness_gate(pod, condition, now());
            })
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
