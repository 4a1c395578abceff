//! Response bodies on their way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::InFlight;
use super::alarm::{Alarm, earlier};
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
    request: Option<Progress>,
    finished: bool,
    /// Of the whole response.
    deadline: Option<Instant>,
    /// Between two pieces.
    idle: Option<Duration>,
    last: Option<Instant>,
    alarm: Option<Alarm>,
    record: Option<Box<Record>>,
    grpc: bool,
    random: u64,
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

    /// Lets the upstream have the rest of the request while the client is slow to take the response.
    pub(crate) fn nudge(&self, cx: &mut Context<'_>) {
        if let Content::Relay(relay) = &self.content {
            relay.incoming.nudge(cx);
        }
    }
}

/// What [`Relay::new`] needs beside the body.
pub(crate) struct Terms {
    /// Set when the request has a body: a connection is only re-used once all of it was sent.
    pub(crate) request: Option<Progress>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) idle: Option<Duration>,
    pub(crate) record: Option<Box<Record>>,
    pub(crate) random: u64,
}

impl Relay {
    pub(crate) fn new(
        incoming: Inbound,
        lease: Lease,
        headers: &http::HeaderMap,
        terms: Terms,
    ) -> Self {
        let grpc = lease.fleet().config.outlier.is_some() && is_grpc(headers);
        Self {
            incoming,
            lease,
            request: terms.request,
            finished: false,
            deadline: terms.deadline,
            idle: terms.idle,
            last: None,
            alarm: None,
            record: terms.record,
            grpc,
            random: terms.random,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
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
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => self.poll_timers(cx),
        }
    }

    /// Timers start only once the upstream keeps us waiting: most bodies arrive with their header.
    fn poll_timers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let idle = self
            .idle
            .map(|idle| *self.last.get_or_insert_with(Instant::now) + idle);
        let Some(at) = earlier(self.deadline, idle) else {
            return Poll::Pending;
        };
        ready!(self.alarm.get_or_insert_default().poll(at, cx));
        self.finished = true;
        self.lease.stats().upstream_rq_timeout.inc();
        if let Some(record) = &mut self.record {
            record.flag(if self.deadline == Some(at) {
                "UT"
            } else {
                "SI"
            });
        }
        Poll::Ready(Some(Err("the upstream response took too long".into())))
    }

    fn trailers(&mut self, trailers: &http::HeaderMap) {
        if let Some(record) = &mut self.record {
            record.trailers(trailers);
        }
        if self.grpc
            && let Some(status) = super::local::grpc_status(trailers)
        {
            self.lease.fleet().observe(
                &self.lease.upstream.host,
                super::local::http_from_grpc(status),
                self.random,
            );
        }
    }

    fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            if self
                .request
                .as_ref()
                .is_none_or(|request| request.completed().is_some())
            {
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
