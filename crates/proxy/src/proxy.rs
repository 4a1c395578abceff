//! A running proxy: its threads, and how it goes away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::admin;
use crate::control::Control;
use crate::generation::Generation;
use crate::log::Files;
use crate::metrics::Registry;
use crate::options::Options;
use crate::worker::{self, Phase, Seat};

/// How long the process may take to close connections after the drain time.
const CLOSING: Duration = Duration::from_secs(2);
/// With no client connected for this long, draining has nothing to wait for.
const EMPTY: Duration = Duration::from_millis(300);

/// Why a proxy could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin address cannot be listened on.
    #[error("admin address {address}: {source}; choose another ENVOY_ADMIN_ACCESS_PORT")]
    Admin {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A thread or its runtime could not be made.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
    /// A thread ended by a panic.
    #[error("thread {0} panicked")]
    Panicked(String),
}

/// A proxy that runs on its own threads until [`Proxy::shutdown`].
pub struct Proxy {
    phase: Arc<watch::Sender<Phase>>,
    generations: watch::Receiver<Arc<Generation>>,
    admin: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
    registry: Arc<Registry>,
    drain: Duration,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("admin", &self.admin)
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts the control thread, the workers and the admin listener.
    ///
    /// # Errors
    ///
    /// When the admin address is in use or threads cannot be made. A missing control plane is not an error: the proxy
    /// keeps trying.
    pub fn start(options: Options) -> Result<Self, Error> {
        let options = Arc::new(options);
        let registry = Arc::new(Registry::default());
        let (publisher, generations) = watch::channel(Arc::new(Generation::default()));
        let (phase, phases) = watch::channel(Phase::Serving);
        let phase = Arc::new(phase);
        let files = Arc::new(Files::default());
        let bound = options
            .admin
            .map(|address| {
                std::net::TcpListener::bind(address)
                    .map_err(|source| Error::Admin { address, source })
            })
            .transpose()?;
        let mut proxy = Self {
            phase: phase.clone(),
            generations: generations.clone(),
            admin: bound.as_ref().and_then(|bound| bound.local_addr().ok()),
            threads: Vec::new(),
            registry: registry.clone(),
            drain: options.drain,
        };
        for index in 0..options.worker_count() {
            let seat = Seat {
                index,
                registry: registry.clone(),
                files: files.clone(),
                mark: options.socket_mark,
                generations: generations.clone(),
                phase: phases.clone(),
            };
            proxy.spawn(&format!("worker-{index}"), move || {
                if let Err(error) = worker::run(seat) {
                    tracing::error!(%error, index, "worker cannot run");
                }
            })?;
        }
        let admin = admin::State {
            options: options.clone(),
            registry: registry.clone(),
            generations: generations.clone(),
            phase: phase.clone(),
            started: Instant::now(),
        };
        // A local runtime lives where it is built, so the thread says whether it could be.
        let (built, outcome) = std::sync::mpsc::sync_channel(1);
        proxy.spawn("control", move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(tokio::runtime::LocalOptions::default());
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = built.send(Err(error));
                    return;
                }
            };
            let _ = built.send(Ok(()));
            let control = Control::new(options, registry, publisher);
            runtime.block_on(async move {
                let mut phases = phases;
                tokio::select! {
                    () = control.run() => {}
                    () = admin::serve(bound, admin) => {}
                    _ = phases.wait_for(|phase| *phase == Phase::Ended) => {}
                }
            });
        })?;
        outcome
            .recv()
            .map_err(|_| Error::Panicked("control".to_owned()))??;
        Ok(proxy)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        self.threads.push(
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(body)?,
        );
        Ok(())
    }

    /// Where the admin endpoints listen; differs from the options when they asked for port 0.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The bound address of a listener in force, by name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        let generation = self.generations.borrow();
        generation
            .doors
            .iter()
            .find(|door| &*door.listener.name == name)
            .map(|door| door.socket.address)
    }

    /// Whether a configuration has been adopted.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.generations.borrow().number > 0
    }

    /// Drains, closes and joins all threads.
    ///
    /// Responses say that their connection closes; after the drain time, or once no client is connected, nothing more
    /// is accepted and what is left is closed.
    ///
    /// # Errors
    ///
    /// When a thread had panicked.
    pub fn shutdown(self) -> Result<(), Error> {
        self.phase.send_replace(Phase::Draining);
        let deadline = Instant::now() + self.drain;
        self.wait_until_empty(deadline, EMPTY);
        self.phase.send_replace(Phase::Closing);
        self.wait_until_empty(Instant::now() + CLOSING, Duration::ZERO);
        self.phase.send_replace(Phase::Ended);
        let mut outcome = Ok(());
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            if thread.join().is_err() {
                outcome = Err(Error::Panicked(name));
            }
        }
        outcome
    }

    fn wait_until_empty(&self, deadline: Instant, quiet: Duration) {
        let mut empty_since = None;
        while Instant::now() < deadline {
            let active: u64 = self
                .registry
                .totals()
                .iter()
                .filter(|totals| totals.scope == "listener")
                .flat_map(|totals| &totals.values)
                .filter(|(name, ..)| *name == "downstream_cx_active")
                .map(|(.., value)| *value)
                .sum();
            if active == 0 {
                let since = *empty_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= quiet {
                    return;
                }
            } else {
                empty_since = None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Blocks until SIGTERM, SIGINT or a `quitquitquit` asks the proxy to end.
    fn wait_for_the_end(&self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut phases = self.phase.subscribe();
        runtime.block_on(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = phases.wait_for(|phase| *phase >= Phase::Closing) => {}
            }
            Ok(())
        })
    }
}

/// Runs a proxy until a signal or `POST /quitquitquit` ends it.
///
/// # Errors
///
/// As [`Proxy::start`] and [`Proxy::shutdown`].
pub fn run(options: Options) -> Result<(), Error> {
    let proxy = Proxy::start(options)?;
    proxy.wait_for_the_end()?;
    proxy.shutdown()
}
