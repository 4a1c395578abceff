//! Rules for workloads and services that the types do not express and without which nothing could run.
//!
//! The API server checks far more. A violation of these would otherwise surface as a pod that never starts or a
//! service without endpoints.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Service};
use tombolo_model::validation::{Form, Validator};

use crate::Violation;
use crate::selector;

pub(super) fn deployment(deployment: &Deployment) -> Vec<Violation> {
    let mut validator = Validator::new(Form::Kubernetes);
    let Some(spec) = &deployment.spec else {
        validator.deny("spec", "is required");
        return validator.into_violations();
    };
    validator.within("spec", |validator| {
        if spec.replicas.is_some_and(|replicas| replicas < 0) {
            validator.deny("replicas", "must not be negative");
        }
        selector::check(validator, "selector", Some(&spec.selector));
        let labels = spec
            .template
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.labels.clone())
            .unwrap_or_default();
        if spec.selector.match_labels.is_none() && spec.selector.match_expressions.is_none() {
            validator.deny(
                "selector",
                "is required; repeat the labels of template.metadata",
            );
        } else if !selector::matches(&spec.selector, &labels) {
            validator.deny(
                "selector",
                "does not select template.metadata.labels; make them agree",
            );
        }
        validator.within("template", |validator| match &spec.template.spec {
            Some(pod) => validator.within("spec", |validator| pod_spec(validator, pod)),
            None => validator.deny("spec", "is required"),
        });
    });
    validator.into_violations()
}

pub(super) fn pod(pod: &Pod) -> Vec<Violation> {
    let mut validator = Validator::new(Form::Kubernetes);
    match &pod.spec {
        Some(spec) => validator.within("spec", |validator| pod_spec(validator, spec)),
        None => validator.deny("spec", "is required"),
    }
    validator.into_violations()
}

fn pod_spec(validator: &mut Validator, spec: &PodSpec) {
    if spec.containers.is_empty() {
        validator.deny("containers", "needs at least one container");
    }
    let volumes: BTreeSet<&str> = spec
        .volumes
        .iter()
        .flatten()
        .map(|volume| volume.name.as_str())
        .collect();
    let mut names = BTreeSet::new();
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        validator.each(field, containers, |validator, each| {
            if !each.name.is_empty() && !names.insert(each.name.clone()) {
                validator.deny(
                    "name",
                    format!(
                        "{:?} is the name of another container of this pod",
                        each.name
                    ),
                );
            }
            container(validator, each, &volumes);
        });
    }
}

fn container(validator: &mut Validator, container: &Container, volumes: &BTreeSet<&str>) {
    if container.name.is_empty() {
        validator.deny("name", "is required");
    }
    if container.image.as_deref().unwrap_or_default().is_empty() {
        validator.deny("image", "is required");
    }
    validator.each(
        "ports",
        container.ports.as_deref().unwrap_or_default(),
        |validator, port| {
            validator.range("containerPort", port.container_port, 1, 65535);
        },
    );
    validator.each(
        "env",
        container.env.as_deref().unwrap_or_default(),
        |validator, variable| {
            if variable.name.is_empty() {
                validator.deny("name", "is required");
            }
        },
    );
    validator.each(
        "volumeMounts",
        container.volume_mounts.as_deref().unwrap_or_default(),
        |validator, mount| {
            if !volumes.contains(mount.name.as_str()) {
                validator.deny(
                    "name",
                    format!("the pod has no volume {:?}; add it to volumes", mount.name),
                );
            }
        },
    );
}

pub(super) fn service(service: &Service) -> Vec<Violation> {
    let mut validator = Validator::new(Form::Kubernetes);
    let Some(spec) = &service.spec else {
        validator.deny("spec", "is required");
        return validator.into_violations();
    };
    validator.within("spec", |validator| {
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        if !["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind) {
            validator.deny(
                "type",
                format!("{kind:?} is not a type of service; use ClusterIP, NodePort, LoadBalancer or ExternalName"),
            );
        }
        let ports = spec.ports.as_deref().unwrap_or_default();
        let headless = spec.cluster_ip.as_deref() == Some("None");
        if ports.is_empty() && !headless && kind != "ExternalName" {
            validator.deny("ports", "needs at least one port");
        }
        validator.each("ports", ports, |validator, port| {
            validator.range("port", port.port, 1, 65535);
            if ports.len() > 1 && port.name.as_deref().unwrap_or_default().is_empty() {
                validator.deny("name", "is required when a service has several ports");
            }
        });
    });
    validator.into_violations()
}
