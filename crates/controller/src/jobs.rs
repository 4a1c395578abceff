//! Concurrent attempts, each for one key; a panic is reported with its key.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

/// Running attempts for keys of type `K` with results of type `R`. Dropping it aborts them.
pub(crate) struct Jobs<K, R> {
    tasks: JoinSet<R>,
    keys: HashMap<Id, K>,
}

impl<K, R: Send + 'static> Jobs<K, R> {
    /// An empty set.
    pub(crate) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            keys: HashMap::new(),
        }
    }

    /// Starts an attempt.
    pub(crate) fn spawn(&mut self, key: K, attempt: impl Future<Output = R> + Send + 'static) {
        let id = self.tasks.spawn(attempt).id();
        self.keys.insert(id, key);
    }

    /// The next attempt that ends, with its result or its panic; `None` when none runs. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<(K, Result<R, JoinError>)> {
        loop {
            let (id, result) = match self.tasks.join_next_with_id().await? {
                Ok((id, result)) => (id, Ok(result)),
                Err(error) => (error.id(), Err(error)),
            };
            if let Some(key) = self.keys.remove(&id) {
                return Some((key, result));
            }
        }
    }
}
