//! Tracks a change from its publication to the answers of the proxies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use tombolo_telemetry::Causes;
use tombolo_telemetry::metrics::Histogram;
use tracing::Span;

/// Tracks one change from its publication to the answer of the last stream that got it.
///
/// A snapshot carries it to the streams; the publisher waits until they have sent it, so that changes that come
/// meanwhile are pushed together. All work for the change is in its span, which has the ids of the API calls that
/// caused it.
#[derive(Debug)]
pub struct Propagation {
    revision: u64,
    span: Span,
    begun: Instant,
    seconds: Histogram,
    /// The number of streams that get the change; [`UNKNOWN`] until it is published.
    streams: AtomicUsize,
    sent: AtomicUsize,
    answered: AtomicUsize,
    observed: AtomicBool,
    /// Notified when every stream has sent, and when every stream has answered.
    progress: Notify,
}

const UNKNOWN: usize = usize::MAX;

impl Propagation {
    /// Starts to track the change that led to this revision. `seconds` observes the time until the last stream has
    /// answered.
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

    /// The revision of the store after the change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The span of the change.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Records that the change was published to this many streams.
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

    /// Records that a proxy has answered all of the change; `acknowledged` is false if it rejected a part.
    pub fn answered(&self, stream: u64, acknowledged: bool) {
        let elapsed_ms = self.begun.elapsed().as_secs_f64() * 1e3;
        if acknowledged {
            tracing::debug!(parent: &self.span, stream, elapsed_ms, "acknowledged");
        } else {
            tracing::debug!(parent: &self.span, stream, elapsed_ms, "answered with a rejection");
        }
        self.ended();
    }

    /// Records that a stream will not answer any more: it has answered, or has ended.
    pub fn ended(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.finish_if_done();
    }

    fn finish_if_done(&self) {
        if !self.is_done() {
            return;
        }
        let streams = self.streams.load(Ordering::SeqCst);
        // Observed once, although the last answer and the publication may both find that the change is done.
        if streams > 0 && !self.observed.swap(true, Ordering::SeqCst) {
            let elapsed = self.begun.elapsed().as_secs_f64();
            self.seconds.observe(elapsed);
            let elapsed_ms = elapsed * 1e3;
            tracing::debug!(parent: &self.span, streams, elapsed_ms, "answered by every proxy");
        }
        self.progress.notify_waiters();
    }

    /// Whether every stream that got the change has answered or ended.
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

    /// Waits until every stream that got the change has answered or ended. A stalled proxy does neither, so the caller
    /// needs a timeout. Cancel safe.
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
