//! Internals for the fuzz targets (docs/decisions/0008). Not a stable interface.

use super::{
    layout::{Head, Keys},
    options::Options,
    proto::{RangeResponse, TxnResponse, WatchResponse},
    replica::Replica,
};
use crate::{
    record_codec,
    store::{Condition, Published},
};
use prost::Message;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tombolo_model::View;

/// A replica without a connection, which is given messages of a watch.
pub struct Follower {
    replica: Replica,
    published: Arc<Published>,
}

impl Follower {
    /// A replica of an empty state, with the key prefix `/t` and the generation `g`.
    pub fn new() -> Self {
        let options = Options {
            endpoints: Vec::new(),
            prefix: "/t".into(),
            tls: None,
            user: None,
        };
        let published = Published::new(View::default());
        let mut replica = Replica::new(
            Arc::new(options),
            Keys::new("/t"),
            published.clone(),
            Arc::new(watch::channel(Condition::healthy("etcd")).0),
            mpsc::channel(1).1,
        );
        replica.position.generation = "g".into();
        Self { replica, published }
    }

    /// Applies an encoded message of a watch.
    ///
    /// # Errors
    /// If the message is malformed, or ends the session of the replica.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
        Ok(self.replica.apply_response(WatchResponse::decode(bytes)?)?)
    }

    /// The published state.
    pub fn view(&self) -> Arc<View> {
        self.published.view.load_full()
    }
}

impl Default for Follower {
    fn default() -> Self {
        Self::new()
    }
}

/// Decodes the response to a range or a transaction and its records; returns the number of readable ones.
pub fn answer(bytes: &[u8]) -> usize {
    let mut found = Vec::new();
    if let Ok(range) = RangeResponse::decode(bytes) {
        found.extend(range.kvs);
    }
    if let Ok(answer) = TxnResponse::decode(bytes) {
        found.extend((0..answer.responses.len()).filter_map(|n| answer.range_result(n).cloned()));
    }
    let readable = |kv: &&_| Head::decode(kv).is_ok() || record_codec::decode(&kv.value).is_ok();
    found.iter().filter(readable).count()
}
