//! Reference counting without contention between workers.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// An `Arc` behind a count of this thread's own. Requests clone and drop it without touching the count that all
/// workers share, which would make them pass one cache line around.
pub(crate) struct LocalArc<T>(Rc<Inner<T>>);

struct Inner<T>(Arc<T>);

impl<T> LocalArc<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(Rc::new(Inner(value)))
    }

    pub(crate) fn arc(&self) -> &Arc<T> {
        &self.0.0
    }
}

impl<T> Clone for LocalArc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for LocalArc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}
