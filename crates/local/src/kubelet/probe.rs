//! Probes: startup, readiness and liveness of a container.

mod http_and_grpc;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tombolo_kube::PodExt;

use super::ContainerHandle;
use crate::cluster::service_view::target_port;
use crate::container_runtime::{PodSandbox, Process};

/// Interval of probes until the first success. A whole period would be most of the time of a local start.
const STARTUP_PERIOD: Duration = Duration::from_millis(50);

/// Duration of the short interval; a container that starts more slowly gains nothing from it.
const STARTUP_DURATION: Duration = Duration::from_secs(30);

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The port does not accept connections.
    #[error("connect {address}: {cause}")]
    Connect {
        address: SocketAddrV4,
        #[source]
        cause: std::io::Error,
    },
    /// The HTTP status is not 2xx or 3xx.
    #[error("HTTP probe failed with statuscode: {0}")]
    HttpStatus(u16),
    /// The connection failed.
    #[error(transparent)]
    Exchange(#[from] hyper::Error),
    /// The request of the probe is invalid.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The body is incomplete or too long.
    #[error(transparent)]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The gRPC status is not 0.
    #[error("gRPC status {0}")]
    GrpcStatus(String),
    /// There is no gRPC status.
    #[error("the answer is not gRPC")]
    NotGrpc,
    /// The message is malformed.
    #[error("the answer is no HealthCheckResponse")]
    NotHealthResponse,
    /// The service reports that it is not serving.
    #[error("service \"{service}\" has health status {status}")]
    NotServing { service: String, status: u8 },
    /// The service name is too long.
    #[error("the name of the service is longer than 127 bytes")]
    LongService,
    /// The command cannot be started.
    #[error(transparent)]
    Exec(#[from] tombolo_linux::Error),
    /// The command failed.
    #[error("command ended with {0}")]
    ExitCode(i32),
    /// Probes of this kind are not supported.
    #[error("{0} probes are not run here; use httpGet, grpc, tcpSocket or exec")]
    Unsupported(&'static str),
}

/// A probe with its times as durations.
pub(super) struct Prober {
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
    /// A program in the container.
    Exec(Vec<String>, Box<ContainerHandle>),
    Unsupported(&'static str),
}

impl Prober {
    /// Compiles a probe of a container with this handle.
    pub(super) fn new(
        probe: &Probe,
        pod: &Pod,
        container: &Container,
        handle: &ContainerHandle,
    ) -> Self {
        let number = |value: Option<i32>, default| {
            value
                .and_then(|value| u32::try_from(value).ok())
                .unwrap_or(default)
        };
        let seconds = |value, default| Duration::from_secs(number(value, default).into());
        Self {
            action: action(probe, pod, container, handle),
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: number(probe.success_threshold, 1).max(1),
            failures: number(probe.failure_threshold, 3).max(1),
        }
    }

    /// Probes once, within the timeout.
    async fn probe(
        &self,
        sandbox: &dyn PodSandbox,
        process: &dyn Process,
    ) -> Result<(), ProbeError> {
        let action = self.run(sandbox, process);
        let ended = tokio::time::timeout(self.timeout, action).await;
        ended.unwrap_or(Err(ProbeError::Timeout(self.timeout)))
    }

    /// Runs the action once, without a timeout, as a lifecycle hook.
    pub(super) async fn run(
        &self,
        sandbox: &dyn PodSandbox,
        process: &dyn Process,
    ) -> Result<(), ProbeError> {
        match &self.action {
            Action::Http {
                address,
                host,
                path,
                headers,
            } => {
                let stream = connect(sandbox, *address).await?;
                match http_and_grpc::get(stream, host, path, headers).await? {
                    200..400 => Ok(()),
                    status => Err(ProbeError::HttpStatus(status)),
                }
            }
            Action::Grpc { address, service } => {
                let stream = connect(sandbox, *address).await?;
                http_and_grpc::grpc(stream, *address, service).await
            }
            Action::Tcp(address) => connect(sandbox, *address).await.map(drop),
            Action::Exec(argv, handle) => {
                // A timeout drops the session, which kills the program.
                let session = process.exec(handle.exec_spec(argv.clone())).await?;
                match session.wait().await {
                    0 => Ok(()),
                    code => Err(ProbeError::ExitCode(code)),
                }
            }
            Action::Unsupported(what) => Err(ProbeError::Unsupported(what)),
        }
    }

    /// Probes until the type's end condition holds. `report` is called with each change of the state, the first one
    /// included.
    ///
    /// Until the first success, probes are more frequent than configured; failures still count once a period.
    pub(super) async fn watch(
        &self,
        sandbox: &dyn PodSandbox,
        process: &dyn Process,
        mut report: impl FnMut(bool, Option<&ProbeError>),
        probe_type: ProbeType,
    ) -> Outcome {
        tokio::time::sleep(self.delay).await;
        let begun = Instant::now();
        let (mut passed, mut failed, mut state) = (0, 0, None);
        let is_starting = |state, passed| {
            state != Some(true)
                && passed == 0
                && probe_type != ProbeType::Liveness
                && begun.elapsed() < STARTUP_DURATION
        };
        // Time at which the next failure counts.
        let mut due = match probe_type {
            ProbeType::Liveness => begun,
            ProbeType::Readiness | ProbeType::Startup => begun + self.period,
        };
        loop {
            let counts = Instant::now() >= due;
            if counts {
                due = Instant::now() + self.period;
            }
            match self.probe(sandbox, process).await {
                Ok(()) => {
                    (passed, failed) = (passed + 1, 0);
                    if passed >= self.successes && state != Some(true) {
                        state = Some(true);
                        report(true, None);
                        if probe_type == ProbeType::Startup {
                            return Outcome::Passed;
                        }
                    }
                }
                Err(error) => {
                    passed = 0;
                    failed += u32::from(counts);
                    if failed >= self.failures {
                        if state != Some(false) {
                            state = Some(false);
                            report(false, Some(&error));
                        }
                        if probe_type != ProbeType::Readiness {
                            return Outcome::Failed(error);
                        }
                    }
                }
            }
            let next = if is_starting(state, passed) {
                due.min(Instant::now() + STARTUP_PERIOD)
            } else {
                due
            };
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Type of a probe, which decides when a watch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeType {
    /// Readiness: the watch never ends.
    Readiness,
    /// Startup: at the first success, or at the failure threshold.
    Startup,
    /// Liveness: at the failure threshold.
    Liveness,
}

/// The result of a watch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The container has started.
    Passed,
    /// The failure threshold was reached; with the last error.
    Failed(ProbeError),
}

async fn connect(sandbox: &dyn PodSandbox, address: SocketAddrV4) -> Result<TcpStream, ProbeError> {
    let connected = sandbox.connect(address).await;
    connected.map_err(|cause| ProbeError::Connect { address, cause })
}

fn action(probe: &Probe, pod: &Pod, container: &Container, handle: &ContainerHandle) -> Action {
    let own = pod.ipv4().unwrap_or(Ipv4Addr::LOCALHOST);
    let target = |host: Option<&String>, port| {
        let ip = host.and_then(|host| host.parse().ok()).unwrap_or(own);
        Some(SocketAddrV4::new(ip, named_port(port, pod, container)?))
    };
    const UNKNOWN_PORT: Action = Action::Unsupported("unknown-port");
    if let Some(get) = &probe.http_get {
        if get.scheme.as_deref() == Some("HTTPS") {
            return Action::Unsupported("HTTPS");
        }
        let Some(address) = target(get.host.as_ref(), &get.port) else {
            return UNKNOWN_PORT;
        };
        let headers = get.http_headers.iter().flatten();
        let headers = headers.map(|header| (header.name.clone(), header.value.clone()));
        let (hosts, headers): (Vec<_>, Vec<_>) =
            headers.partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = hosts.into_iter().next().map(|(_, value)| value);
        let path = get.path.clone().filter(|path| path.starts_with('/'));
        return Action::Http {
            address,
            host: host.unwrap_or_else(|| address.to_string()),
            path: path.unwrap_or_else(|| "/".to_owned()),
            headers,
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        return target(socket.host.as_ref(), &socket.port).map_or(UNKNOWN_PORT, Action::Tcp);
    }
    if let Some(grpc) = &probe.grpc {
        return u16::try_from(grpc.port).map_or(UNKNOWN_PORT, |port| Action::Grpc {
            address: SocketAddrV4::new(own, port),
            service: grpc.service.clone().unwrap_or_default(),
        });
    }
    match &probe.exec {
        Some(exec) => {
            let argv = exec.command.clone().unwrap_or_default();
            Action::Exec(argv, Box::new(handle.clone()))
        }
        None => Action::Unsupported("empty"),
    }
}

/// A port by number or name; names of the container's own ports come first.
fn named_port(port: &IntOrString, pod: &Pod, container: &Container) -> Option<u16> {
    if let IntOrString::String(name) = port {
        let mut ports = container.ports.iter().flatten();
        if let Some(own) = ports.find(|port| port.name.as_deref() == Some(name)) {
            return u16::try_from(own.container_port).ok();
        }
    }
    target_port(Some(port), 0, pod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container_runtime::fake::FakeRuntime;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn prober(probe: serde_json::Value) -> Prober {
        let pod: Pod = Codec::from_json(
            &json!({"metadata": {}, "spec": {"containers": []}, "status": {"podIP": "127.0.0.1"}}),
        )
        .unwrap();
        let container = Codec::from_json(
            &json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}),
        )
        .unwrap();
        Prober::new(
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
        let runtime = FakeRuntime::default();
        let (sandbox, process) = runtime.running("a").await;
        for (status, good) in [
            ("200 OK", true),
            ("302 Found", true),
            ("404 Not Found", false),
            ("503 Busy", false),
        ] {
            let prober =
                prober(json!({"httpGet": {"port": answer(status).await, "path": "/ping"}}));
            assert_eq!(
                prober.probe(&*sandbox, &*process).await.is_ok(),
                good,
                "{status}"
            );
        }
    }

    /// The duration and the outcome of a watch in which every probe fails.
    async fn failing(probe: serde_json::Value, probe_type: ProbeType) -> (Outcome, Duration) {
        let runtime = FakeRuntime::default();
        let (sandbox, process) = runtime.running("a").await;
        let begun = Instant::now();
        // A fake process executes nothing, so the probe fails at once.
        let outcome = prober(probe)
            .watch(&*sandbox, &*process, |_, _| {}, probe_type)
            .await;
        (outcome, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn liveness_fails_after_the_threshold_even_if_it_never_passed() {
        let probe = json!({"exec": {"command": ["false"]}, "initialDelaySeconds": 5, "periodSeconds": 3, "failureThreshold": 2});
        let (outcome, after) = failing(probe, ProbeType::Liveness).await;
        assert!(matches!(outcome, Outcome::Failed(_)));
        assert_eq!(after.as_secs(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_start_may_take_as_long_as_its_probe_says() {
        let probe =
            json!({"exec": {"command": ["false"]}, "periodSeconds": 10, "failureThreshold": 30});
        let (outcome, after) = failing(probe, ProbeType::Startup).await;
        assert!(matches!(outcome, Outcome::Failed(_)));
        assert_eq!(after.as_secs(), 300);
    }

    #[tokio::test(start_paused = true)]
    async fn several_successes_in_a_row_take_as_many_periods() {
        let runtime = FakeRuntime::default();
        let (sandbox, process) = runtime.running("a").await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let prober =
            prober(json!({"tcpSocket": {"port": port}, "periodSeconds": 7, "successThreshold": 3}));
        let begun = Instant::now();
        let outcome = prober
            .watch(&*sandbox, &*process, |_, _| {}, ProbeType::Startup)
            .await;
        assert!(matches!(outcome, Outcome::Passed));
        assert_eq!(begun.elapsed().as_secs(), 14);
    }
}
