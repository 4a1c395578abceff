//! A running proxy: its threads and its shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::{LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tombolo_telemetry::listen::{self, ListenOptions};
use tombolo_telemetry::supervisor::Signals;

use crate::access_log::Files;
use crate::admin::{self, ServedPaths};
use crate::control::Control;
use crate::descriptor_budget::{self, Descriptors};
use crate::generation::Generation;
use crate::metrics::Registry;
use crate::options::Options;
use crate::worker::{self, Phase, WorkerContext};

/// Time that the process has to close connections after the drain time.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time without a client connection after which the drain ends early.
const EMPTY_FOR: Duration = Duration::from_millis(300);

/// The reason why a proxy could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The admin address or the metrics address cannot be bound.
    #[error("cannot listen on {address}; choose another {variable}")]
    Bind {
        /// The configured address.
        address: SocketAddr,
        /// The environment variable that sets it.
        variable: &'static str,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// A thread or its runtime could not be created.
    #[error("thread {name} cannot start")]
    Start {
        /// The thread's name.
        name: String,
        /// The error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The signals that end the process cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// A thread ended by a panic.
    #[error("thread {0} panicked")]
    Panicked(String),
}

/// A proxy that runs on its own threads until [`Proxy::shutdown`].
pub struct Proxy {
    phase: Arc<watch::Sender<Phase>>,
    generations: watch::Receiver<Arc<Generation>>,
    admin: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
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
    /// When the admin address is in use or a thread cannot be created; threads that were started are stopped again. A
    /// missing control plane is not an error: the proxy keeps trying.
    pub fn start(options: Options) -> Result<Self, Error> {
        let options = Arc::new(options);
        let registry = Arc::new(Registry::default());
        let (publisher, generations) = watch::channel(Arc::new(Generation::default()));
        let (phase, _) = watch::channel(Phase::Serving);
        let bound = bind(&options)?;
        let address = |paths| {
            let socket = bound.iter().find(|(of, _)| *of == paths);
            socket.and_then(|(_, socket)| socket.local_addr().ok())
        };
        let mut proxy = Self {
            phase: Arc::new(phase),
            generations,
            admin: address(ServedPaths::All),
            metrics: address(ServedPaths::Metrics),
            threads: Vec::new(),
            registry,
            drain: options.drain,
        };
        match proxy.spawn_all(&options, publisher, bound) {
            Ok(()) => Ok(proxy),
            Err(error) => {
                proxy.phase.send_replace(Phase::Ended);
                // The first error is returned.
                let _ = proxy.join();
                Err(error)
            }
        }
    }

    fn spawn_all(
        &mut self,
        options: &Arc<Options>,
        publisher: watch::Sender<Arc<Generation>>,
        bound: Vec<(ServedPaths, std::net::TcpListener)>,
    ) -> Result<(), Error> {
        let files = Arc::new(Files::default());
        let descriptors = Descriptors::new(
            options
                .max_open_files
                .unwrap_or_else(descriptor_budget::max_open_files),
        );
        for index in 0..options.worker_count() {
            let context = WorkerContext {
                index,
                registry: self.registry.clone(),
                files: files.clone(),
                descriptors: descriptors.clone(),
                mark: options.socket_mark,
                generations: self.generations.clone(),
                phase: self.phase.subscribe(),
            };
            self.spawn(&format!("worker-{index}"), build_runtime, |runtime| {
                worker::run(context, runtime);
            })?;
        }
        let admin = admin::State {
            options: options.clone(),
            registry: self.registry.clone(),
            generations: self.generations.clone(),
            phase: self.phase.clone(),
            started: Instant::now(),
        };
        let mut phases = self.phase.subscribe();
        let (options, registry) = (options.clone(), self.registry.clone());
        self.spawn("control", build_runtime, |runtime| {
            let control = Control::new(options, registry, publisher);
            runtime.block_on(async move {
                tokio::select! {
                    () = control.run() => {}
                    () = admin::serve(bound, admin) => {}
                    _ = phases.wait_for(|phase| *phase == Phase::Ended) => {}
                }
            });
        })
    }

    /// Starts a thread and waits until it has built its runtime, which has to happen on the thread that runs it.
    fn spawn(
        &mut self,
        name: &str,
        build: impl FnOnce() -> io::Result<LocalRuntime> + Send + 'static,
        run: impl FnOnce(&LocalRuntime) + Send + 'static,
    ) -> Result<(), Error> {
        let failed = |source| Error::Start {
            name: name.to_owned(),
            source,
        };
        let (report, outcome) = sync_channel(1);
        let watchdog = Watchdog(self.phase.clone());
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _watchdog = watchdog;
                let (outcome, runtime) = match build() {
                    Ok(runtime) => (Ok(()), Some(runtime)),
                    Err(error) => (Err(error), None),
                };
                // The channel has capacity for one, and the starter waits for it.
                let _ = report.try_send(outcome);
                if let Some(runtime) = runtime {
                    run(&runtime);
                }
            })
            .map_err(failed)?;
        self.threads.push(thread);
        match outcome.recv() {
            Ok(outcome) => outcome.map_err(failed),
            Err(_) => Err(Error::Panicked(name.to_owned())),
        }
    }

    /// The bound admin address; differs from the options when they asked for port 0.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The bound metrics address, if metrics are served to other hosts.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// The bound address of a current listener, by name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<SocketAddr> {
        let generation = self.generations.borrow();
        generation
            .listeners
            .iter()
            .find(|bound| &*bound.listener.name == name)
            .map(|bound| bound.socket.address)
    }

    /// Whether a configuration has been adopted.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.generations.borrow().number > 0
    }

    /// Drains, closes and joins all threads.
    ///
    /// Responses say that their connection closes; after the drain time, or once no client is connected, nothing more
    /// is accepted and the remaining connections are closed.
    ///
    /// # Errors
    ///
    /// When a thread had panicked.
    pub fn shutdown(self) -> Result<(), Error> {
        advance(&self.phase, Phase::Draining);
        if *self.phase.borrow() == Phase::Draining {
            self.wait_until_empty(Instant::now() + self.drain, EMPTY_FOR);
        }
        self.phase.send_replace(Phase::Closing);
        self.wait_until_empty(Instant::now() + CLOSE_TIMEOUT, Duration::ZERO);
        self.phase.send_replace(Phase::Ended);
        self.join()
    }

    fn join(self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            if thread.join().is_err() && outcome.is_ok() {
                outcome = Err(Error::Panicked(name));
            }
        }
        outcome
    }

    fn wait_until_empty(&self, deadline: Instant, quiet: Duration) {
        let mut empty_since = None;
        while Instant::now() < deadline {
            let totals = self.registry.aggregate();
            let listeners = totals.iter().filter(|totals| totals.scope == "listener");
            let active: u64 = listeners
                .map(|totals| totals.get("downstream_cx_active"))
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

    /// Blocks until SIGTERM, SIGINT, `quitquitquit` or a panic of a thread ends the proxy.
    fn wait_for_the_end(&self) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Signals)?;
        let mut phases = self.phase.subscribe();
        runtime.block_on(async move {
            let mut signals = Signals::listen().map_err(Error::Signals)?;
            // Both branches are cancel safe.
            tokio::select! {
                signal = signals.received() => tracing::info!(signal, "draining"),
                _ = phases.wait_for(|phase| *phase >= Phase::Closing) => {}
            }
            Ok(())
        })
    }
}

fn build_runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

/// Ends the process when its thread panics: without a worker the connections of its sockets are not served, and
/// without the control thread there are no updates and no health checks. The container runtime restarts the process.
struct Watchdog(Arc<watch::Sender<Phase>>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            tracing::error!(thread = name, "a thread panicked; the proxy ends");
            advance(&self.0, Phase::Closing);
        }
    }
}

/// Advances to a phase, unless that or a later one is reached.
pub(crate) fn advance(phase: &watch::Sender<Phase>, to: Phase) {
    phase.send_if_modified(|phase| std::mem::replace(phase, to.max(*phase)) < to);
}

/// The sockets of the admin endpoints.
fn bind(options: &Options) -> Result<Vec<(ServedPaths, std::net::TcpListener)>, Error> {
    let wanted = [
        (ServedPaths::All, options.admin, "ENVOY_ADMIN_ACCESS_PORT"),
        (
            ServedPaths::Metrics,
            options.metrics,
            "TOMBOLO_METRICS_ADDRESS",
        ),
    ];
    let ports = wanted.map(|(_, address, _)| address.map(|address| address.port()));
    let listen = ListenOptions {
        // Port reuse lets the admin port on loopback and the same port on all addresses coexist; the kernel prefers
        // the socket with the more specific address.
        reuse_port: ports[0] == ports[1] && ports[0] != Some(0),
        ..ListenOptions::default()
    };
    let mut bound = Vec::new();
    for (paths, address, variable) in wanted {
        let Some(address) = address else { continue };
        let socket = listen::tcp_with(address, &listen).map_err(|source| Error::Bind {
            address,
            variable,
            source,
        })?;
        bound.push((paths, socket));
    }
    Ok(bound)
}

/// Runs a proxy until a signal or `POST /quitquitquit` ends it.
///
/// # Errors
///
/// As [`Proxy::start`] and [`Proxy::shutdown`].
pub fn run(options: Options) -> Result<(), Error> {
    descriptor_budget::raise_open_files();
    let proxy = Proxy::start(options)?;
    proxy.wait_for_the_end()?;
    proxy.shutdown()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> Options {
        Options {
            workers: 1,
            drain: Duration::ZERO,
            ..Options::default()
        }
    }

    #[test]
    fn a_thread_that_panics_ends_the_proxy_and_is_named() {
        let mut proxy = Proxy::start(idle()).expect("starts");
        let spawned = proxy.spawn("doomed", build_runtime, |_| panic!("on purpose"));
        assert!(spawned.is_ok(), "it was built");
        proxy.wait_for_the_end().expect("the panic is the end");
        let error = proxy.shutdown().expect_err("a thread panicked");
        assert_eq!(error.to_string(), "thread doomed panicked");
    }

    #[test]
    fn a_thread_that_cannot_be_built_is_an_error() {
        let mut proxy = Proxy::start(idle()).expect("starts");
        let error = proxy
            .spawn("poor", || Err(io::ErrorKind::OutOfMemory.into()), |_| {})
            .expect_err("not built");
        assert_eq!(error.to_string(), "thread poor cannot start");
        let error = proxy.spawn("doomed", || panic!("on purpose"), |_| {});
        assert!(matches!(error, Err(Error::Panicked(name)) if name == "doomed"));
        assert!(proxy.shutdown().is_err());
    }
}
