//! The rules for workloads and services that the types do not express and without which nothing could run.
//!
//! The API server checks far more. These are the ones whose violation would otherwise surface as a pod that
//! never starts or a service without endpoints.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Service};

use crate::crd::check::Checker;
use crate::field::Denial;
use crate::selector;

pub(super) fn deployment(deployment: &Deployment) -> Vec<Denial> {
    let mut checker = Checker::default();
    let Some(spec) = &deployment.spec else {
        checker.deny("spec", "is required");
        return checker.into_denials();
    };
    checker.within("spec", |checker| {
        if spec.replicas.is_some_and(|replicas| replicas < 0) {
            checker.deny("replicas", "must not be negative");
        }
        selector::check(checker, "selector", Some(&spec.selector));
        let labels = spec
            .template
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.labels.clone())
            .unwrap_or_default();
        if spec.selector.match_labels.is_none() && spec.selector.match_expressions.is_none() {
            checker.deny(
                "selector",
                "is required; repeat the labels of template.metadata",
            );
        } else if !selector::matches(&spec.selector, &labels) {
            checker.deny(
                "selector",
                "does not select template.metadata.labels; make them agree",
            );
        }
        checker.within("template", |checker| match &spec.template.spec {
            Some(pod) => checker.within("spec", |checker| pod_spec(checker, pod)),
            None => checker.deny("spec", "is required"),
        });
    });
    checker.into_denials()
}

pub(super) fn pod(pod: &Pod) -> Vec<Denial> {
    let mut checker = Checker::default();
    match &pod.spec {
        Some(spec) => checker.within("spec", |checker| pod_spec(checker, spec)),
        None => checker.deny("spec", "is required"),
    }
    checker.into_denials()
}

fn pod_spec(checker: &mut Checker, spec: &PodSpec) {
    if spec.containers.is_empty() {
        checker.deny("containers", "needs at least one container");
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
        checker.each(field, containers, |checker, each| {
            if !each.name.is_empty() && !names.insert(each.name.clone()) {
                checker.deny(
                    "name",
                    format!(
                        "{:?} is the name of another container of this pod",
                        each.name
                    ),
                );
            }
            container(checker, each, &volumes);
        });
    }
}

fn container(checker: &mut Checker, container: &Container, volumes: &BTreeSet<&str>) {
    if container.name.is_empty() {
        checker.deny("name", "is required");
    }
    if container.image.as_deref().unwrap_or_default().is_empty() {
        checker.deny("image", "is required");
    }
    checker.each(
        "ports",
        container.ports.as_deref().unwrap_or_default(),
        |checker, port| {
            checker.range("containerPort", port.container_port, 1, 65535);
        },
    );
    checker.each(
        "env",
        container.env.as_deref().unwrap_or_default(),
        |checker, variable| {
            if variable.name.is_empty() {
                checker.deny("name", "is required");
            }
        },
    );
    checker.each(
        "volumeMounts",
        container.volume_mounts.as_deref().unwrap_or_default(),
        |checker, mount| {
            if !volumes.contains(mount.name.as_str()) {
                checker.deny(
                    "name",
                    format!("the pod has no volume {:?}; add it to volumes", mount.name),
                );
            }
        },
    );
}

pub(super) fn service(service: &Service) -> Vec<Denial> {
    let mut checker = Checker::default();
    let Some(spec) = &service.spec else {
        checker.deny("spec", "is required");
        return checker.into_denials();
    };
    checker.within("spec", |checker| {
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        if !["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(&kind) {
            checker.deny(
                "type",
                format!("{kind:?} is not a type of service; use ClusterIP, NodePort, LoadBalancer or ExternalName"),
            );
        }
        let ports = spec.ports.as_deref().unwrap_or_default();
        let headless = spec.cluster_ip.as_deref() == Some("None");
        if ports.is_empty() && !headless && kind != "ExternalName" {
            checker.deny("ports", "needs at least one port");
        }
        checker.each("ports", ports, |checker, port| {
            checker.range("port", port.port, 1, 65535);
            if ports.len() > 1 && port.name.as_deref().unwrap_or_default().is_empty() {
                checker.deny("name", "is required when a service has several ports");
            }
        });
    });
    checker.into_denials()
}
