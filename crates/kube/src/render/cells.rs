//! Cells that are computed from an object alone.

use k8s_openapi::api::core::v1::Service;

use crate::crd::Resource;
use crate::selector::Labels;

/// The cells of a mesh object: its name, its ARN once it has one, and its age.
pub fn mesh_object(resource: &Resource, age: &str) -> Vec<String> {
    let name = resource.name().to_owned();
    match resource {
        Resource::BackendGroup(_) => vec![name, age.to_owned()],
        _ => vec![
            name,
            resource.arn().unwrap_or_default().to_owned(),
            age.to_owned(),
        ],
    }
}

/// `80/TCP,443:31443/TCP`: ports with their node ports.
pub fn service_ports(service: &Service) -> String {
    let ports = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let written: Vec<String> = ports
        .map(|port| {
            let node_port = port
                .node_port
                .filter(|port| *port > 0)
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            format!(
                "{}{node_port}/{}",
                port.port,
                port.protocol.as_deref().unwrap_or("TCP")
            )
        })
        .collect();
    written.join(",")
}

/// `app=front,version=v1`; empty if there are none.
pub fn selector(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
