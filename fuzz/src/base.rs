//! The initial state of the targets `api` and `dns`: a small mesh and registry, made once by requests.

use crate::message;
use axum::body::Body;
use http::{HeaderMap, Request, request::Parts};
use http_body_util::BodyExt;
use std::{cell::RefCell, collections::BTreeMap, sync::OnceLock};
use tokio::runtime::{Builder, Runtime};
use tombolo_api::{Config, Server};
use tombolo_store::{FullState, Store};

/// Made in this order. Words between `@` stand for what an earlier answer told.
const REQUESTS: &[u8] = include_bytes!("base.txt");

/// A server over a store, and what its answers told.
pub(crate) struct Session {
    pub(crate) store: Store,
    server: Server,
    runtime: Runtime,
    /// What `@namespace@` and the like stand for.
    words: BTreeMap<&'static str, String>,
    /// The revision at which the store holds the base and nothing else.
    fresh: u64,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The base, and what its answers told.
struct Base {
    state: FullState,
    words: BTreeMap<&'static str, String>,
}

static BASE: OnceLock<Base> = OnceLock::new();

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Runs with a session that holds the base. It is kept for the next run, unless this one panics.
pub(crate) fn with_session(run: impl FnOnce(&mut Session)) {
    let held = SESSION.with(|held| held.borrow_mut().take());
    let mut session = held.unwrap_or_else(Session::empty);
    session.reset();
    run(&mut session);
    SESSION.with(|held| *held.borrow_mut() = Some(session));
}

impl Session {
    fn empty() -> Self {
        let store = Store::memory();
        Self {
            server: Server::new(store.clone(), Config::default()).expect("the names are legal"),
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("the system has room for one more runtime"),
            words: BTreeMap::new(),
            fresh: u64::MAX,
            store,
        }
    }

    /// Puts the base in place, if anything else is there.
    fn reset(&mut self) {
        let base = BASE.get_or_init(Base::make);
        self.words.clone_from(&base.words);
        if self.store.view().revision != self.fresh {
            let replaced = self.store.replace(base.state.clone(), true);
            self.fresh = self.runtime.block_on(replaced).expect("in memory");
        }
    }

    /// Whether something was changed.
    pub(crate) fn is_changed(&self) -> bool {
        self.store.view().revision != self.fresh
    }

    /// Reads a request, in which words between `@` stand for what they stand for.
    pub(crate) fn read(&self, text: &[u8]) -> Option<(Parts, Vec<u8>)> {
        let mut filled = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == b'@') {
            let (before, from) = rest.split_at(at);
            filled.extend_from_slice(before);
            let found = self.words.iter().find(|(word, _)| {
                from[1..].starts_with(word.as_bytes()) && from.get(1 + word.len()) == Some(&b'@')
            });
            rest = match found {
                Some((word, meaning)) => {
                    filled.extend_from_slice(meaning.as_bytes());
                    &from[word.len() + 2..]
                }
                None => {
                    filled.push(b'@');
                    &from[1..]
                }
            };
        }
        filled.extend_from_slice(rest);
        message::read(&filled)
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &Parts, body: &[u8]) -> Answer {
        let request = Request::from_parts(request.clone(), Body::from(body.to_vec()));
        let answer = self.runtime.block_on(async {
            let (head, body) = self.server.handle(request).await.into_parts();
            let body = body.collect().await.expect("answers are in memory");
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes().to_vec(),
            }
        });
        self.learn(&answer);
        answer
    }

    /// Remembers what the words stand for from now on.
    fn learn(&mut self, answer: &Answer) {
        let Some(body) = answer.json() else {
            return;
        };
        for (word, pointer) in [
            ("operation", "/OperationId"),
            ("namespace", "/Operation/Targets/NAMESPACE"),
            ("service", "/Service/Id"),
            ("arn", "/metadata/arn"),
            ("arn", "/Service/Arn"),
            ("arn", "/Namespace/Arn"),
            ("next", "/nextToken"),
            ("next", "/NextToken"),
        ] {
            if let Some(meaning) = body.pointer(pointer).and_then(|meaning| meaning.as_str()) {
                self.words.insert(word, meaning.to_owned());
            }
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.unwrap_or(Ok("")).expect("our headers are text")
    }
}

impl Base {
    fn make() -> Self {
        let mut session = Session::empty();
        for text in message::split(REQUESTS, usize::MAX) {
            let (request, body) = session.read(text).expect("the base is legal HTTP");
            let answer = session.send(&request, &body);
            assert_eq!(answer.status, 200, "{request:?}: {answer:?}");
        }
        Self {
            state: FullState::of(&session.store.view()),
            words: session.words,
        }
    }
}
