//! Supervises the tasks of a process: handles failures, and drains the tasks in stages at shutdown.
//!
//! ```no_run
//! # async fn serve(stop: tombolo_telemetry::supervisor::Stop) -> std::io::Result<()> { Ok(()) }
//! # async fn poll() -> std::io::Result<()> { Ok(()) }
//! # async fn main_task() -> Result<(), tombolo_telemetry::supervisor::TaskError> {
//! use std::time::Duration;
//! use tombolo_telemetry::{Supervisor, supervisor::{Signals, restart_delays}};
//!
//! let mut signals = Signals::listen().expect("the runtime handles signals");
//! let mut supervisor = Supervisor::new();
//! // Stages drain in the order in which they are added.
//! let listeners = supervisor.stage("listeners", Duration::from_secs(11));
//! let background = supervisor.stage("background", Duration::from_secs(1));
//! supervisor.spawn(listeners, "api", |stop| serve(stop));
//! supervisor.spawn_restarting(background, "poller", restart_delays(), |_stop| poll());
//! supervisor.run(async move { drop(signals.received().await) }).await
//! # }
//! ```

mod signals;
#[cfg(test)]
mod tests;

pub use backon::ExponentialBuilder as Delays;
pub use signals::Signals;
pub use tokio_util::sync::CancellationToken as Stop;

use crate::{
    ErrorChain,
    metrics::{Counter, Family, Registry},
    register,
};
use backon::BackoffBuilder;
use futures::FutureExt;
use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, Id, JoinSet},
    time::{Instant, sleep, timeout_at},
};

/// The error type of tasks.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The run time of a restarted task after which its delays start again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The default delays between restarts: 100 ms, doubled up to 30 s, with jitter, without a limit.
pub const fn restart_delays() -> Delays {
    Delays::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(30))
        .with_jitter()
        .without_max_times()
}

/// The reason why a task ended without being stopped.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The task returned without an error.
    #[error("task {task} ended unexpectedly")]
    Ended {
        /// The task's name.
        task: Arc<str>,
    },
    /// The task returned an error.
    #[error("task {task} failed")]
    Failed {
        /// The task's name.
        task: Arc<str>,
        /// The task's error.
        source: Cause,
    },
    /// The task panicked.
    #[error("task {task} panicked: {message}")]
    Panicked {
        /// The task's name.
        task: Arc<str>,
        /// The panic's message.
        message: String,
    },
}

/// A group of tasks that are stopped together, from [`Supervisor::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage(usize);

struct StageState {
    name: &'static str,
    /// Cancelled when the stage drains.
    stop: Stop,
    deadline: Duration,
}

struct Running {
    stage: Stage,
    name: Arc<str>,
    abort: AbortHandle,
}

/// The named tasks of a process, in stages. Dropping it aborts all of them.
///
/// Every task runs on the current tokio runtime. A task that ends has failed, even without an error, unless its
/// stage was stopped before.
#[derive(Default)]
pub struct Supervisor {
    stages: Vec<StageState>,
    tasks: JoinSet<Result<(), TaskError>>,
    running: HashMap<Id, Running>,
    /// The number of restarts of each task.
    restarts: Family<[(&'static str, String); 1], Counter>,
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a stage. Stages drain one after the other in the order in which they were added: those that
    /// accept work first, those that they need last. A stage's tasks have `deadline` to end once they are
    /// stopped; the remaining ones are aborted, and named in the log.
    pub fn stage(&mut self, name: &'static str, deadline: Duration) -> Stage {
        self.stages.push(StageState {
            name,
            stop: Stop::new(),
            deadline,
        });
        Stage(self.stages.len() - 1)
    }

    /// Registers the metrics of restarts.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("telemetry");
        register! { registry;
            "task_restarts" => self.restarts, "Failures after which a task was started again, by task";
        }
    }

    /// Spawns a task whose failure ends the process. `task` gets the token that stops it.
    pub fn spawn<F, E>(
        &mut self,
        stage: Stage,
        name: impl Into<Arc<str>>,
        task: impl FnOnce(Stop) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Cause>,
    {
        let name = name.into();
        let stop = self.stop(stage);
        let future = task(stop.clone());
        self.track(stage, name.clone(), async move {
            let error = failure(&name, future).await;
            unless_stopped(&stop, error)
        });
    }

    /// Spawns a task that is restarted whenever it fails, after the next of `delays`; after a minute without
    /// a failure, the delays start again. If `delays` are finite, the failure after the last one ends the
    /// process. Every failure is logged.
    pub fn spawn_restarting<F, E>(
        &mut self,
        stage: Stage,
        name: impl Into<Arc<str>>,
        delays: Delays,
        mut task: impl FnMut(Stop) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Cause>,
    {
        let name = name.into();
        let stop = self.stop(stage);
        let labels = [("task", name.to_string())];
        let restarts = self.restarts.get_or_create_owned(&labels);
        self.track(stage, name.clone(), async move {
            let mut remaining = delays.build();
            loop {
                let started = Instant::now();
                // Creating the future is part of the task, because it may panic too.
                let made = catch_unwind(AssertUnwindSafe(|| task(stop.clone())));
                let error = match made {
                    Ok(future) => failure(&name, future).await,
                    Err(payload) => TaskError::Panicked {
                        task: name.clone(),
                        message: panic_message(&*payload).to_owned(),
                    },
                };
                if stop.is_cancelled() {
                    return unless_stopped(&stop, error);
                }
                if started.elapsed() >= HEALTHY_AFTER {
                    remaining = delays.build();
                }
                let Some(delay) = remaining.next() else {
                    return Err(error);
                };
                restarts.inc();
                tracing::error!(task = %name, error = %ErrorChain(&error), ?delay, "task failed; restarting");
                tokio::select! {
                    () = sleep(delay) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        });
    }

    /// Runs until `stop` is ready or a task fails for good, then drains all stages. The error is the first
    /// failure; those that follow during the drain are logged. Dropping the future aborts all tasks.
    ///
    /// # Errors
    /// The first failure of a task, if there was one before the end of the drain.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), TaskError> {
        let mut first = None;
        tokio::select! {
            () = stop => tracing::info!("shutting down"),
            error = self.failure() => {
                tracing::error!(error = %ErrorChain(&error), "shutting down");
                first = Some(error);
            }
        }
        for stage in 0..self.stages.len() {
            if let Some(error) = self.drain(Stage(stage)).await {
                match first {
                    None => first = Some(error),
                    Some(_) => {
                        tracing::error!(error = %ErrorChain(&error), "task failed during shutdown")
                    }
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn stop(&self, stage: Stage) -> Stop {
        self.stages[stage.0].stop.clone()
    }

    fn track(
        &mut self,
        stage: Stage,
        name: Arc<str>,
        task: impl Future<Output = Result<(), TaskError>> + Send + 'static,
    ) {
        let abort = self.tasks.spawn(task);
        let running = Running { stage, name, abort };
        self.running.insert(running.abort.id(), running);
    }

    /// Waits for the next task to end. `None` if there are no more. Cancel safe.
    async fn ended(&mut self) -> Option<Result<(), TaskError>> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            // The task was aborted by the drain, which has logged it; a panic is caught inside the task.
            Err(error) => (error.id(), Ok(())),
        };
        self.running.remove(&id);
        Some(result)
    }

    /// Waits for the first failure. Cancel safe.
    async fn failure(&mut self) -> TaskError {
        loop {
            match self.ended().await {
                Some(Err(error)) => return error,
                Some(Ok(())) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Drains a stage; returns the first failure meanwhile.
    async fn drain(&mut self, stage: Stage) -> Option<TaskError> {
        let StageState {
            name,
            stop,
            deadline,
        } = &self.stages[stage.0];
        stop.cancel();
        let (name, deadline) = (*name, Instant::now() + *deadline);
        let mut first = None;
        while self.running.values().any(|running| running.stage == stage) {
            match timeout_at(deadline, self.ended()).await {
                Ok(Some(Err(error))) if first.is_none() => first = Some(error),
                Ok(Some(Err(error))) => {
                    tracing::error!(error = %ErrorChain(&error), "task failed during shutdown");
                }
                Ok(Some(Ok(()))) => {}
                Ok(None) => break,
                Err(_) => {
                    let of_stage = self.running.values().filter(|r| r.stage == stage);
                    let tasks: Vec<_> = of_stage.clone().map(|running| &*running.name).collect();
                    tracing::warn!(
                        stage = name,
                        ?tasks,
                        "aborting tasks that did not end in time"
                    );
                    of_stage.for_each(|running| running.abort.abort());
                    break;
                }
            }
        }
        first
    }
}

/// Runs a task to its end, which is a failure in any case.
async fn failure<E: Into<Cause>>(
    name: &Arc<str>,
    future: impl Future<Output = Result<(), E>>,
) -> TaskError {
    let task = name.clone();
    match catch_panic(future).await {
        Ok(Ok(())) => TaskError::Ended { task },
        Ok(Err(error)) => TaskError::Failed {
            task,
            source: error.into(),
        },
        Err(Panicked(message)) => TaskError::Panicked { task, message },
    }
}

/// A future panicked, with this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// Runs a future that may panic without ending the task that awaits it. Not cancel safe: dropping it drops the future.
///
/// # Errors
/// The panic of the future. State that the future shares with others may be inconsistent then: protect such
/// state with locks that are held for assignments only.
pub async fn catch_panic<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let caught = AssertUnwindSafe(future).catch_unwind().await;
    caught.map_err(|payload| Panicked(panic_message(&*payload).to_owned()))
}

/// Ignores the result of a task that was stopped.
fn unless_stopped(stop: &Stop, error: TaskError) -> Result<(), TaskError> {
    match error {
        TaskError::Ended { .. } if stop.is_cancelled() => Ok(()),
        error => Err(error),
    }
}

/// The message of a panic: the payload of [`std::panic::catch_unwind`] or of a joined thread or task.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(message) => message,
        None => payload
            .downcast_ref::<String>()
            .map_or("without a message", String::as_str),
    }
}

/// Runs `work` on its own thread; the future ends with it. A panic of the thread is a panic of the
/// future, so that a [`Supervisor`] reports it like that of a task. Dropping the future does not end the
/// thread: `work` watches its own [`Stop`].
///
/// # Errors
/// The system cannot create a thread.
pub fn thread<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<impl Future<Output = T> + Send + 'static> {
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            // The future was dropped.
            let _ = done.send(result);
        })?;
    Ok(async move {
        match ended.await.expect("the thread sends before it ends") {
            Ok(result) => result,
            Err(payload) => resume_unwind(payload),
        }
    })
}
