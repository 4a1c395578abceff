//! Probes: is a container up, ready, alive?

mod exchange;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::time::Instant;

use super::ContainerHandle;
use crate::cluster::endpoint::{address, target_port};
use crate::machine::{Place, Process};

/// Pause between looks at a container that has not yet passed for the first time. Waiting a whole period
/// would be most of a local start.
const EAGER: Duration = Duration::from_millis(50);

/// Eager looks last this long; a container that needs longer gains nothing from them.
const EAGER_FOR: Duration = Duration::from_secs(30);

/// A probe with its numbers as durations.
pub struct Check {
    action: Action,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
}

enum Action {
    Http {
        address: SocketAddrV4,
        host: String,
        path: String,
        headers: Vec<(String, String)>,
    },
    Grpc {
        address: SocketAddrV4,
        service: String,
    },
    Tcp(SocketAddrV4),
    /// A program that sees what the container's own sees.
    Exec(Vec<String>, Box<ContainerHandle>),
    Unsupported(&'static str),
}

impl Check {
    /// Reads a probe of a container that was started as `handle` says.
    pub fn read(probe: &Probe, pod: &Pod, container: &Container, handle: &ContainerHandle) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        let times = |value: Option<i32>, default: u32| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
                .max(1)
        };
        Self {
            action: action(probe, pod, container, handle),
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: times(probe.success_threshold, 1),
            failures: times(probe.failure_threshold, 3),
        }
    }

    /// Looks once. The error says what was seen.
    pub async fn look(&self, place: &dyn Place, process: &dyn Process) -> Result<(), String> {
        match tokio::time::timeout(self.timeout, self.act(place, process)).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", self.timeout.as_secs())),
        }
    }

    /// The same, however long it takes.
    pub async fn act(&self, place: &dyn Place, process: &dyn Process) -> Result<(), String> {
        match &self.action {
            Action::Http {
                address,
                host,
                path,
                headers,
            } => {
                let stream = place
                    .connect(*address)
                    .await
                    .map_err(|error| format!("connect {address}: {error}"))?;
                let status = exchange::get(stream, host, path, headers).await?;
                if (200..400).contains(&status) {
                    Ok(())
                } else {
                    Err(format!("HTTP probe failed with statuscode: {status}"))
                }
            }
            Action::Grpc { address, service } => {
                let stream = place
                    .connect(*address)
                    .await
                    .map_err(|error| format!("connect {address}: {error}"))?;
                exchange::grpc(stream, *address, service).await
            }
            Action::Tcp(address) => place
                .connect(*address)
                .await
                .map(drop)
                .map_err(|error| format!("connect {address}: {error}")),
            Action::Exec(argv, handle) => {
                let program = process
                    .exec(handle.program(argv.clone()))
                    .await
                    .map_err(|error| error.to_string())?;
                // A timeout drops this future; the program must not stay behind. Killing one that ended is nothing.
                let _guard = KillOnDrop(program.clone());
                let code = program.wait().await;
                if code == 0 {
                    Ok(())
                } else {
                    Err(format!("command ended with {code}"))
                }
            }
            Action::Unsupported(what) => Err(format!(
                "{what} probes are not run here; use httpGet, grpc, tcpSocket or exec"
            )),
        }
    }

    /// Watches until told to stop looking: calls `verdict` with each change of mind, the first one included.
    ///
    /// Until the first success, looks are more frequent than asked for, because waiting a whole period would be most of
    /// a local start; failures count once a period nevertheless.
    pub async fn watch(
        &self,
        place: &dyn Place,
        process: &dyn Process,
        mut verdict: impl FnMut(bool, Option<String>),
        until: Until,
    ) -> Outcome {
        tokio::time::sleep(self.delay).await;
        let begun = Instant::now();
        let (mut passed, mut failed, mut state) = (0, 0, None);
        let is_eager = |state, passed| {
            state != Some(true)
                && passed == 0
                && until != Until::Failed
                && begun.elapsed() < EAGER_FOR
        };
        // When the next failure counts.
        let mut due = match until {
            Until::Failed => begun,
            Until::Forever | Until::Passed => begun + self.period,
        };
        loop {
            let counts = Instant::now() >= due;
            if counts {
                due = Instant::now() + self.period;
            }
            match self.look(place, process).await {
                Ok(()) => {
                    (passed, failed) = (passed + 1, 0);
                    if passed >= self.successes && state != Some(true) {
                        state = Some(true);
                        verdict(true, None);
                        if until == Until::Passed {
                            return Outcome::Passed;
                        }
                    }
                }
                Err(reason) => {
                    passed = 0;
                    failed += u32::from(counts);
                    if failed >= self.failures {
                        if state != Some(false) {
                            state = Some(false);
                            verdict(false, Some(reason.clone()));
                        }
                        if until != Until::Forever {
                            return Outcome::Failed(reason);
                        }
                    }
                }
            }
            let next = if is_eager(state, passed) {
                due.min(Instant::now() + EAGER)
            } else {
                due
            };
            tokio::time::sleep_until(next).await;
        }
    }
}

/// When a watch ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never: readiness comes and goes.
    Forever,
    /// At the first success or at too many failures: start-up.
    Passed,
    /// At too many failures: liveness.
    Failed,
}

/// Why a watch ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The container is up.
    Passed,
    /// The container failed too often; the last reason.
    Failed(String),
}

struct KillOnDrop(std::sync::Arc<dyn crate::machine::Executed>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn action(probe: &Probe, pod: &Pod, container: &Container, handle: &ContainerHandle) -> Action {
    let own = address(pod).unwrap_or(Ipv4Addr::LOCALHOST);
    let target = |host: Option<&String>, port| {
        let ip = host.and_then(|host| host.parse().ok()).unwrap_or(own);
        Some(SocketAddrV4::new(ip, named_port(port, pod, container)?))
    };
    if let Some(get) = &probe.http_get {
        if get.scheme.as_deref() == Some("HTTPS") {
            return Action::Unsupported("HTTPS");
        }
        let Some(address) = target(get.host.as_ref(), &get.port) else {
            return Action::Unsupported("unknown-port");
        };
        let headers: Vec<_> = get
            .http_headers
            .iter()
            .flatten()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect();
        let host = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map(|(_, value)| value.clone());
        return Action::Http {
            address,
            host: host.unwrap_or_else(|| address.to_string()),
            path: get
                .path
                .clone()
                .filter(|path| path.starts_with('/'))
                .unwrap_or_else(|| "/".to_owned()),
            headers: headers
                .into_iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
                .collect(),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        return target(socket.host.as_ref(), &socket.port)
            .map_or(Action::Unsupported("unknown-port"), Action::Tcp);
    }
    if let Some(grpc) = &probe.grpc {
        return match u16::try_from(grpc.port) {
            Ok(port) => Action::Grpc {
                address: SocketAddrV4::new(own, port),
                service: grpc.service.clone().unwrap_or_default(),
            },
            Err(_) => Action::Unsupported("unknown-port"),
        };
    }
    match &probe.exec {
        Some(exec) => Action::Exec(
            exec.command.clone().unwrap_or_default(),
            Box::new(handle.clone()),
        ),
        None => Action::Unsupported("empty"),
    }
}

fn named_port(
    port: &k8s_openapi::apimachinery::pkg::util::intstr::IntOrString,
    pod: &Pod,
    container: &Container,
) -> Option<u16> {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    if let IntOrString::String(name) = port {
        let own = container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name));
        if let Some(own) = own {
            return u16::try_from(own.container_port).ok();
        }
    }
    target_port(Some(port), 0, pod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::FakeMachine;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn check(probe: serde_json::Value) -> Check {
        let pod: Pod = Codec::from_json(
            &json!({"metadata": {}, "spec": {"containers": []}, "status": {"podIP": "127.0.0.1"}}),
        )
        .unwrap();
        let container = Codec::from_json(
            &json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}),
        )
        .unwrap();
        Check::read(
            &Codec::from_json(&probe).unwrap(),
            &pod,
            &container,
            &ContainerHandle::default(),
        )
    }

    async fn answer(status: &'static str) -> u16 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream
                    .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .await;
            }
        });
        port
    }

    #[tokio::test]
    async fn http_probe_passes_below_four_hundred() {
        let machine = FakeMachine::default();
        let (place, process) = machine.running("a").await;
        for (status, good) in [
            ("200 OK", true),
            ("302 Found", true),
            ("404 Not Found", false),
            ("503 Busy", false),
        ] {
            let check = check(json!({"httpGet": {"port": answer(status).await, "path": "/ping"}}));
            assert_eq!(
                check.look(&*place, &*process).await.is_ok(),
                good,
                "{status}"
            );
        }
    }

    /// How long a watch takes to end, and how, when every look fails.
    async fn failing(probe: serde_json::Value, until: Until) -> (Outcome, Duration) {
        let machine = FakeMachine::default();
        let (place, process) = machine.running("a").await;
        let begun = Instant::now();
        // A fake process executes nothing, so the probe fails without waiting for anything.
        let outcome = check(probe)
            .watch(&*place, &*process, |_, _| {}, until)
            .await;
        (outcome, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn liveness_fails_after_the_threshold_even_if_it_never_passed() {
        let probe = json!({"exec": {"command": ["false"]}, "initialDelaySeconds": 5, "periodSeconds": 3, "failureThreshold": 2});
        let (outcome, after) = failing(probe, Until::Failed).await;
        assert!(matches!(outcome, Outcome::Failed(_)));
        assert_eq!(after.as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_start_may_take_as_long_as_its_probe_says() {
        let probe =
            json!({"exec": {"command": ["false"]}, "periodSeconds": 10, "failureThreshold": 30});
        let (outcome, after) = failing(probe, Until::Passed).await;
        assert!(matches!(outcome, Outcome::Failed(_)));
        assert_eq!(after.as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn several_successes_in_a_row_take_as_many_periods() {
        let machine = FakeMachine::default();
        let (place, process) = machine.running("a").await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let check =
            check(json!({"tcpSocket": {"port": port}, "periodSeconds": 7, "successThreshold": 3}));
        let begun = Instant::now();
        let outcome = check
            .watch(&*place, &*process, |_, _| {}, Until::Passed)
            .await;
        assert_eq!((outcome, begun.elapsed().as_secs()), (Outcome::Passed, 14));
    }
}
