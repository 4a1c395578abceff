//! The control plane as a child process that is restarted whenever it ends.
//!
//! The sockets are opened here and inherited: while no control plane runs, connections wait in the listen queues and
//! none is refused.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::kubelet::container_log::Log;
use crate::progress::{Event, Progress};

/// Running time after which a control plane that ends is restarted at once.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Pauses between restarts of a control plane that keeps ending; before the first restart there is none.
const BACKOFF: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(2))
    .without_max_times();

/// Deadline for its graceful shutdown.
const GRACE: Duration = Duration::from_secs(3);

/// Environment variables that it inherits.
const INHERITED: [&str; 6] = [
    "PATH",
    "HOME",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "TOMBOLO_LOG",
    "LLVM_PROFILE_FILE",
];

/// The sockets of the control plane.
pub(super) struct Sockets {
    /// The AWS APIs, on the host and in the sandbox.
    pub(super) api: Vec<TcpListener>,
    pub(super) xds: TcpListener,
    pub(super) dns_udp: UdpSocket,
    pub(super) dns_tcp: TcpListener,
}

/// The process of the control plane, and the sockets that it inherits.
pub(crate) struct ControlPlaneProcess {
    pub(super) program: PathBuf,
    /// Arguments beside the sockets.
    pub(super) arguments: Vec<String>,
    pub(super) sockets: Sockets,
    pub(super) log: Arc<Log>,
    pub(super) progress: Progress,
    /// The process id in this process' pid namespace; absent while it does not run.
    pub(super) pid: watch::Sender<Option<u32>>,
    /// Notified after each restart.
    pub(super) restarted: Vec<Arc<Notify>>,
}

impl ControlPlaneProcess {
    /// The process id in this process' pid namespace; absent while it does not run.
    pub(super) fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Runs it until `stop` resolves; then asks it to end and waits.
    pub(super) async fn run(&self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut pauses: Option<ExponentialBackoff> = None;
        let mut was_running = false;
        loop {
            let begun = Instant::now();
            match self.start() {
                Ok(mut child) => {
                    self.pid.send_replace(child.id());
                    if std::mem::replace(&mut was_running, true) {
                        self.restarted.iter().for_each(|notify| notify.notify_one());
                    }
                    let ended = tokio::select! {
                        ended = child.wait() => ended,
                        () = &mut stop => {
                            terminate(child).await;
                            self.pid.send_replace(None);
                            return;
                        }
                    };
                    self.pid.send_replace(None);
                    let how =
                        ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    let message = format!("the control plane ended ({how}); starting it again");
                    self.progress.send(Event::Note { message });
                }
                Err(error) => {
                    let program = self.program.display();
                    let message =
                        format!("the control plane cannot be started: {program}: {error}");
                    self.progress.send(Event::Warning { message });
                }
            }
            // The first restart is immediate, to keep the outage short.
            let pause = match &mut pauses {
                Some(pauses) if begun.elapsed() < STABLE_AFTER => pauses.next().unwrap_or_default(),
                first => {
                    *first = Some(BACKOFF.build());
                    Duration::ZERO
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => return,
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let Sockets {
            api,
            xds,
            dns_udp,
            dns_tcp,
        } = &self.sockets;
        let mut command = Command::new(&self.program);
        command
            .arg("server")
            .env_clear()
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command.envs(
            INHERITED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        for listener in api {
            command.arg("--api").arg(descriptor(listener));
        }
        command.arg("--xds").arg(descriptor(xds));
        command.arg("--dns").arg(descriptor(dns_udp));
        command.arg("--dns").arg(descriptor(dns_tcp));
        command.args(&self.arguments);
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let listeners = api.iter().chain([xds, dns_tcp]).map(AsFd::as_fd);
        let fds: Vec<_> = listeners.chain([dns_udp.as_fd()]).collect();
        // Inheritable only while this child is started. A container started at the same moment may inherit the
        // sockets too; it never accepts from them, so it only wastes descriptors.
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let child = command.spawn();
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        drop(command);
        let output = Receiver::from_owned_fd(reader)?;
        tokio::spawn(self.log.clone().record(output));
        child
    }
}

fn descriptor(socket: &impl AsRawFd) -> String {
    format!("fd://{}", socket.as_raw_fd())
}

async fn terminate(mut child: Child) {
    if let Some(pid) = child
        .id()
        .and_then(|pid| i32::try_from(pid).ok())
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
