//! Optional fields of Kubernetes objects, with the meaning that Kubernetes gives them when they are absent.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::selector::Labels;

static NO_LABELS: LazyLock<Labels> = LazyLock::new(Labels::new);

/// Metadata of any object; absent text is empty.
pub trait ObjectExt {
    /// `metadata`.
    fn object_meta(&self) -> &ObjectMeta;

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.object_meta().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`.
    fn namespace(&self) -> &str {
        self.object_meta().namespace.as_deref().unwrap_or_default()
    }

    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.object_meta().uid.as_deref().unwrap_or_default()
    }

    /// `metadata.labels`.
    fn labels(&self) -> &Labels {
        self.object_meta().labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// An entry of `metadata.annotations`.
    fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.object_meta().annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// Whether deletion has begun.
    fn is_terminating(&self) -> bool {
        self.object_meta().deletion_timestamp.is_some()
    }

    /// The uid of the owner that controls the object.
    fn controller_uid(&self) -> Option<&str> {
        let mut owners = self.object_meta().owner_references.iter().flatten();
        let controller = owners.find(|owner| owner.controller == Some(true))?;
        Some(&controller.uid)
    }
}

impl<T: Metadata<Ty = ObjectMeta>> ObjectExt for T {
    fn object_meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// Lists of a pod's spec; absent lists are empty.
pub trait PodSpecExt {
    /// `initContainers`.
    fn init_containers(&self) -> &[Container];

    /// Init containers and containers in order, each with the name of its list and its index there.
    fn all_containers(&self) -> impl Iterator<Item = (&'static str, usize, &Container)>;
}

impl PodSpecExt for PodSpec {
    fn init_containers(&self) -> &[Container] {
        self.init_containers.as_deref().unwrap_or_default()
    }

    fn all_containers(&self) -> impl Iterator<Item = (&'static str, usize, &Container)> {
        let init = PodSpecExt::init_containers(self).iter().enumerate();
        let init = init.map(|(index, container)| ("initContainers", index, container));
        let main = self.containers.iter().enumerate();
        init.chain(main.map(|(index, container)| ("containers", index, container)))
    }
}

/// Spec and status of a pod; what is absent is empty.
pub trait PodExt {
    /// `status.phase`.
    fn phase(&self) -> &str;

    /// `status.podIP`, if it is an IPv4 address.
    fn ipv4(&self) -> Option<Ipv4Addr>;

    /// Whether a condition has the status `True`.
    fn has_condition(&self, name: &str) -> bool;

    /// Condition types of `spec.readinessGates`.
    fn readiness_gates(&self) -> impl Iterator<Item = &str>;

    /// `status.initContainerStatuses`.
    fn init_statuses(&self) -> &[ContainerStatus];

    /// `status.containerStatuses`.
    fn container_statuses(&self) -> &[ContainerStatus];

    /// Whether the pod takes traffic: ready, and its deletion has not begun.
    fn is_serving(&self) -> bool;

    /// Whether the pod counts for its owner: it has not ended, and its deletion has not begun.
    fn is_active(&self) -> bool;
}

impl PodExt for Pod {
    fn phase(&self) -> &str {
        let status = self.status.as_ref();
        status
            .and_then(|status| status.phase.as_deref())
            .unwrap_or_default()
    }

    fn ipv4(&self) -> Option<Ipv4Addr> {
        self.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
    }

    fn has_condition(&self, name: &str) -> bool {
        let status = self.status.iter();
        let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == name && condition.status == "True")
    }

    fn readiness_gates(&self) -> impl Iterator<Item = &str> {
        let spec = self.spec.iter();
        let gates = spec.flat_map(|spec| spec.readiness_gates.iter().flatten());
        gates.map(|gate| gate.condition_type.as_str())
    }

    fn init_statuses(&self) -> &[ContainerStatus] {
        let status = self.status.as_ref();
        let list = status.and_then(|status| status.init_container_statuses.as_deref());
        list.unwrap_or_default()
    }

    fn container_statuses(&self) -> &[ContainerStatus] {
        let status = self.status.as_ref();
        let list = status.and_then(|status| status.container_statuses.as_deref());
        list.unwrap_or_default()
    }

    fn is_serving(&self) -> bool {
        !self.is_terminating() && self.has_condition("Ready")
    }

    fn is_active(&self) -> bool {
        !self.is_terminating() && !matches!(self.phase(), "Succeeded" | "Failed")
    }
}
