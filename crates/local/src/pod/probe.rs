//! Probes: is a container up, ready, alive?

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::net::TcpStream;

use crate::cluster::endpoint::{address, target_port};
use crate::machine::{ExecSpec, Place, Process};

/// Pause between looks at a container that has not yet passed for the first time. Waiting a whole period
/// would be most of a local start.
const EAGER: Duration = Duration::from_millis(50);

/// Eager looks last this long; a container that needs longer gains nothing from them.
const EAGER_FOR: Duration = Duration::from_secs(30);

/// Bytes of an answer that a probe reads before it hangs up.
const ANSWER: usize = 64 << 10;

/// A probe with its numbers as durations.
#[derive(Debug, Clone)]
pub struct Check {
    action: Action,
    delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: u32,
    failures: u32,
}

#[derive(Debug, Clone)]
enum Action {
    Http {
        address: SocketAddrV4,
        host: String,
        path: String,
        headers: Vec<(String, String)>,
    },
    Tcp(SocketAddrV4),
    Exec(Vec<String>),
    Unsupported(&'static str),
}

impl Check {
    /// Reads a probe of a container.
    pub fn read(probe: &Probe, pod: &Pod, container: &Container) -> Self {
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
            action: action(probe, pod, container),
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

    async fn act(&self, place: &dyn Place, process: &dyn Process) -> Result<(), String> {
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
                let status = get(stream, host, path, headers).await?;
                if (200..400).contains(&status) {
                    Ok(())
                } else {
                    Err(format!("HTTP probe failed with statuscode: {status}"))
                }
            }
            Action::Tcp(address) => place
                .connect(*address)
                .await
                .map(drop)
                .map_err(|error| format!("connect {address}: {error}")),
            Action::Exec(argv) => {
                let spec = ExecSpec {
                    argv: argv.clone(),
                    env: crate::pod::process::base_environment(),
                    ..ExecSpec::default()
                };
                let program = process
                    .exec(spec)
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
                "{what} probes are not run here; use httpGet, tcpSocket or exec"
            )),
        }
    }

    /// Watches until told to stop looking: calls `verdict` with each change of mind, the first one included.
    /// Ends with a reason only if `fatal` and the container failed too often.
    pub async fn watch(
        &self,
        place: &dyn Place,
        process: &dyn Process,
        mut verdict: impl FnMut(bool, Option<String>),
        until: Until,
    ) -> Outcome {
        let begun = tokio::time::Instant::now();
        tokio::time::sleep(self.delay).await;
        let (mut passed, mut failed, mut state) = (0, 0, None);
        loop {
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
                    (passed, failed) = (0, failed + 1);
                    if failed >= self.allowed(state, begun) {
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
            let eager =
                state != Some(true) && until != Until::Failed && begun.elapsed() < EAGER_FOR;
            tokio::time::sleep(if eager { EAGER } else { self.period }).await;
        }
    }

    /// Failures that count: those asked for, or, while looks are eager, as many as fit into the same time.
    fn allowed(&self, state: Option<bool>, begun: tokio::time::Instant) -> u32 {
        if state == Some(true) || begun.elapsed() >= EAGER_FOR {
            return self.failures;
        }
        let looks = self.period.saturating_mul(self.failures).as_millis() / EAGER.as_millis();
        u32::try_from(looks).unwrap_or(u32::MAX).max(self.failures)
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

fn action(probe: &Probe, pod: &Pod, container: &Container) -> Action {
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
    match (&probe.exec, &probe.grpc) {
        (Some(exec), _) => Action::Exec(exec.command.clone().unwrap_or_default()),
        (None, Some(_)) => Action::Unsupported("grpc"),
        (None, None) => Action::Unsupported("empty"),
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

async fn get(
    stream: TcpStream,
    host: &str,
    path: &str,
    headers: &[(String, String)],
) -> Result<u16, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = http::Request::get(path)
        .header("host", host)
        .header("user-agent", "kube-probe/1.35")
        .header("connection", "close");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // Read what there is, so that the application sees a complete exchange; a large or endless body is cut.
        let _ = Limited::new(response.into_body(), ANSWER).collect().await;
        Ok(status)
    };
    // The connection may end before its answer is taken; the exchange then knows what became of it.
    let driver = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = exchange => result,
        () = driver => Err("connection closed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::FakeMachine;
    use serde_json::json;

    fn check(probe: serde_json::Value) -> Check {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {}, "spec": {"containers": []}, "status": {"podIP": "127.0.0.1"}}),
        )
        .unwrap();
        let container = serde_json::from_value(
            json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}),
        )
        .unwrap();
        Check::read(&serde_json::from_value(probe).unwrap(), &pod, &container)
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

    #[tokio::test]
    async fn grpc_probe_says_that_it_is_not_run() {
        let machine = FakeMachine::default();
        let (place, process) = machine.running("a").await;
        let error = check(json!({"grpc": {"port": 1}}))
            .look(&*place, &*process)
            .await
            .unwrap_err();
        assert!(error.contains("grpc probes are not run"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn liveness_fails_after_the_threshold() {
        let machine = FakeMachine::default();
        let (place, process) = machine.running("a").await;
        let check = check(
            json!({"tcpSocket": {"port": 1, "host": "127.0.0.1"}, "periodSeconds": 1, "failureThreshold": 2}),
        );
        let outcome = check
            .watch(&*place, &*process, |_, _| {}, Until::Failed)
            .await;
        assert!(matches!(outcome, Outcome::Failed(_)));
    }
}
