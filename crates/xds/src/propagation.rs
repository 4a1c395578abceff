//! Follows a change from its publication to the acknowledgements of the proxies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tombolo_telemetry::Causes;
use tombolo_telemetry::metrics::Histogram;
use tracing::Span;

/// Follows one published change from its publication to the answer of the last stream that got it.
///
/// A snapshot carries it to the streams; the publisher waits until they have sent it, so that changes which come
/// meanwhile travel together. Whatever is done for the change is done in its span, which names the API calls
/// that caused it.
#[derive(Debug)]
pub struct Propagation {
    revision: u64,
    span: Span,
    begun: Instant,
    seconds: Histogram,
    /// How many streams got it; [`UNKNOWN`] until all did.
    streams: AtomicUsize,
    sent: AtomicUsize,
    answered: AtomicUsize,
    observed: AtomicBool,
    /// Notified when every stream has sent, and when every stream has answered.
    progress: Notify,
}

const UNKNOWN: usize = usize::MAX;

impl Propagation {
    /// A change that led to this revision and is about to be compiled. `seconds` observes how long it takes until the
    /// last stream has answered.
    pub fn new(revision: u64, causes: &Causes, seconds: Histogram) -> Propagation {
        Propagation {
            revision,
            span: tracing::info_span!("propagate", revision, request_id = %causes),
            begun: Instant::now(),
            seconds,
            streams: AtomicUsize::new(UNKNOWN),
            sent: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            observed: AtomicBool::new(false),
            progress: Notify::new(),
        }
    }

    /// The revision that the change led to.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The span of the change.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// It was published to this many streams.
    pub fn published(&self, streams: usize) {
        let elapsed_ms = self.begun.elapsed().as_secs_f64() * 1e3;
        tracing::debug!(parent: &self.span, streams, elapsed_ms, "published");
        self.streams.store(streams, Ordering::SeqCst);
        if self.is_sent() {
            self.progress.notify_waiters();
        }
        self.finish_if_done();
    }

    /// A stream has sent whatever it may send of it before the proxy answers. To be called once by each stream that
    /// got it, also by one that ends before.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
        if self.is_sent() {
            self.progress.notify_waiters();
        }
    }

    /// A stream has nothing of it left to send or to wait for; `acknowledged` unless the proxy rejects a part of it.
    pub fn answered(&self, stream: u64, acknowledged: bool) {
        let elapsed_ms = self.begun.elapsed().as_secs_f64() * 1e3;
        if acknowledged {
            tracing::debug!(parent: &self.span, stream, elapsed_ms, "acknowledged");
        } else {
            tracing::debug!(parent: &self.span, stream, elapsed_ms, "answered with a rejection");
        }
        self.ended();
    }

    /// A stream that got it will not answer any more: it has answered, or is gone.
    pub fn ended(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.finish_if_done();
    }

    fn finish_if_done(&self) {
        if !self.is_done() {
            return;
        }
        let streams = self.streams.load(Ordering::SeqCst);
        // Only once, though the last answer and the publication may both find that it is done.
        if streams > 0 && !self.observed.swap(true, Ordering::SeqCst) {
            let elapsed = self.begun.elapsed().as_secs_f64();
            self.seconds.observe(elapsed);
            let elapsed_ms = elapsed * 1e3;
            tracing::debug!(parent: &self.span, streams, elapsed_ms, "answered by every proxy");
        }
        self.progress.notify_waiters();
    }

    /// Whether every stream that got it has answered.
    pub fn is_done(&self) -> bool {
        self.answered.load(Ordering::SeqCst) >= self.streams.load(Ordering::SeqCst)
    }

    fn is_sent(&self) -> bool {
        self.sent.load(Ordering::SeqCst) >= self.streams.load(Ordering::SeqCst)
    }

    /// Waits until every stream has sent whatever it may send of it before its proxy answers. A proxy that does not
    /// read its stream holds this up, so the caller has a deadline. Cancel safe.
    pub async fn sent_by_all(&self) {
        self.progress_to(Self::is_sent).await;
    }

    /// Waits until every stream that got it has answered or is gone. A proxy that stalls does neither, so the caller has
    /// a deadline. Cancel safe.
    pub async fn done(&self) {
        self.progress_to(Self::is_done).await;
    }

    async fn progress_to(&self, reached: fn(&Self) -> bool) {
        loop {
            let notified = self.progress.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if reached(self) {
                return;
            }
            notified.await;
        }
    }
}
