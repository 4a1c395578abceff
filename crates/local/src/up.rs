//! `up`: check everything, launch the sandbox, tell what happens, and clean up behind it.

pub mod check;
pub mod options;
pub mod show;
pub mod sidecar;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tombolo_linux::sandbox::{Program, Sandbox};

pub use options::{ClusterSource, Engine, Opening, Options, Policy, Problems, Source};

use crate::control::run_dir::{self, Claim};
use crate::control::{Client, Info};
use crate::node::Orders;
use crate::progress::{Event, decode};
use show::{Output, Show, problems};

/// How long the sandbox may take until its control socket answers.
const START: Duration = Duration::from_secs(20);

/// How long it may take to end when asked to.
const STOP: Duration = Duration::from_secs(15);

/// How long its last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is known of a runtime that was started.
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
    dir: Claim,
}

/// Checks everything, then starts a runtime. `program` is our own binary, whose `main` calls
/// [`crate::node::main`]. Events go to `progress` from a thread of their own.
///
/// # Errors
/// Every problem that was found; nothing is left running.
pub async fn start(
    options: Options,
    program: PathBuf,
    mut progress: impl FnMut(Event) + Send + 'static,
) -> Result<Running, Problems> {
    let single = |message: String| Problems(vec![message]);
    let checked = {
        let options = options.clone();
        tokio::task::spawn_blocking(move || check::check(&options))
            .await
            .map_err(|error| single(error.to_string()))??
    };
    for warning in checked.warnings {
        progress(Event::Warning { message: warning });
    }
    let dir = run_dir::of(&options.name).map_err(single)?;
    let dir = Claim::on(&dir).map_err(single)?;
    let orders_path = dir.path().join(run_dir::OPTIONS);
    let api = checked
        .api
        .local_addr()
        .map_err(|error| single(error.to_string()))?;
    let orders = Orders {
        options: Options { api, ..options },
        program: program.clone(),
        run_dir: dir.path().to_owned(),
    };
    let text = serde_json::to_vec(&orders).map_err(|error| single(error.to_string()))?;
    std::fs::write(&orders_path, text)
        .map_err(|error| single(format!("{}: {error}", orders_path.display())))?;

    let (sender, state) = watch::channel(State::default());
    let print = move |line: &str| {
        let event = decode(line);
        progress(event.clone());
        // Only after it was shown: whoever waits for the state prints something of its own next.
        sender.send_modify(|state| match event {
            Event::Serving { info } => state.info = Some(*info),
            Event::Ready { info } => (state.info, state.ready) = (Some(*info), true),
            Event::Failed { message } => state.failed = Some(message),
            _ => {}
        });
    };
    let program = Program {
        path: program,
        args: vec![orders_path.into()],
        env: Vec::new(),
    };
    let sandbox = Sandbox::launch(program, checked.mode, vec![checked.api], print)
        .map_err(|error| single(error.to_string()))?;
    let mut waiting = state.clone();
    let serving = waiting.wait_for(|state| state.info.is_some() || state.failed.is_some());
    let message = tokio::select! {
        seen = serving => match seen.map(|seen| (seen.info.clone(), seen.failed.clone())) {
            Ok((Some(info), None)) => return Ok(Running { sandbox, state, info, dir }),
            Ok((_, Some(message))) => message,
            _ => "the runtime ended before it answered".to_owned(),
        },
        code = sandbox.wait() => last_words(state.clone()).await.unwrap_or_else(|| format!("the runtime ended with {code} before it answered")),
        () = tokio::time::sleep(START) => format!("the runtime does not answer after {} s", START.as_secs()),
    };
    Err(single(message))
}

impl Running {
    /// Who and where it is. Load balancers are complete once it is ready.
    pub fn info(&self) -> Info {
        self.state
            .borrow()
            .info
            .clone()
            .unwrap_or_else(|| self.info.clone())
    }

    /// A client of its control socket.
    pub fn client(&self) -> Client {
        Client::at(self.dir.path())
    }

    /// Waits until every workload was ready.
    ///
    /// # Errors
    /// What still waits when `patience` is over, or why the runtime ended.
    pub async fn ready(&self, patience: Duration) -> Result<(), String> {
        let mut state = self.state.clone();
        let ready = async {
            let state = state
                .wait_for(|state| state.ready || state.failed.is_some())
                .await;
            state
                .map(|state| state.clone())
                .map_err(|_| "the runtime ended".to_owned())
        };
        tokio::select! {
            state = ready => match state? {
                State { failed: Some(message), .. } => Err(message),
                _ => Ok(()),
            },
            code = self.sandbox.wait() => Err(self.failure(code).await),
            () = tokio::time::sleep(patience) => Err(self.waiting(patience).await),
        }
    }

    async fn failure(&self, code: i32) -> String {
        let told = last_words(self.state.clone()).await;
        told.unwrap_or_else(|| format!("the runtime ended with {code}"))
    }

    async fn waiting(&self, patience: Duration) -> String {
        let mut text = format!("not everything is ready after {} s", patience.as_secs());
        if let Ok(status) = self.client().status().await {
            for workload in status
                .workloads
                .iter()
                .filter(|workload| !workload.complete)
            {
                let waiting = workload.waiting.as_deref().unwrap_or("starting");
                text.push_str(&format!(
                    "\n{}: {}: {}/{}: {waiting}",
                    workload.cluster, workload.object, workload.ready, workload.total
                ));
            }
        }
        text
    }

    /// Waits until Ctrl-C, SIGTERM, `down`, or the end of the runtime; nothing is left behind. The exit code.
    pub async fn wait(self) -> i32 {
        let Self {
            sandbox,
            state,
            dir,
            ..
        } = self;
        let code = sandbox.supervise().await;
        drop(dir);
        match last_words(state).await {
            Some(_) => 1,
            None => code,
        }
    }

    /// Stops it and waits until nothing is left.
    pub async fn stop(self) {
        self.sandbox.stop();
        if tokio::time::timeout(STOP, self.sandbox.wait())
            .await
            .is_err()
        {
            self.sandbox.kill();
            self.sandbox.wait().await;
        }
    }
}

/// Why a runtime that has ended failed, if it said so. What it said last may still be on its way.
async fn last_words(mut state: watch::Receiver<State>) -> Option<String> {
    let said = state.wait_for(|state| state.failed.is_some());
    let said = tokio::time::timeout(LAST_WORDS, said).await.ok()?.ok()?;
    said.failed.clone()
}

/// Runs until stopped, and shows what happens. The exit code.
pub async fn run(options: Options, program: PathBuf, output: Output) -> i32 {
    let mut view = Show::new(output);
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
        Err(found) => {
            problems(output, &found);
            1
        }
    }
}
