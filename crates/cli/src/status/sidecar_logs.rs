//! Warnings that only sidecars can give: clients that wait for a server to speak first.

use super::problem::Problem;
use futures::{StreamExt, stream};
use std::{collections::BTreeSet, time::Duration};
use tombolo_local::control_socket::{Client, LogQuery, PodView};

/// Name of the sidecar's container.
const SIDECAR: &str = "envoy";
/// Part of the sidecar's warning (`tombolo-proxy`, worker).
const SILENT_CLIENT: &str = "a client has sent nothing for";
/// Maximum logs that are read, maximum concurrent reads, and the part of each log that is read.
const MAX_PODS: usize = 200;
const MAX_IN_FLIGHT: usize = 16;
const LINES: usize = 200;
const MAX_BYTES: usize = 256 << 10;
/// Deadline for all logs; those read by then are used.
const DEADLINE: Duration = Duration::from_secs(5);

/// One problem for each destination of each pod. Logs that cannot be read are left out.
pub(super) async fn problems(client: &Client, pods: &[PodView]) -> Vec<Problem> {
    let has_sidecar = |pod: &&PodView| pod.processes.iter().any(|it| it.container == SIDECAR);
    let logs = stream::iter(pods.iter().filter(has_sidecar).take(MAX_PODS))
        .map(|pod| async move { (pod, tail(client, pod).await) })
        .buffer_unordered(MAX_IN_FLIGHT)
        .take_until(tokio::time::sleep(DEADLINE));
    let logs: Vec<(&PodView, String)> = logs.collect().await;
    let problems = logs.iter().flat_map(|(pod, log)| {
        destinations(log).into_iter().map(|destination| {
            let message = format!(
                "a client in pod {} in namespace {} of {} connected to {destination} and sent nothing: this port \
                 carries HTTP in the mesh, and where the server speaks first (SMTP, MySQL, FTP) both wait; give the \
                 port a TCP listener, or list it in the annotation appmesh.k8s.aws/egressIgnoredPorts",
                pod.name, pod.namespace, pod.cluster
            );
            Problem::new(message, "")
        })
    });
    problems.collect()
}

/// The end of a sidecar's log.
async fn tail(client: &Client, pod: &PodView) -> String {
    let query = LogQuery {
        cluster: Some(pod.cluster.clone()),
        namespace: Some(pod.namespace.clone()),
        pod: pod.name.clone(),
        container: Some(SIDECAR.into()),
        tail: Some(LINES),
        ..LogQuery::default()
    };
    let mut log = Vec::new();
    if let Ok(mut parts) = client.logs(&query).await {
        while let Some(Ok(part)) = parts.next().await {
            log.extend_from_slice(&part);
            if log.len() > MAX_BYTES {
                break;
            }
        }
    }
    String::from_utf8_lossy(&log).into_owned()
}

/// The destinations of silent clients: `destination=10.0.0.9:25` in lines with the warning.
fn destinations(log: &str) -> BTreeSet<&str> {
    let lines = log.lines().filter(|line| line.contains(SILENT_CLIENT));
    let words = lines.flat_map(str::split_whitespace);
    words
        .filter_map(|word| word.strip_prefix("destination="))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_of_silent_clients_are_told_once() {
        let log = "2026-01-01T00:00:00Z  WARN tombolo_proxy::worker: a client has sent nothing for 10 s on a port \
                   that carries HTTP destination=192.0.2.1:25 source=10.0.0.4:1\n";
        let log = format!("{log}2026 WARN other destination=192.0.2.9:80\n{log}");
        assert_eq!(destinations(&log), BTreeSet::from(["192.0.2.1:25"]));
    }
}
