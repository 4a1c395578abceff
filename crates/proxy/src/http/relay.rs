//! Response bodies on their way to the client.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::InFlight;
use super::alarm::Alarm;
use super::deadlines::{Deadlines, Expired};
use super::http2::Stream;
use super::inbound::{BodyError, Inbound};
use super::outgoing::Progress;
use super::record::Record;
use super::upgrade::Tunnel;
use crate::config::matcher::is_grpc;
use crate::upstream::pool::Lease;

/// What a response carries: our own few bytes, or the upstream's body.
pub(crate) struct Reply {
    content: Content,
    /// Counts the request as active until its response is gone.
    _in_flight: Option<InFlight>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one"
)]
enum Content {
    Local {
        body: Bytes,
        record: Option<Box<Record>>,
    },
    Relay(Relay),
    /// No content: the connection is handed over.
    Tunnel(Option<Box<Tunnel>>),
}

/// An upstream body together with the connection it comes from.
pub(crate) struct Relay {
    incoming: Inbound,
    lease: Lease,
    request: Progress,
    deadlines: Deadlines,
    finished: bool,
    /// When the last piece came, once the next keeps us waiting.
    last: Option<Instant>,
    alarm: Option<Alarm>,
    record: Option<Box<Record>>,
    grpc: bool,
    random: u64,
    /// Of a client that speaks HTTP/2.
    stream: Option<Rc<Stream>>,
    /// To be returned at the next poll.
    error: Option<BodyError>,
}

impl Reply {
    pub(crate) fn local(
        body: Bytes,
        record: Option<Box<Record>>,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self {
            content: Content::Local { body, record },
            _in_flight: in_flight,
        }
    }

    pub(crate) fn relay(relay: Relay, in_flight: Option<InFlight>) -> Self {
        Self {
            content: Content::Relay(relay),
            _in_flight: in_flight,
        }
    }

    pub(crate) fn tunnel(tunnel: Box<Tunnel>, in_flight: Option<InFlight>) -> Self {
        Self {
            content: Content::Tunnel(Some(tunnel)),
            _in_flight: in_flight,
        }
    }

    pub(crate) fn take_tunnel(&mut self) -> Option<Box<Tunnel>> {
        match &mut self.content {
            Content::Tunnel(tunnel) => tunnel.take(),
            Content::Local { .. } | Content::Relay(_) => None,
        }
    }

    /// Whether the upstream still sends it.
    pub(crate) fn is_relayed(&self) -> bool {
        matches!(self.content, Content::Relay(_))
    }

    /// For a client that is slow to take the response: lets the upstream have the rest of the request meanwhile.
    /// Ready when the response has taken too long.
    pub(crate) fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Content::Relay(relay) = &mut self.content else {
            return Poll::Pending;
        };
        relay.incoming.nudge(cx);
        relay.poll_deadline(cx)
    }
}

/// What [`Relay::new`] needs beside the body.
pub(crate) struct Terms {
    /// A connection is only used again once all of the request was sent.
    pub(crate) request: Progress,
    pub(crate) deadlines: Deadlines,
    pub(crate) record: Option<Box<Record>>,
    pub(crate) random: u64,
    /// Of a client that speaks HTTP/2.
    pub(crate) stream: Option<Rc<Stream>>,
}

impl Relay {
    pub(crate) fn new(
        incoming: Inbound,
        lease: Lease,
        headers: &http::HeaderMap,
        terms: Terms,
    ) -> Self {
        let grpc = lease.runtime().config.outlier.is_some() && is_grpc(headers);
        let relay = Self {
            incoming,
            lease,
            request: terms.request,
            deadlines: terms.deadlines,
            finished: false,
            last: None,
            alarm: None,
            record: terms.record,
            grpc,
            random: terms.random,
            stream: terms.stream,
            error: None,
        };
        relay.hand_over();
        relay
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(stream) = &self.stream {
            stream.taken();
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.last = None;
                if let Some(record) = &mut self.record {
                    record.sent(&frame);
                }
                if let Some(trailers) = frame.trailers_ref() {
                    self.trailers(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.finish();
                } else {
                    self.hand_over();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.lease.stats().upstream_rq_rx_reset.inc();
                self.finished = true;
                if let Some(record) = &mut self.record {
                    record.flag("UR");
                }
                self.break_off(error, cx)
            }
            Poll::Pending => self.poll_timers(cx),
        }
    }

    /// Ends the body with an error. A reset HTTP/2 stream loses what waits to be written for it, so the client's
    /// connection has a turn first: a client that never saw the head would send its request again.
    fn break_off(
        &mut self,
        error: BodyError,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.stream.is_none() {
            return Poll::Ready(Some(Err(error)));
        }
        self.error = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// From now on the client is to take what it was given.
    fn hand_over(&self) {
        if let Some(stream) = &self.stream {
            stream.hand_over(self.deadlines.next(&self.request, Instant::now()));
        }
    }

    /// Timers start only once the upstream keeps us waiting: most bodies arrive with their header.
    fn poll_timers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        ready!(self.poll_deadline(cx));
        self.break_off("the upstream response took too long".into(), cx)
    }

    /// Ready when the response has taken too long, whoever is to blame.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.finished {
            return Poll::Pending;
        }
        self.request.watch(cx);
        let last = *self.last.get_or_insert_with(Instant::now);
        let Some(at) = self.deadlines.next(&self.request, last) else {
            return Poll::Pending;
        };
        ready!(self.alarm.get_or_insert_default().poll(at, cx));
        self.finished = true;
        self.lease.stats().upstream_rq_timeout.inc();
        if let Some(record) = &mut self.record {
            let idle = self.deadlines.expired(&self.request, last) == Expired::Idle;
            record.flag(if idle { "SI" } else { "UT" });
        }
        Poll::Ready(())
    }

    fn trailers(&mut self, trailers: &http::HeaderMap) {
        if let Some(record) = &mut self.record {
            record.trailers(trailers);
        }
        if self.grpc
            && let Some(status) = super::local::grpc_status(trailers)
        {
            self.lease.runtime().observe(
                &self.lease.upstream.host,
                super::local::http_from_grpc(status),
                self.random,
            );
        }
    }

    fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            if self.request.is_complete() {
                self.lease.recycle();
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        } else if !self.finished {
            // The client went away; dropping the lease closes the upstream connection.
            self.lease.stats().upstream_rq_tx_reset.inc();
            if let Some(record) = &mut self.record {
                record.flag("DC");
            }
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().content {
            Content::Local { body, .. } if body.is_empty() => Poll::Ready(None),
            Content::Local { body, record } => {
                let frame = Frame::data(std::mem::take(body));
                if let Some(record) = record {
                    record.sent(&frame);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Content::Relay(relay) => relay.poll(cx),
            Content::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Local { body, .. } => body.is_empty(),
            Content::Relay(relay) => relay.incoming.is_end_stream(),
            Content::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Local { body, .. } => SizeHint::with_exact(body.len() as u64),
            Content::Relay(relay) => relay.incoming.size_hint(),
            Content::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
