//! The client side of an HTTP/1 connection.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Method, Response};
use hyper::body::{Body, Frame};
use tokio::net::TcpStream;

use super::body_decoder::{BodyDecodeError, Decoder};
use super::buffered_stream::BufferedStream;
use super::connection::Connection;
use super::deferred_writes::{PendingWrite, WriteCoalescer};
use super::encode::{self, BodyLength, Encoder, OutgoingHead};
use super::framing::Framing;
use super::head::{self, Limits, ResponseHead};
use crate::http::received_body::{IncomingBody, PollFrame};
use crate::http::upstream_request_body::OutgoingBody;
use crate::upstream::connection_pool::ConnectionGuard;

/// A connection to an upstream: one request at a time.
pub(crate) struct UpstreamConnection {
    state: RefCell<State>,
    limits: Limits,
    /// Counts the connection as open.
    guard: ConnectionGuard,
}

struct State {
    connection: Connection,
    /// The request's body, until all of it is encoded.
    body: Option<(OutgoingBody, Encoder)>,
    /// Whether another request may follow the response.
    keep_alive: bool,
    /// Whether nothing of the request has reached the socket, and nothing was read from its body.
    unsent: bool,
    /// Writing failed; the upstream may still respond.
    write_closed: bool,
}

/// The encoding progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FillStatus {
    Complete,
    /// The output has to be written first.
    BufferFull,
    /// More of the body has to arrive first.
    BodyPending,
}

/// The reason why no response came.
pub(crate) enum SendError {
    /// Nothing of the request was written; its body is returned.
    Unsent(OutgoingBody),
    /// The connection ended, or the request's body was incomplete.
    Reset,
    /// The received bytes are not an HTTP response.
    ParseError,
}

impl UpstreamConnection {
    pub(crate) fn new(stream: TcpStream, limits: Limits, guard: ConnectionGuard) -> Self {
        Self {
            state: RefCell::new(State {
                connection: Connection::new(stream, BytesMut::new()),
                body: None,
                keep_alive: true,
                unsent: true,
                write_closed: false,
            }),
            limits,
            guard,
        }
    }

    /// Whether an idle connection can be used.
    pub(crate) fn is_alive(&self) -> bool {
        self.state.borrow().connection.stream.is_alive()
    }

    /// Whether request and response are complete and another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        let state = self.state.borrow();
        let Connection {
            stream, decoder, ..
        } = &state.connection;
        state.keep_alive
            && !state.write_closed
            && state.body.is_none()
            && decoder.is_end()
            && stream.input.is_empty()
            && stream.output.is_empty()
    }

    /// Sends a request and waits for the head of its response. The rest of the request's body is sent while the
    /// response's is read.
    pub(crate) async fn send(
        self: &Rc<Self>,
        head: OutgoingHead<'_>,
        body: OutgoingBody,
        write_coalescer: &WriteCoalescer,
    ) -> Result<Response<IncomingBody>, SendError> {
        {
            let state = &mut *self.state.borrow_mut();
            let out = state.connection.stream.output.tail();
            let encoder = encode::request(&head, BodyLength::of(&body), out);
            state.keep_alive = false;
            state.unsent = true;
            state.body = Some((body, encoder));
        }
        let method = head.method;
        let mut begun = false;
        let head = std::future::poll_fn(|cx| {
            if !std::mem::replace(&mut begun, true) && self.state.borrow_mut().prepare(cx) {
                write_coalescer.add(PendingWrite::Request(self.clone()));
            }
            self.state.borrow_mut().poll_head(cx, method, self.limits)
        })
        .await?;
        let body = if head.framing == Framing::None {
            IncomingBody::Empty
        } else {
            IncomingBody::Response(self.clone())
        };
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// The next frame of the response's body.
    pub(crate) fn poll_body(&self, cx: &mut Context<'_>) -> PollFrame<BodyDecodeError> {
        self.state.borrow_mut().poll_body(cx)
    }

    pub(crate) fn is_body_read(&self) -> bool {
        self.state.borrow().connection.decoder.is_end()
    }

    pub(crate) fn body_remaining(&self) -> Option<u64> {
        self.state.borrow().connection.decoder.remaining()
    }

    /// Writes the rest of the request, as far as the socket accepts it.
    pub(crate) fn drive_request(&self, cx: &mut Context<'_>) {
        self.state.borrow_mut().write_request(cx);
    }

    /// Writes a deferred request.
    pub(super) fn flush_deferred(&self) {
        let state = &mut *self.state.borrow_mut();
        let before = state.connection.stream.output.len();
        state.connection.flush_deferred();
        state.unsent &= state.connection.stream.output.len() == before;
    }

    /// The socket with its unread input, for a connection that has switched protocols; the connection counts as open
    /// until the guard is dropped. `None` while it is still in use.
    pub(crate) fn into_stream(self: Rc<Self>) -> Option<(BufferedStream, ConnectionGuard)> {
        let this = Rc::try_unwrap(self).ok()?;
        Some((this.state.into_inner().connection.stream, this.guard))
    }
}

impl State {
    /// Writes as much of the request as the socket accepts. Errors show when the response is read.
    fn write_request(&mut self, cx: &mut Context<'_>) {
        if (self.body.is_some() || !self.is_flushed())
            && !self.write_closed
            && self.write(cx).is_err()
        {
            self.write_closed = true;
        }
    }

    /// Whether there is nothing to write here: the buffer is empty, or the write coalescer flushes it.
    fn is_flushed(&self) -> bool {
        self.connection.write_deferred || self.connection.stream.output.is_empty()
    }

    /// Encodes the whole request if its body was received and is small; returns whether it was.
    fn prepare(&mut self, cx: &mut Context<'_>) -> bool {
        let complete = matches!(self.fill(cx), Ok(FillStatus::Complete));
        self.connection.write_deferred = complete;
        if complete {
            self.connection.register_waker(cx);
        }
        complete
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let filled = self.fill(cx)?;
            let stream = &mut self.connection.stream;
            let before = stream.output.len();
            let flushed = stream.poll_flush(cx);
            self.unsent &= stream.output.len() == before;
            if flushed?.is_pending() || filled != FillStatus::BufferFull {
                return Ok(());
            }
        }
    }

    /// Encodes as much of the request's body as is available and fits.
    fn fill(&mut self, cx: &mut Context<'_>) -> io::Result<FillStatus> {
        let output = &mut self.connection.stream.output;
        while let Some((body, encoder)) = &mut self.body {
            if output.is_full() {
                return Ok(FillStatus::BufferFull);
            }
            let frame = if body.is_end_stream() {
                None
            } else {
                let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                    return Ok(FillStatus::BodyPending);
                };
                // Bytes read from the body cannot be put back.
                self.unsent &= frame.is_none();
                frame.transpose().map_err(io::Error::other)?
            };
            let ended = match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    encoder.data(data, output);
                    continue;
                }
                Some(Err(frame)) => encoder.end(frame.trailers_ref(), output),
                None => encoder.end(None, output),
            };
            self.body = None;
            ended.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        }
        Ok(FillStatus::Complete)
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        limits: Limits,
    ) -> Poll<Result<ResponseHead, SendError>> {
        if (self.body.is_some() || !self.is_flushed())
            && !self.write_closed
            && let Err(error) = self.write(cx)
        {
            self.write_closed = true;
            if self.unsent {
                let body = self
                    .body
                    .take()
                    .map_or(OutgoingBody::Empty, |(body, _)| body);
                return Poll::Ready(Err(SendError::Unsent(body)));
            }
            // The upstream waits for the rest of the body; no response will come.
            if error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::UnexpectedEof
            {
                return Poll::Ready(Err(SendError::Reset));
            }
        }
        let Connection {
            stream,
            head_finder,
            decoder,
            ..
        } = &mut self.connection;
        loop {
            if !stream.input.is_empty() {
                match head::response(&mut stream.input, head_finder, limits, method) {
                    Ok(Some(head)) => {
                        *decoder = Decoder::new(head.framing);
                        self.keep_alive = head.keep_alive;
                        return Poll::Ready(Ok(head));
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Err(SendError::ParseError)),
                }
            }
            match ready!(stream.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(SendError::Reset)),
                Ok(_) => {}
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> PollFrame<BodyDecodeError> {
        self.write_request(cx);
        let frame = ready!(self.connection.poll_body(cx));
        self.keep_alive &= !matches!(frame, Some(Err(_)));
        Poll::Ready(frame)
    }
}
