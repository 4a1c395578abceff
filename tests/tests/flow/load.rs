//! A client that sends steady load to a load balancer and counts failures.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tombolo_tests::{Clusters, http, until};

/// Concurrent callers: enough that a request is always in flight.
const CALLERS: usize = 4;
/// Pause between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(2);

/// Load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    answers: Arc<Mutex<BTreeMap<String, usize>>>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts, and returns after the first answers.
    pub(crate) fn on(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicUsize::new(0));
        let answers: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
        let callers = (0..CALLERS)
            .map(|_| {
                let (stop, sent, answers) = (stop.clone(), sent.clone(), answers.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let word = match http::get(address, "/color") {
                            Ok(answer) if answer.status == 200 => answer.text().trim().to_owned(),
                            Ok(answer) => {
                                format!("FAILED {}: {}", answer.status, answer.text().trim())
                            }
                            Err(error) => format!("FAILED {error}"),
                        };
                        *answers.lock().entry(word).or_default() += 1;
                        sent.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        let load = Self {
            stop,
            sent,
            answers,
            callers,
        };
        load.more(20);
        load
    }

    /// Waits until this many further requests were answered.
    pub(crate) fn more(&self, requests: usize) {
        let goal = self.sent.load(Ordering::Relaxed) + requests;
        until("the load goes on", || {
            (self.sent.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Stops; the number of each answer.
    pub(crate) fn stop(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.join().expect("a caller does not panic");
        }
        Arc::into_inner(self.answers)
            .expect("all callers are gone")
            .into_inner()
    }

    /// Stops; every request must have been answered with 200. On a failure the status of the run is printed.
    #[track_caller]
    pub(crate) fn stop_without_failure(self, clusters: &Clusters) {
        let answers = self.stop();
        let failed: Vec<_> = answers
            .iter()
            .filter(|(word, _)| word.starts_with("FAILED"))
            .collect();
        if !failed.is_empty() {
            let pods = clusters.tombolo(&["get", "pods", "-o", "wide"]);
            let status = serde_json::to_string_pretty(&clusters.status()).unwrap_or_default();
            let log = clusters.tombolo(&["logs", "deployment/front", "-c", "envoy"]);
            panic!("{failed:?} of {answers:?}\n{pods}\n{status}\n{log}");
        }
    }
}
