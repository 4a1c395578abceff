//! `up`: checks everything, launches the sandbox, shows progress, and cleans up.

mod options;
pub(crate) mod preflight;
mod progress_view;
pub(crate) mod sidecar_config;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tombolo_linux::sandbox::{Program, Sandbox};

pub use options::{ClusterSource, Errors, Options, Policy, PortRule, ProxyKind, Source};
pub use progress_view::{Output, ProgressView};

use crate::control_socket::run_dir::{self, RunDir};
use crate::control_socket::{Client, Info};
use crate::daemon::LaunchSpec;
use crate::progress::{Event, decode};

/// Deadline for the control socket of a new sandbox to answer.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Deadline for a graceful stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Deadline for the last event of a runtime that ended.
const LAST_EVENT_TIMEOUT: Duration = Duration::from_secs(1);

/// The state of a runtime, collected from its events.
#[derive(Debug, Clone, Default)]
struct State {
    info: Option<Info>,
    ready: bool,
    failed: Option<String>,
}

/// A runtime that was started by this process and ends with it.
pub struct Running {
    sandbox: Sandbox,
    state: watch::Receiver<State>,
    info: Info,
    dir: RunDir,
}

/// The reason why a runtime is not ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It failed; its own message.
    #[error("{0}")]
    Failed(String),
    /// It ended with this code, without a message.
    #[error("the runtime ended with {0}")]
    Exited(i32),
    /// It ended with an unknown code.
    #[error("the runtime ended")]
    Ended,
    /// Workloads are incomplete at the deadline.
    #[error("not everything is ready after {} s{workloads}", .after.as_secs())]
    Timeout {
        /// The time waited.
        after: Duration,
        /// The incomplete workloads, one line each.
        workloads: String,
    },
}

/// Checks everything, then starts a runtime. `program` is Tombolo's binary, whose `main` calls
/// [`crate::daemon::main`]. Events go to `progress` from a thread of their own.
///
/// # Errors
/// Every problem found; nothing is left running.
pub async fn start(
    options: Options,
    program: PathBuf,
    mut progress: impl FnMut(Event) + Send + 'static,
) -> Result<Running, Errors> {
    let checked = {
        let options = options.clone();
        let check = tokio::task::spawn_blocking(move || preflight::check(&options));
        check.await.map_err(Errors::one)??
    };
    for warning in checked.warnings {
        progress(Event::Warning { message: warning });
    }
    let dir = run_dir::of(&options.name).map_err(Errors::one)?;
    let dir = RunDir::create(&dir).map_err(Errors::one)?;
    let launch_spec_path = dir.path().join(run_dir::OPTIONS);
    let api = checked.api.local_addr().map_err(Errors::one)?;
    let launch_spec = LaunchSpec {
        options: Options { api, ..options },
        program: program.clone(),
        run_dir: dir.path().to_owned(),
    };
    let text = serde_json::to_vec(&launch_spec).map_err(Errors::one)?;
    std::fs::write(&launch_spec_path, text)
        .map_err(|error| Errors::one(format!("{}: {error}", launch_spec_path.display())))?;

    let (sender, state) = watch::channel(State::default());
    let print = move |line: &str| {
        let event = decode(line);
        progress(event.clone());
        // Sent after it was shown: tasks that wait for the state print their own output next.
        sender.send_modify(|state| match event {
            Event::Serving { info } => state.info = Some(*info),
            Event::Ready { info } => (state.info, state.ready) = (Some(*info), true),
            Event::Failed { message } => state.failed = Some(message),
            _ => {}
        });
    };
    let program = Program {
        path: program,
        args: vec![launch_spec_path.into()],
        env: Vec::new(),
    };
    let sandbox =
        Sandbox::launch(program, checked.mode, vec![checked.api], print).map_err(Errors::one)?;
    let mut waiting = state.clone();
    let serving = waiting.wait_for(|state| state.info.is_some() || state.failed.is_some());
    let message = tokio::select! {
        seen = serving => match seen.map(|seen| (seen.info.clone(), seen.failed.clone())) {
            Ok((Some(info), None)) => return Ok(Running { sandbox, state, info, dir }),
            Ok((_, Some(message))) => message,
            _ => "the runtime ended before it answered".to_owned(),
        },
        code = sandbox.wait() => failure(state.clone()).await.unwrap_or_else(|| format!("the runtime ended with {code} before it answered")),
        () = tokio::time::sleep(START_TIMEOUT) => format!("the runtime does not answer after {} s", START_TIMEOUT.as_secs()),
    };
    Err(Errors::one(message))
}

impl Running {
    /// Names, addresses and clusters. Load balancers are complete once it is ready.
    pub fn info(&self) -> Info {
        let info = self.state.borrow().info.clone();
        info.unwrap_or_else(|| self.info.clone())
    }

    /// A client of the control socket.
    pub fn client(&self) -> Client {
        Client::at(self.dir.path())
    }

    /// Waits until every workload was ready, at most for `timeout`.
    ///
    /// # Errors
    /// The incomplete workloads at the deadline, or the reason why the runtime ended.
    pub async fn ready(&self, timeout: Duration) -> Result<(), ReadyError> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| state.ready || state.failed.is_some());
        tokio::select! {
            state = ready => match state.map(|state| state.failed.clone()) {
                Ok(None) => Ok(()),
                Ok(Some(message)) => Err(ReadyError::Failed(message)),
                Err(_) => Err(ReadyError::Ended),
            },
            code = self.sandbox.wait() => Err(match failure(self.state.clone()).await {
                Some(message) => ReadyError::Failed(message),
                None => ReadyError::Exited(code),
            }),
            () = tokio::time::sleep(timeout) => Err(ReadyError::Timeout {
                after: timeout,
                workloads: self.incomplete().await,
            }),
        }
    }

    /// The incomplete workloads, each on a line of its own.
    async fn incomplete(&self) -> String {
        let status = self.client().status().await.unwrap_or_default();
        let workloads = status
            .workloads
            .iter()
            .filter(|workload| !workload.complete);
        let lines = workloads.map(|workload| {
            let waiting = workload.waiting.as_deref().unwrap_or("starting");
            format!(
                "\n{}: {}: {}/{}: {waiting}",
                workload.cluster, workload.object, workload.ready, workload.total
            )
        });
        lines.collect()
    }

    /// Waits until Ctrl-C, SIGTERM, `down`, or the end of the runtime; everything is cleaned up. The exit code.
    pub async fn wait(self) -> i32 {
        let Self {
            sandbox,
            state,
            dir,
            ..
        } = self;
        let code = sandbox.supervise().await;
        drop(dir);
        match failure(state).await {
            Some(_) => 1,
            None => code,
        }
    }

    /// Stops the runtime and waits until everything is cleaned up.
    pub async fn stop(self) {
        self.sandbox.stop();
        let ended = tokio::time::timeout(STOP_TIMEOUT, self.sandbox.wait());
        if ended.await.is_err() {
            self.sandbox.kill();
            self.sandbox.wait().await;
        }
    }
}

/// The failure message of a runtime that has ended, if there is one; its last event may still arrive.
async fn failure(mut state: watch::Receiver<State>) -> Option<String> {
    let failed = state.wait_for(|state| state.failed.is_some());
    let failed = tokio::time::timeout(LAST_EVENT_TIMEOUT, failed)
        .await
        .ok()?
        .ok()?;
    failed.failed.clone()
}

/// Runs until stopped, and shows progress. The exit code.
pub async fn run(options: Options, program: PathBuf, output: Output) -> i32 {
    let mut view = ProgressView::new(output);
    let show = move |event: Event| {
        view.event(&event);
        if output != Output::Json && matches!(event, Event::Ready { .. }) {
            println!("Ctrl-C stops everything.");
        }
    };
    match start(options, program, show).await {
        Ok(running) => {
            let code = running.wait().await;
            if code != 0 && output != Output::Json {
                eprintln!("error: the runtime ended with {code}; all that it ran is gone");
            }
            code
        }
        Err(errors) => {
            progress_view::show_errors(output, &errors);
            1
        }
    }
}
