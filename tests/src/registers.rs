//! Resources of both APIs as registers: written, read and removed by many callers at once. Every call is recorded, so
//! that a [`history`](crate::history) can be checked afterwards.

use crate::{
    history::{Event, Model},
    http::{Answer, Connection, Request},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// A resource that holds a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A route of router `r` in mesh `m`.
    Route(String),
    /// An instance: the id of its service and its own id.
    Instance(String, String),
}

/// An operation on a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creates it; routes only.
    Create(u64),
    /// Updates it; routes only.
    Update(u64),
    /// Creates or replaces it; instances only.
    Put(u64),
    /// Deletes it.
    Remove,
    /// Reads it.
    Read,
}

/// The state: the number, and for routes the version.
pub type Held = Option<(u64, Option<u64>)>;

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was created or changed; for routes, to this version.
    Done(Option<u64>),
    /// It was deleted; for routes, when it held this number.
    Removed(Option<u64>),
    /// It exists already.
    Exists,
    /// It does not exist.
    Missing,
    /// The state.
    Found(Held),
}

/// A call and, when it came, the answer.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The operation.
    pub action: Action,
    /// The outcome.
    pub outcome: Option<Outcome>,
}

/// The sequential specification of a register.
pub struct Register;

impl Model for Register {
    type State = Held;
    type Call = Call;

    fn step(state: &Held, call: &Call) -> Option<Held> {
        let after = match (call.action, state) {
            (Action::Create(value), None) => Some((value, Some(1))),
            (Action::Update(value), Some((_, version))) => {
                Some((value, version.map(|version| version + 1)))
            }
            (Action::Put(value), _) => Some((value, None)),
            (Action::Remove, _) => None,
            (Action::Create(_) | Action::Update(_) | Action::Read, state) => *state,
        };
        let fits = match (call.action, call.outcome) {
            (_, None) => true,
            (Action::Create(_), Some(Outcome::Exists)) => state.is_some(),
            (Action::Create(_), Some(Outcome::Done(version))) => {
                state.is_none() && version == Some(1)
            }
            (Action::Update(_) | Action::Remove, Some(Outcome::Missing)) => state.is_none(),
            (Action::Update(_), Some(Outcome::Done(version))) => {
                state.is_some() && after.is_some_and(|(_, now)| now == version)
            }
            (Action::Put(_), Some(Outcome::Done(_))) => true,
            (Action::Remove, Some(Outcome::Removed(value))) => {
                state.is_some_and(|(held, _)| value.is_none_or(|value| value == held))
            }
            (Action::Read, Some(Outcome::Found(found))) => found == *state,
            _ => false,
        };
        fits.then_some(after)
    }
}

impl Key {
    /// Makes a call. After an error it may or may not have taken effect.
    pub fn call(&self, connection: &mut Connection, action: Action) -> io::Result<Outcome> {
        match self {
            Key::Route(name) => route(connection, name, action),
            Key::Instance(service, id) => instance(connection, service, id, action),
        }
    }
}

/// A route's spec that holds a number.
pub fn route_spec(number: u64) -> Value {
    json!({"httpRoute": {
        "match": {"prefix": "/"},
        "action": {"weightedTargets": [{"virtualNode": "a", "weight": 1}]},
        "timeout": {"perRequest": {"unit": "ms", "value": number}},
    }})
}

const ROUTES: &str = "/v20190125/meshes/m/virtualRouter/r/routes";

fn route(connection: &mut Connection, name: &str, action: Action) -> io::Result<Outcome> {
    let path = format!("{ROUTES}/{name}");
    let none = Value::Null;
    let answer = match action {
        Action::Create(number) => {
            let body = json!({"routeName": name, "spec": route_spec(number)});
            connection.send(&Request::app_mesh("PUT", ROUTES, &body))
        }
        Action::Update(number) | Action::Put(number) => {
            let body = json!({"spec": route_spec(number)});
            connection.send(&Request::app_mesh("PUT", &path, &body))
        }
        Action::Remove => connection.send(&Request::app_mesh("DELETE", &path, &none)),
        Action::Read => connection.send(&Request::app_mesh("GET", &path, &none)),
    }?;
    let held = || {
        let route = answer.json();
        let number = &route["spec"]["httpRoute"]["timeout"]["perRequest"]["value"];
        let version = &route["metadata"]["version"];
        let number = number.as_u64().expect("as it was written");
        (number, Some(version.as_u64().expect("a number")))
    };
    Ok(match (answer.status, action) {
        (200, Action::Read) => Outcome::Found(Some(held())),
        (200, Action::Remove) => Outcome::Removed(Some(held().0)),
        (200, _) => Outcome::Done(held().1),
        (404, Action::Read) => Outcome::Found(None),
        (404, _) => Outcome::Missing,
        (409, Action::Create(_)) => Outcome::Exists,
        _ => return Err(unsure(&answer)),
    })
}

fn instance(
    connection: &mut Connection,
    service: &str,
    id: &str,
    action: Action,
) -> io::Result<Outcome> {
    let body = json!({"ServiceId": service, "InstanceId": id});
    let answer = match action {
        Action::Create(number) | Action::Update(number) | Action::Put(number) => {
            let mut body = body;
            body["Attributes"] =
                json!({"AWS_INSTANCE_IPV4": "10.0.0.1", "number": number.to_string()});
            connection.send(&Request::cloud_map("RegisterInstance", &body))
        }
        Action::Remove => connection.send(&Request::cloud_map("DeregisterInstance", &body)),
        Action::Read => connection.send(&Request::cloud_map("GetInstance", &body)),
    }?;
    let is_missing = answer.status == 400 && answer.text().contains("InstanceNotFound");
    Ok(match (answer.status, action) {
        (200, Action::Read) => {
            let found = answer.json();
            let number = found["Instance"]["Attributes"]["number"].as_str();
            let number = number.and_then(|number| number.parse().ok());
            Outcome::Found(Some((number.expect("as it was written"), None)))
        }
        (200, Action::Remove) => Outcome::Removed(None),
        (200, _) => Outcome::Done(None),
        (400, Action::Read) if is_missing => Outcome::Found(None),
        (400, Action::Remove) if is_missing => Outcome::Missing,
        _ => return Err(unsure(&answer)),
    })
}

/// A server that shuts down, or has lost its store, may answer so; any other error is a failure.
fn unsure(answer: &Answer) -> io::Error {
    assert!(answer.status >= 500, "{}: {}", answer.status, answer.text());
    io::Error::other(answer.text())
}

/// Creates the resources that the registers need; the id of the service of the instances.
pub fn prepare(api: SocketAddr) -> String {
    let call = |request: &Request<'_>| {
        let mut connection = Connection::open(api).expect("the server listens");
        let answer = connection.send(request).expect("the server answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let mesh = |path: &str, body: Value| {
        let path = format!("/v20190125/meshes{path}");
        call(&Request::app_mesh("PUT", &path, &body))
    };
    mesh("", json!({"meshName": "m", "spec": {}}));
    mesh(
        "/m/virtualNodes",
        json!({"virtualNodeName": "a", "spec": {}}),
    );
    let listening = json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
    mesh(
        "/m/virtualRouters",
        json!({"virtualRouterName": "r", "spec": listening}),
    );
    let namespace = json!({"Name": "n"});
    let started = call(&Request::cloud_map("CreateHttpNamespace", &namespace));
    let operation = json!({"OperationId": started["OperationId"]});
    let namespace = crate::until("the namespace is made", || {
        let answer = call(&Request::cloud_map("GetOperation", &operation));
        let operation = &answer["Operation"];
        (operation["Status"] == "SUCCESS").then(|| operation["Targets"]["NAMESPACE"].clone())
    });
    let service = json!({"Name": "s", "NamespaceId": namespace});
    let made = call(&Request::cloud_map("CreateService", &service));
    made["Service"]["Id"].as_str().expect("an id").to_owned()
}

/// Maximum servers that are distinguished.
const SERVERS: usize = 8;

/// The record of all calls.
pub struct Record {
    start: Instant,
    numbers: AtomicU64,
    /// Number of changes that each server acknowledged, or refused.
    answers: [AtomicU64; SERVERS],
    /// Guards the record; held to append to it.
    calls: Mutex<Vec<RecordedCall>>,
}

/// A recorded call.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// The register.
    pub key: Key,
    /// The index of the server.
    pub server: usize,
    /// The call with its times and its answer.
    pub event: Event<Call>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            numbers: AtomicU64::new(1),
            answers: Default::default(),
            calls: Mutex::default(),
        }
    }
}

impl Record {
    /// A number that was not used before.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Now, in nanoseconds.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("a test is short")
    }

    /// The number of writes that a server has answered.
    pub fn answers(&self, server: usize) -> u64 {
        self.answers[server].load(Ordering::Relaxed)
    }

    /// Makes a call and records it.
    pub fn call(
        &self,
        server: usize,
        connection: &mut Connection,
        key: &Key,
        action: Action,
    ) -> io::Result<Outcome> {
        let begin = self.now();
        let result = key.call(connection, action);
        let end = result.is_ok().then(|| self.now());
        let is_of_use = result.is_ok() || action != Action::Read;
        if is_of_use {
            let outcome = result.as_ref().ok().copied();
            let call = Call { action, outcome };
            let event = Event { begin, end, call };
            let key = key.clone();
            let mut calls = self.calls.lock();
            calls.push(RecordedCall { key, server, event });
        }
        if result.is_ok() && action != Action::Read {
            self.answers[server].fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// All recorded calls.
    pub fn into_calls(self) -> Vec<RecordedCall> {
        self.calls.into_inner()
    }
}
