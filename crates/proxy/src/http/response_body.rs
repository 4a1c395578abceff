//! Response bodies on their way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::InFlight;
use super::access_log_entry::AccessLogEntry;
use super::deadline_timer::DeadlineTimer;
use super::deadlines::{Deadlines, Expired};
use super::http2::Stream;
use super::received_body::{BodyError, IncomingBody, PollFrame};
use super::upgrade::Tunnel;
use super::upstream_request_body::BodyProgress;
use crate::config::matcher::is_grpc;
use crate::upstream::connection_pool::PooledConnection;

/// The body of a response: a local reply's, or the upstream's.
pub(crate) struct ResponseBody {
    content: ResponseContent,
    /// Counts the request as active until its response is gone.
    _in_flight: Option<InFlight>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one"
)]
pub(crate) enum ResponseContent {
    Local {
        body: Bytes,
        log_entry: Option<Box<AccessLogEntry>>,
    },
    Forwarded(BodyForwarder),
    /// No content: the connection is switched to a tunnel.
    Tunnel(Option<Box<Tunnel>>),
}

/// An upstream body together with its connection.
pub(crate) struct BodyForwarder {
    incoming: IncomingBody,
    pooled: PooledConnection,
    context: ResponseContext,
    finished: bool,
    /// Time of the last frame; set when the next one is awaited.
    last: Option<Instant>,
    timer: Option<DeadlineTimer>,
    grpc: bool,
    /// The error that the next poll returns.
    error: Option<BodyError>,
}

impl ResponseBody {
    pub(crate) fn new(content: ResponseContent, in_flight: Option<InFlight>) -> Self {
        Self {
            content,
            _in_flight: in_flight,
        }
    }

    pub(crate) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match &mut self.content {
            ResponseContent::Tunnel(tunnel) => tunnel.take(),
            ResponseContent::Local { .. } | ResponseContent::Forwarded(_) => None,
        }
    }

    /// Whether the body comes from the upstream.
    pub(crate) fn is_forwarded(&self) -> bool {
        matches!(self.content, ResponseContent::Forwarded(_))
    }

    /// For a client that reads the response slowly: writes the rest of the request to the upstream meanwhile. Ready
    /// when the response has missed a deadline.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ResponseContent::Forwarded(forwarder) = &mut self.content else {
            return Poll::Pending;
        };
        forwarder.incoming.drive_request(cx);
        forwarder.poll_deadline(cx)
    }
}

/// The state of the request that its response body keeps.
pub(crate) struct ResponseContext {
    /// The connection is only reused once the whole request was sent.
    pub(crate) request: BodyProgress,
    pub(crate) deadlines: Deadlines,
    pub(crate) log_entry: Option<Box<AccessLogEntry>>,
    /// Present for HTTP/2 clients.
    pub(crate) stream: Option<Rc<Stream>>,
}

impl BodyForwarder {
    pub(crate) fn new(
        incoming: IncomingBody,
        pooled: PooledConnection,
        headers: &http::HeaderMap,
        context: ResponseContext,
    ) -> Self {
        let grpc = pooled.runtime().config.outlier.is_some() && is_grpc(headers);
        let forwarder = Self {
            incoming,
            pooled,
            context,
            finished: false,
            last: None,
            timer: None,
            grpc,
            error: None,
        };
        forwarder.start_write_deadline();
        forwarder
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> PollFrame {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(stream) = &self.context.stream {
            stream.clear_write_deadline();
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.last = None;
                if let (Some(log_entry), Some(data)) =
                    (&mut self.context.log_entry, frame.data_ref())
                {
                    log_entry.bytes_sent += data.len() as u64;
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.finish();
                } else {
                    self.start_write_deadline();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.pooled.stats().upstream_rq_rx_reset.inc();
                self.finished = true;
                self.flag("UR");
                self.abort(error, cx)
            }
            Poll::Pending => self.poll_timers(cx),
        }
    }

    /// Ends the body with an error. A reset HTTP/2 stream discards pending writes, so the client's connection is
    /// polled first: a client that never received the head would send its request again.
    fn abort(&mut self, error: BodyError, cx: &Context<'_>) -> PollFrame {
        if self.context.stream.is_none() {
            return Poll::Ready(Some(Err(error)));
        }
        self.error = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Starts the deadline for the client to read the last frame.
    fn start_write_deadline(&self) {
        let context = &self.context;
        if let Some(stream) = &context.stream {
            stream.set_write_deadline(context.deadlines.next(&context.request, Instant::now()));
        }
    }

    fn flag(&mut self, flags: &'static str) {
        if let Some(log_entry) = &mut self.context.log_entry {
            log_entry.flags = flags;
        }
    }

    /// Timers start at the first wait: most bodies arrive together with their head.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> PollFrame {
        ready!(self.poll_deadline(cx));
        self.abort("the upstream response took too long".into(), cx)
    }

    /// Ready when the response has missed a deadline.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.finished {
            return Poll::Pending;
        }
        let ResponseContext {
            request, deadlines, ..
        } = &self.context;
        request.watch(cx);
        let last = *self.last.get_or_insert_with(Instant::now);
        let Some(at) = deadlines.next(request, last) else {
            return Poll::Pending;
        };
        ready!(self.timer.get_or_insert_default().poll(at, cx));
        self.finished = true;
        self.pooled.stats().upstream_rq_timeout.inc();
        let idle = deadlines.expired(request, last) == Expired::Idle;
        self.flag(if idle { "SI" } else { "UT" });
        Poll::Ready(())
    }

    fn trailers(&mut self, trailers: &http::HeaderMap) {
        if let Some(log_entry) = &mut self.context.log_entry {
            log_entry.trailers = Some(trailers.clone());
        }
        if self.grpc
            && let Some(status) = super::local_reply::grpc_status(trailers)
        {
            let status = super::local_reply::http_from_grpc(status);
            let pooled = &self.pooled;
            pooled.runtime().observe(&pooled.upstream.host, status);
        }
    }

    fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            if self.context.request.is_complete() {
                self.pooled.recycle();
            }
        }
    }
}

impl Drop for BodyForwarder {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        } else if !self.finished {
            // The client has disconnected; the drop closes the upstream connection.
            self.pooled.stats().upstream_rq_tx_reset.inc();
            self.flag("DC");
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        match &mut self.get_mut().content {
            ResponseContent::Local { body, .. } if body.is_empty() => Poll::Ready(None),
            ResponseContent::Local { body, log_entry } => {
                if let Some(log_entry) = log_entry {
                    log_entry.bytes_sent += body.len() as u64;
                }
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(body)))))
            }
            ResponseContent::Forwarded(forwarder) => forwarder.poll(cx),
            ResponseContent::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            ResponseContent::Local { body, .. } => body.is_empty(),
            ResponseContent::Forwarded(forwarder) => forwarder.incoming.is_end_stream(),
            ResponseContent::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            ResponseContent::Local { body, .. } => SizeHint::with_exact(body.len() as u64),
            ResponseContent::Forwarded(forwarder) => forwarder.incoming.size_hint(),
            ResponseContent::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
