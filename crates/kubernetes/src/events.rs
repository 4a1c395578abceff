//! Events: what `kubectl describe` shows below an object. Written in the background, a repeated one counted.
//!
//! A notice is held back for a moment: when manifests are applied, objects that refer to each other come one after the
//! other, and what is settled by the next one is nobody's concern.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tombolo_kube::crd::{API_VERSION, Resource};
use tombolo_telemetry::ErrorChain;

use crate::client::{call, call_existing};
use crate::metrics::Metrics;

/// Events that may wait to be written. Further ones are dropped and counted.
const QUEUE: usize = 1000;
/// Events that are remembered in order to count repeated ones.
const REMEMBERED: usize = 2000;
/// Repeated events of one object are counted at most this often.
const QUIET: Duration = Duration::from_secs(60);
/// For how long a notice is held back, and dropped when its object is settled meanwhile.
const HOLD: Duration = Duration::from_secs(2);
/// Longest message that the API server takes, in bytes.
const MAX_MESSAGE: usize = 1024;
/// Where events of objects without a namespace are.
const DEFAULT_NAMESPACE: &str = "default";
/// The name of the writer.
const COMPONENT: &str = "appmesh-controller";

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    object: Subject,
    is_warning: bool,
    reason: String,
    message: String,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
}

impl Notice {
    /// A warning about a mesh object. `reason` is one word.
    pub fn warning(resource: &Resource, reason: &str, message: &str) -> Self {
        let mut end = message.len().min(MAX_MESSAGE);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        Self {
            object: Subject {
                kind: resource.kind().name(),
                namespace: resource.namespace().to_owned(),
                name: resource.name().to_owned(),
                uid: resource.metadata().uid.clone().unwrap_or_default(),
            },
            is_warning: true,
            reason: reason.to_owned(),
            message: message[..end].to_owned(),
        }
    }

    fn namespace(&self) -> &str {
        match self.object.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            namespace => namespace,
        }
    }

    fn event(&self, name: String, now: Timestamp) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(self.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: Some(self.object.kind.to_owned()),
                namespace: Some(self.object.namespace.clone()).filter(|it| !it.is_empty()),
                name: Some(self.object.name.clone()),
                uid: Some(self.object.uid.clone()),
                ..ObjectReference::default()
            },
            type_: Some(if self.is_warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                ..EventSource::default()
            }),
            ..Event::default()
        }
    }
}

/// Where notices are handed in. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Message>,
    metrics: Metrics,
}

#[derive(Debug)]
enum Message {
    Notice(Notice),
    /// The object of this uid has no problem any more.
    Settled(String),
}

/// Writes what was handed in.
pub struct Writer {
    queue: mpsc::Receiver<Message>,
    held: Held,
    written: HashMap<Notice, Written>,
}

struct Written {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Events {
    /// A queue and its writer.
    pub fn new(metrics: Metrics) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let events = Self {
            queue: sender,
            metrics,
        };
        let writer = Writer {
            queue: receiver,
            held: Held::default(),
            written: HashMap::new(),
        };
        (events, writer)
    }

    /// Hands in a notice. One that finds the queue full is dropped.
    pub fn send(&self, notice: Notice) {
        self.enqueue(Message::Notice(notice));
    }

    /// Takes back what was handed in about an object and is not written yet.
    pub fn settled(&self, resource: &Resource) {
        let uid = resource.metadata().uid.clone().unwrap_or_default();
        self.enqueue(Message::Settled(uid));
    }

    fn enqueue(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.metrics.event_dropped();
        }
    }
}

/// Notices that are held back, the oldest first.
#[derive(Default)]
struct Held(VecDeque<(Instant, Notice)>);

impl Held {
    fn next_due(&self) -> Option<Instant> {
        self.0.front().map(|(due, _)| *due)
    }

    /// Holds a notice. An older one of the same reason about the same object is replaced, and not held any longer.
    fn push(&mut self, notice: Notice, now: Instant) {
        let is_same = |held: &Notice| held.object == notice.object && held.reason == notice.reason;
        match self.0.iter_mut().find(|(_, held)| is_same(held)) {
            Some((_, held)) => *held = notice,
            None => self.0.push_back((now + HOLD, notice)),
        }
    }

    fn remove(&mut self, uid: &str) {
        self.0.retain(|(_, held)| held.object.uid != uid);
    }

    /// A notice that was held for long enough.
    fn pop(&mut self, now: Instant) -> Option<Notice> {
        let is_due = self.next_due().is_some_and(|due| due <= now);
        is_due
            .then(|| self.0.pop_front())?
            .map(|(_, notice)| notice)
    }
}

impl Writer {
    /// Writes notices until dropped.
    pub async fn run(mut self, client: Client) {
        loop {
            let due = self.held.next_due();
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.queue.recv() => match message {
                    Some(Message::Notice(notice)) => self.held.push(notice, Instant::now()),
                    Some(Message::Settled(uid)) => self.held.remove(&uid),
                    None => return,
                },
                () = timer => {
                    while let Some(notice) = self.held.pop(Instant::now()) {
                        self.write(&client, notice, Timestamp::now()).await;
                    }
                }
            }
        }
    }

    /// An event that cannot be written is logged, not repeated: what it tells is in the status, too.
    async fn write(&mut self, client: &Client, notice: Notice, now: Timestamp) {
        let api: Api<Event> = Api::namespaced(client.clone(), notice.namespace());
        if let Some(written) = self.written.get_mut(&notice) {
            if now.duration_since(written.last).unsigned_abs() < QUIET {
                return;
            }
            written.count += 1;
            written.last = now;
            let patch = json!({"count": written.count, "lastTimestamp": Time(now)});
            let (name, params) = (written.name.clone(), PatchParams::default());
            match call_existing(api.patch(&name, &params, &Patch::Merge(patch))).await {
                Ok(Some(_)) => return,
                // Events live for an hour.
                Ok(None) => drop(self.written.remove(&notice)),
                Err(error) => {
                    tracing::debug!(error = %ErrorChain(&error), "event not counted");
                    return;
                }
            }
        }
        let name = format!(
            "{}.{:x}",
            notice.object.name,
            now.as_nanosecond().unsigned_abs()
        );
        let event = notice.event(name.clone(), now);
        if let Err(error) = call(api.create(&PostParams::default(), &event)).await {
            tracing::debug!(error = %ErrorChain(&error), "event not written");
            return;
        }
        if self.written.len() >= REMEMBERED {
            self.written.clear();
        }
        let written = Written {
            name,
            count: 1,
            last: now,
        };
        self.written.insert(notice, written);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(uid: &str, reason: &str, message: &str) -> Notice {
        Notice {
            object: Subject {
                kind: "VirtualNode",
                namespace: "shop".to_owned(),
                name: "red".to_owned(),
                uid: uid.to_owned(),
            },
            is_warning: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_settled_soon_is_not_told() {
        let (mut held, start) = (Held::default(), Instant::now());
        held.push(notice("1", "InvalidReference", "x is not there"), start);
        held.push(notice("2", "Refused", "no"), start);
        held.remove("1");
        assert_eq!(held.pop(start + HOLD / 2), None);
        assert_eq!(held.pop(start + HOLD), Some(notice("2", "Refused", "no")));
        assert_eq!(held.pop(start + HOLD), None);
    }

    #[test]
    fn only_the_last_of_several_messages_is_told_and_no_later_than_the_first() {
        let (mut held, start) = (Held::default(), Instant::now());
        held.push(notice("1", "PendingMembersDeletion", "waits for 2"), start);
        let last = notice("1", "PendingMembersDeletion", "waits for 1");
        held.push(last.clone(), start + HOLD / 2);
        assert_eq!(held.pop(start + HOLD), Some(last));
    }

    #[test]
    fn an_event_of_an_object_without_a_namespace_is_in_the_default_one() {
        let mut mesh = notice("1", "Refused", "no");
        mesh.object.namespace = String::new();
        let event = mesh.event("m.1".to_owned(), Timestamp::UNIX_EPOCH);
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(event.involved_object.namespace, None);
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
