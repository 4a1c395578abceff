//! The control plane as a child process that is started again whenever it ends.
//!
//! Its sockets are opened here and inherited: while it is away, connections wait in their queues and none is
//! refused.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::pod::log::Log;
use crate::progress::{Event, Progress};

/// A control plane that ran at least this long is started again at once.
const STEADY: Duration = Duration::from_secs(5);

/// The longest pause before one that keeps ending is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long it may take to end when asked to.
const GRACE: Duration = Duration::from_secs(3);

/// Variables that it gets from our environment.
const KEPT: [&str; 6] = [
    "PATH",
    "HOME",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "TOMBOLO_LOG",
    "LLVM_PROFILE_FILE",
];

/// The sockets of the control plane.
pub struct Sockets {
    /// The AWS APIs, on the host and in the fabric.
    pub api: Vec<TcpListener>,
    /// Configuration of proxies.
    pub xds: TcpListener,
    /// Names over UDP.
    pub dns_udp: UdpSocket,
    /// Names over TCP.
    pub dns_tcp: TcpListener,
}

/// The control plane.
pub struct ControlPlane {
    program: PathBuf,
    arguments: Vec<String>,
    sockets: Sockets,
    log: Arc<Log>,
    progress: Progress,
    /// The process id in our pid namespace; absent while it is away.
    pid: watch::Sender<Option<u32>>,
    /// Told when it was started again.
    restarted: Vec<Arc<Notify>>,
}

impl ControlPlane {
    /// A control plane that is not running yet. `arguments` are those beside the sockets.
    pub fn new(
        program: PathBuf,
        arguments: Vec<String>,
        sockets: Sockets,
        log: Arc<Log>,
        progress: Progress,
        restarted: Vec<Arc<Notify>>,
    ) -> Self {
        Self {
            program,
            arguments,
            sockets,
            log,
            progress,
            pid: watch::channel(None).0,
            restarted,
        }
    }

    /// The process id in our pid namespace.
    pub fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Runs it until `stop`; then asks it to end and waits.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut failures = 0;
        let mut was_running = false;
        loop {
            let begun = Instant::now();
            match self.start() {
                Ok(mut child) => {
                    self.pid.send_replace(child.id());
                    if std::mem::replace(&mut was_running, true) {
                        self.restarted.iter().for_each(|notify| notify.notify_one());
                    }
                    tokio::select! {
                        ended = child.wait() => {
                            self.pid.send_replace(None);
                            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                            self.progress.send(Event::Note { message: format!("the control plane ended ({how}); starting it again") });
                        }
                        () = &mut stop => {
                            end(child).await;
                            self.pid.send_replace(None);
                            return;
                        }
                    }
                }
                Err(error) => {
                    let message = format!(
                        "the control plane cannot be started: {}: {error}",
                        self.program.display()
                    );
                    self.progress.send(Event::Warning { message });
                }
            }
            failures = if begun.elapsed() >= STEADY {
                0
            } else {
                failures + 1
            };
            // The first restart is immediate: a killed control plane should not be missed.
            let pause = match failures {
                0 | 1 => Duration::ZERO,
                count => Duration::from_millis(50)
                    .saturating_mul(1 << (count - 2).min(6))
                    .min(LONGEST_PAUSE),
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
            KEPT.iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
        for listener in api {
            command.arg("--api").arg(descriptor(listener));
        }
        command
            .arg("--xds")
            .arg(descriptor(xds))
            .arg("--dns")
            .arg(descriptor(dns_udp))
            .arg("--dns")
            .arg(descriptor(dns_tcp));
        command.args(&self.arguments);
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let fds: Vec<_> = api
            .iter()
            .chain([xds, dns_tcp])
            .map(AsFd::as_fd)
            .chain([dns_udp.as_fd()])
            .collect();
        // Inheritable only while this child is made. A container started in the same instant may hold the sockets
        // too; it never accepts from them, so nothing is lost but a descriptor number.
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::empty())?;
        }
        let child = command.spawn();
        for fd in &fds {
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
        }
        drop(command);
        tokio::spawn(
            self.log
                .clone()
                .record(tokio::net::unix::pipe::Receiver::from_owned_fd(reader)?),
        );
        child
    }
}

fn descriptor(socket: &impl AsRawFd) -> String {
    format!("fd://{}", socket.as_raw_fd())
}

async fn end(mut child: Child) {
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
