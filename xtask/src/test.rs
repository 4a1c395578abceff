//! All tests, with everything they need.

use crate::{
    kubernetes::{self, Outcome},
    process::{self, Result, cargo, is_ci, root},
    tidy,
    tools::Tools,
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};
use tokio::signal::unix::{SignalKind, signal};

/// The package whose tests need clusters, and those tests.
const CLUSTER_TESTS: (&str, [&str; 2]) = ("tombolo-tests", ["charts", "kubernetes"]);

pub(crate) fn run(words: &[&str]) -> Result<()> {
    tidy::run()?;
    let tools = Tools::fetch()?;
    let tombolo = process::target().join("release/tombolo");
    let interrupts = Interrupts::handle()?;
    let needs_clusters = needs_clusters(words);
    // Programs of Kubernetes that have to be built first are built beside ours: both have steps that leave a core idle.
    let prepared = std::thread::scope(|scope| {
        let prepared = needs_clusters.then(|| scope.spawn(kubernetes::prepare));
        // The whole-mesh tests drive the released build.
        interrupts.run(cargo().args(["build", "--release", "--package", "tombolo"]))?;
        if needs_clusters {
            let own = words.iter().take_while(|word| **word != "--");
            let mut build = cargo();
            interrupts.run(build.args(["test", "--workspace", "--no-run"]).args(own))?;
        }
        let prepared = prepared.map(|thread| thread.join().expect("it does not panic"));
        prepared.transpose()
    })?;
    let mut test = cargo();
    test.args(["test", "--workspace"])
        .args(words)
        .env("TOMBOLO_BIN", &tombolo)
        .env("TOMBOLO_ENVOY", tools.envoy()?)
        .env("TOMBOLO_AWS", tools.program("aws"))
        .env("TOMBOLO_PYTHON", tools.program("python"))
        .env("TOMBOLO_NODE", tools.node())
        .env("TOMBOLO_NODE_MODULES", tools.node_modules());
    for (variable, folder) in BESIDE {
        if let Some(path) = beside(variable, folder) {
            test.env(variable, path);
        }
    }
    let _clusters = match prepared {
        Some(Outcome::Done) => Clusters::up(&tombolo, &mut test)?,
        Some(Outcome::Skipped(why)) => skip(&why, &mut test)?,
        None => None,
    };
    interrupts.run(&mut test)
}

/// Clusters that are up for as long as this lives. Those that were up before stay.
struct Clusters {
    is_ours: bool,
}

impl Clusters {
    fn up(tombolo: &Path, test: &mut Command) -> Result<Option<Self>> {
        let is_ours = !kubernetes::is_up();
        match kubernetes::up(&kubernetes::Up::for_tests(), Some(tombolo))? {
            Outcome::Done => {
                test.env("TOMBOLO_KUBERNETES", kubernetes::directory());
                Ok(Some(Self { is_ours }))
            }
            Outcome::Skipped(why) => skip(&why, test),
        }
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = kubernetes::down()
        {
            eprintln!("error: {error}");
        }
    }
}

/// Tests that need clusters say why there are none. In CI nothing runs without them.
fn skip(why: &str, test: &mut Command) -> Result<Option<Clusters>> {
    if is_ci() {
        return Err(format!("no clusters of Kubernetes: {why}"));
    }
    eprintln!("SKIPPED: clusters of Kubernetes: {why}");
    test.env("TOMBOLO_KUBERNETES_SKIPPED", why);
    Ok(None)
}

/// Whether the tests that these words choose need clusters.
fn needs_clusters(words: &[&str]) -> bool {
    let (package, cluster_tests) = CLUSTER_TESTS;
    let mut packages = Vec::new();
    let mut tests = Vec::new();
    let mut words = words.iter().take_while(|word| **word != "--");
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (*word, None),
        };
        let mut value = || value.or_else(|| words.next().copied());
        match option {
            "-p" | "--package" => packages.extend(value()),
            "--test" => tests.extend(value()),
            "--lib" | "--bins" | "--doc" => tests.push(option),
            _ => {}
        }
    }
    (packages.is_empty() || packages.contains(&package))
        && (tests.is_empty() || tests.iter().any(|test| cluster_tests.contains(test)))
}

/// SIGINT and SIGTERM end what runs and not this program, so that it ends clusters before it ends.
struct Interrupts {
    child: Arc<AtomicU32>,
    is_interrupted: Arc<AtomicBool>,
}

impl Interrupts {
    fn handle() -> Result<Self> {
        let own = Self {
            child: Arc::default(),
            is_interrupted: Arc::default(),
        };
        let failed = |error: std::io::Error| format!("signals cannot be handled: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(failed)?;
        let both = [SignalKind::interrupt(), SignalKind::terminate()];
        let [interrupt, terminate] = both.map(|kind| {
            let _context = runtime.enter();
            signal(kind).map_err(failed)
        });
        let (mut interrupt, mut terminate) = (interrupt?, terminate?);
        let (child, is_interrupted) = (own.child.clone(), own.is_interrupted.clone());
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    is_interrupted.store(true, Ordering::SeqCst);
                    let pid = i32::try_from(child.load(Ordering::SeqCst)).unwrap_or(0);
                    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                        // A terminal has sent it to the child as well, which may have ended.
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                    }
                }
            });
        });
        Ok(own)
    }

    /// Runs a program to its end, unless a signal has come.
    fn run(&self, command: &mut Command) -> Result<()> {
        if self.is_interrupted.load(Ordering::SeqCst) {
            return Err("interrupted".to_owned());
        }
        let result = process::run_known(command, |child| {
            self.child.store(child, Ordering::SeqCst);
        });
        self.child.store(0, Ordering::SeqCst);
        if self.is_interrupted.load(Ordering::SeqCst) {
            return Err("interrupted".to_owned());
        }
        result
    }
}

/// What lies beside the checkout, by the variables that tests know it by: the public walkthroughs, and transcripts of other
/// control planes.
const BESIDE: [(&str, &str); 2] = [
    ("TOMBOLO_CORPUS", "../shared/corpus"),
    ("TOMBOLO_ORACLE", "../shared/oracle"),
];

/// The folder when its variable does not name one already. `None` when it does not exist; the tests that need it are then
/// skipped, which is a failure with `CI=true`.
fn beside(variable: &str, folder: &str) -> Option<PathBuf> {
    if std::env::var_os(variable).is_some() {
        return None;
    }
    let path = root().join(folder).canonicalize();
    path.ok().filter(|path| path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_started_for_words_that_may_choose_a_test_that_needs_them() {
        for (words, needed) in [
            (["some_test"].as_slice(), true),
            (&[], true),
            (&["--", "--nocapture"], true),
            (&["-p", "tombolo-tests"], true),
            (&["-p", "tombolo-tests", "--test", "kubernetes"], true),
            (&["--test=flow", "--test=kubernetes"], true),
            (&["-p", "tombolo-model"], false),
            (&["--package=tombolo-model"], false),
            (&["-p", "tombolo-tests", "--test", "charts"], true),
            (&["--test", "flow"], false),
            (&["--lib"], false),
        ] {
            assert_eq!(needs_clusters(words), needed, "{words:?}");
        }
    }
}
