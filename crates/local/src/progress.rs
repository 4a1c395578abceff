//! Events of a runtime: for a terminal, as plain lines, or as JSON.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::control_socket::Info;

/// Maximum events that `status` shows.
const MAX_RECENT: usize = 256;

/// Something that happened in a runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step of the start: `fabric`, `control plane`, `manifests`.
    Step {
        /// The step, in words.
        message: String,
    },
    /// A mesh object was created in the control plane.
    MeshObject {
        /// The kind: `VirtualNode`.
        kind: String,
        /// The name in the App Mesh API.
        name: String,
    },
    /// A Cloud Map namespace of virtual nodes did not exist and was created.
    NamespaceCreated {
        /// The name.
        name: String,
    },
    /// Progress of a Deployment or a bare pod.
    Workload {
        /// The cluster.
        cluster: String,
        /// `deployment.apps/front`.
        object: String,
        /// Pods that are ready.
        ready: u32,
        /// Pods wanted.
        total: u32,
        /// The reason why the slowest of them is not ready, if known.
        waiting: Option<String>,
    },
    /// Information.
    Note {
        /// The message.
        message: String,
    },
    /// Something that is probably not intended.
    Warning {
        /// The problem, and a remedy.
        message: String,
    },
    /// The control socket answers; workloads may not be ready.
    Serving {
        /// Names and addresses.
        info: Box<Info>,
    },
    /// Every workload is ready.
    Ready {
        /// Names and addresses, load balancers included.
        info: Box<Info>,
    },
    /// The runtime has failed and ends.
    Failed {
        /// The reason, and a remedy.
        message: String,
    },
}

/// Sends events to the process that started this one, and keeps the latest ones.
#[derive(Clone)]
pub struct Progress {
    send: Arc<dyn Fn(&Event) + Send + Sync>,
    /// Guards the latest events, oldest first.
    recent: Arc<Mutex<VecDeque<Event>>>,
}

impl Progress {
    /// Sends events to `send`.
    pub fn new(send: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self {
            send: Arc::new(send),
            recent: Arc::default(),
        }
    }

    /// Sends an event.
    pub fn send(&self, event: Event) {
        (self.send)(&event);
        let mut recent = self.recent.lock();
        if recent.len() == MAX_RECENT {
            recent.pop_front();
        }
        recent.push_back(event);
    }

    /// The latest events, oldest first.
    pub fn recent(&self) -> Vec<Event> {
        self.recent.lock().iter().cloned().collect()
    }
}

/// The line that carries an event between processes.
pub fn encode(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_default()
}

/// Reads such a line; other text becomes a note.
pub fn decode(line: &str) -> Event {
    serde_json::from_str(line).unwrap_or_else(|_| Event::Note {
        message: line.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_line_and_other_lines_become_notes() {
        let event = Event::Workload {
            cluster: "east".into(),
            object: "deployment.apps/front".into(),
            ready: 1,
            total: 2,
            waiting: None,
        };
        assert_eq!(decode(&encode(&event)), event);
        assert_eq!(
            decode("plain"),
            Event::Note {
                message: "plain".into()
            }
        );
    }

    #[test]
    fn memory_is_bounded() {
        let progress = Progress::new(|_| {});
        for index in 0..MAX_RECENT + 10 {
            progress.send(Event::Note {
                message: index.to_string(),
            });
        }
        assert_eq!(progress.recent().len(), MAX_RECENT);
        assert_eq!(
            progress.recent()[0],
            Event::Note {
                message: "10".into()
            }
        );
    }
}
