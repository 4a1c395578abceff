//! Active health checks: one task per cluster, host and check.

mod grpc;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::cluster_runtime::{ClusterRuntime, HealthFlag, Host, Member, State};
use crate::config::cluster::Cluster;
use crate::config::health_check::{HealthCheck, HttpProbe, Probe, TcpProbe};
use crate::upstream::connect::connect;

/// What a probe reads of an answer at most.
const MAX_ANSWER: usize = 64 * 1024;

pub(crate) struct HealthChecker {
    tasks: HashMap<(Arc<str>, SocketAddr), Task>,
    /// For hosts of clusters that set no mark of their own.
    mark: Option<u32>,
}

struct Task {
    config: Arc<Cluster>,
    host: Arc<Host>,
    state: Arc<State>,
    handles: Vec<JoinHandle<()>>,
}

impl Task {
    /// Whether a check has ended by itself: a bug, which must not leave a host with its last verdict.
    fn has_ended(&self) -> bool {
        self.handles.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.abort();
        }
    }
}

impl HealthChecker {
    pub(crate) fn new(mark: Option<u32>) -> Self {
        Self {
            tasks: HashMap::new(),
            mark,
        }
    }

    /// HealthChecker the members of these clusters from now on, and no others.
    pub(crate) fn sync<'a>(&mut self, clusters: impl Iterator<Item = &'a Arc<ClusterRuntime>>) {
        let mut tasks = HashMap::new();
        for runtime in clusters.filter(|runtime| !runtime.config.health_checks.is_empty()) {
            for member in runtime.members.list.iter().filter(|member| member.checked) {
                let key = (runtime.config.name.clone(), member.host.address);
                let known = self.tasks.remove(&key).filter(|task| {
                    !task.has_ended()
                        && Arc::ptr_eq(&task.config, &runtime.config)
                        && Arc::ptr_eq(&task.host, &member.host)
                        && Arc::ptr_eq(&task.state, &runtime.state)
                });
                tasks.insert(
                    key,
                    known.unwrap_or_else(|| start(runtime, member, self.mark)),
                );
            }
        }
        self.tasks = tasks;
    }

    /// Whether [`HealthChecker::sync`] would start a check again that ended by itself.
    pub(crate) fn any_has_ended(&self) -> bool {
        self.tasks.values().any(Task::has_ended)
    }
}

fn start(runtime: &Arc<ClusterRuntime>, member: &Member, mark: Option<u32>) -> Task {
    let handles = runtime
        .config
        .health_checks
        .iter()
        .map(|check| {
            let mut address = member.host.address;
            if let Some(port) = member.check_port.or(check.port) {
                address.set_port(port);
            }
            let target = CheckTarget {
                cluster: runtime.config.clone(),
                host: member.host.clone(),
                state: runtime.state.clone(),
                address,
                hostname: member.check_hostname.clone(),
                mark: runtime.config.mark.or(mark),
            };
            tokio::spawn(watch(target, check.clone()))
        })
        .collect();
    Task {
        config: runtime.config.clone(),
        host: member.host.clone(),
        state: runtime.state.clone(),
        handles,
    }
}

struct CheckTarget {
    cluster: Arc<Cluster>,
    host: Arc<Host>,
    state: Arc<State>,
    address: SocketAddr,
    hostname: Arc<str>,
    mark: Option<u32>,
}

async fn watch(target: CheckTarget, check: HealthCheck) {
    let (mut successes, mut failures) = (0, 0);
    loop {
        let stats = &target.state.stats;
        stats.check_attempt.fetch_add(1, Ordering::Relaxed);
        let outcome = tokio::time::timeout(check.timeout, probe(&target, &check.probe)).await;
        let good = match outcome.unwrap_or(Outcome::NetworkFailure) {
            Outcome::Healthy => {
                stats.check_success.fetch_add(1, Ordering::Relaxed);
                true
            }
            bad => {
                stats.check_failure.fetch_add(1, Ordering::Relaxed);
                if bad == Outcome::NetworkFailure {
                    stats.check_network_failure.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
        };
        (successes, failures) = if good {
            (successes + 1, 0)
        } else {
            (0, failures + 1)
        };
        let first = target.host.has(HealthFlag::PendingActiveCheck);
        let unhealthy = target.host.has(HealthFlag::FailedActiveCheck);
        // As in Envoy the first result counts at once; later ones need their threshold.
        let verdict = match good {
            true if first || (unhealthy && successes >= check.healthy_threshold) => Some(false),
            false if first || (!unhealthy && failures >= check.unhealthy_threshold) => Some(true),
            _ => None,
        };
        if let Some(unhealthy) = verdict {
            let changed = target.host.set(HealthFlag::FailedActiveCheck, unhealthy)
                | target.host.set(HealthFlag::PendingActiveCheck, false);
            if changed {
                tracing::info!(cluster = %target.cluster.name, host = %target.address, healthy = !unhealthy, "health changed");
                target.state.health_changed();
            }
        }
        tokio::time::sleep(check.interval).await;
    }
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Healthy,
    /// The host answered that it is not well.
    Unhealthy,
    /// No answer in time, or none that can be understood.
    NetworkFailure,
}

impl From<Option<bool>> for Outcome {
    fn from(answer: Option<bool>) -> Self {
        match answer {
            Some(true) => Self::Healthy,
            Some(false) => Self::Unhealthy,
            None => Self::NetworkFailure,
        }
    }
}

async fn probe(target: &CheckTarget, probe: &Probe) -> Outcome {
    let Ok(stream) = connect(target.address, &target.cluster, target.mark).await else {
        return Outcome::NetworkFailure;
    };
    let answer = match probe {
        Probe::Grpc(probe) => {
            let authority = authority(target, &probe.authority);
            grpc::probe(probe, authority, stream).await
        }
        Probe::Http(http) => probe_http(target, http, stream).await,
        Probe::Tcp(tcp) => probe_tcp(tcp, stream).await,
    };
    answer.into()
}

/// The name under which a host is asked: its own, else the check's, else the cluster's.
fn authority<'a>(target: &'a CheckTarget, of_check: &'a str) -> &'a str {
    match (&*target.hostname, of_check) {
        ("", "") => &target.cluster.name,
        ("", of_check) => of_check,
        (own, _) => own,
    }
}

async fn probe_http(target: &CheckTarget, probe: &HttpProbe, stream: TcpStream) -> Option<bool> {
    let host = authority(target, &probe.host);
    let target = if probe.http2 {
        format!("http://{host}{}", probe.path)
    } else {
        probe.path.clone()
    };
    let mut request = Request::builder().method(probe.method.clone()).uri(target);
    if !probe.http2 {
        request = request.header(header::HOST, host);
    }
    request = request.header(header::USER_AGENT, "Envoy/HC");
    for (name, value) in &probe.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).ok()?;
    let io = TokioIo::new(stream);
    let status = if probe.http2 {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .ok()?;
        let task = tokio::spawn(connection);
        let response = sender.send_request(request).await;
        task.abort();
        response.ok()?.status()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
        let task = tokio::spawn(connection);
        let response = sender.send_request(request).await;
        let status = match response {
            Ok(response) => {
                let status = response.status();
                // Reading the body lets the server end the exchange in order; too large a one is cut.
                let _ = Limited::new(response.into_body(), MAX_ANSWER)
                    .collect()
                    .await;
                Some(status)
            }
            Err(_) => None,
        };
        task.abort();
        status?
    };
    Some(
        probe
            .expected
            .iter()
            .any(|(start, end)| (*start..*end).contains(&status.as_u16())),
    )
}

async fn probe_tcp(probe: &TcpProbe, mut stream: TcpStream) -> Option<bool> {
    if !probe.send.is_empty() {
        stream.write_all(&probe.send).await.ok()?;
    }
    if probe.receive.is_empty() {
        return Some(true);
    }
    let mut answer = Vec::new();
    loop {
        if contains_in_order(&answer, &probe.receive) {
            return Some(true);
        }
        if answer.len() >= MAX_ANSWER || stream.read_buf(&mut answer).await.ok()? == 0 {
            return Some(false);
        }
    }
}

/// Whether every pattern occurs, each after the one before.
fn contains_in_order(mut bytes: &[u8], patterns: &[Vec<u8>]) -> bool {
    patterns.iter().all(|pattern| {
        if pattern.is_empty() {
            return true;
        }
        match bytes
            .windows(pattern.len())
            .position(|window| window == pattern.as_slice())
        {
            Some(at) => {
                bytes = &bytes[at + pattern.len()..];
                true
            }
            None => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_must_come_in_order() {
        let patterns = |list: &[&str]| {
            list.iter()
                .map(|text| text.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        assert!(contains_in_order(
            b"+OK ready PONG",
            &patterns(&["OK", "PONG"])
        ));
        assert!(!contains_in_order(b"PONG OK", &patterns(&["OK", "PONG"])));
        assert!(contains_in_order(b"", &patterns(&[""])));
    }
}
