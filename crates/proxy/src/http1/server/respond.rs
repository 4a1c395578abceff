//! Writes responses, and closes connections.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode, Version};
use hyper::body::{Body, Frame};

use super::super::deferred_writes::PendingWrite;
use super::super::encode::{self, BodyLength, BodyTooShort, Encoder, RequestMeta};
use super::super::header_pool;
use super::DownstreamConnection;
use crate::http::deadline_timer::after;
use crate::http::response_body::ResponseBody;
use crate::http::upgrade::Tunnel;
use crate::http::{Session, error_response};

/// Maximum time and bytes that are read after the last response, so that the client reads the response before the
/// connection is reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// Deadline for the client to read the last bytes before its connection ends.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// The state of a connection after a response.
pub(super) enum NextState {
    KeepAlive,
    Close,
    Broken,
    Tunnel(Box<Tunnel>),
}

/// The state of writing one response.
struct ResponseWriter {
    encoder: Option<Encoder>,
    /// Whether the connection ends after it.
    last: bool,
    /// The amount of pending output when the client last read some, with the time.
    blocked: Option<(usize, Instant)>,
    /// The body ended early.
    cut: bool,
}

impl DownstreamConnection {
    /// Writes a response, and discards or refuses the unread rest of its request.
    pub(super) async fn respond(
        &self,
        session: &Session,
        mut meta: RequestMeta,
        response: Response<ResponseBody>,
    ) -> NextState {
        let (head, mut reply) = response.into_parts();
        let body_length = BodyLength::of(&reply);
        // The rest of a request that is answered early is discarded if it was received and has no other reader;
        // otherwise the response says `connection: close`.
        let clean = self.is_body_read()
            || (!reply.is_forwarded()
                && std::future::poll_fn(|cx| Poll::Ready(self.0.borrow_mut().skip_body(cx))).await);
        let (mut encoder, stays) = {
            let state = &mut *self.0.borrow_mut();
            meta.keep_alive &= clean;
            let out = state.connection.stream.output.tail();
            encode::response(head.status, &head.headers, &meta, body_length, out)
        };
        header_pool::put(head.headers);
        let ends_with_connection = encoder.as_ref().is_some_and(Encoder::is_last);
        if body_length == BodyLength::Empty {
            encoder = None;
        }
        let last = !stays || head.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut writer = ResponseWriter {
            encoder,
            last,
            blocked: None,
            cut: false,
        };
        let written =
            std::future::poll_fn(|cx| self.poll_reply(session, &mut reply, &mut writer, cx)).await;
        if written.is_err() {
            return NextState::Broken;
        }
        if let Some(tunnel) = reply.take_tunnel() {
            return NextState::Tunnel(tunnel);
        }
        if writer.cut && ends_with_connection {
            self.0.borrow().connection.stream.reset_on_close();
            return NextState::Broken;
        }
        if stays && !writer.cut {
            NextState::KeepAlive
        } else {
            NextState::Close
        }
    }

    /// Writes the body. The end may be left to the write coalescer unless it is the last message of the connection.
    /// The received part of a truncated body is written, so that the client does not send its request again. An error
    /// ends the connection at once.
    fn poll_reply(
        &self,
        session: &Session,
        reply: &mut ResponseBody,
        writer: &mut ResponseWriter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        loop {
            let mut waiting = false;
            // The state is not borrowed while the reply is polled, because that may read the request's body.
            while let Some(encoder) = writer.encoder.as_mut().filter(|_| !self.is_full()) {
                let Poll::Ready(frame) = Pin::new(&mut *reply).poll_frame(cx) else {
                    waiting = true;
                    break;
                };
                let output = &mut self.0.borrow_mut().connection.stream.output;
                let ended = match frame.map(|frame| frame.map(Frame::into_data)) {
                    None => Some(encoder.end(None, output)),
                    Some(Err(_)) => Some(Err(BodyTooShort)),
                    Some(Ok(Ok(data))) => {
                        encoder.data(data, output);
                        (reply.is_end_stream() || encoder.is_full())
                            .then(|| encoder.end(None, output))
                    }
                    Some(Ok(Err(frame))) => Some(encoder.end(frame.trailers_ref(), output)),
                };
                if let Some(ended) = ended {
                    writer.encoder = None;
                    writer.cut = ended.is_err();
                }
            }
            let ended = writer.encoder.is_none();
            if ended && !writer.last && !writer.cut && !self.is_full() {
                return Poll::Ready(Ok(()));
            }
            let flushed = self.0.borrow_mut().connection.stream.poll_flush(cx);
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(())) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if waiting => {
                    return self.poll_error(cx).map(|_| Err(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return self.poll_blocked(session, reply, writer, cx),
            }
        }
    }

    /// The client does not read the response. The upstream still receives the rest of the request meanwhile, and the
    /// idle timeout bounds the wait.
    fn poll_blocked(
        &self,
        session: &Session,
        reply: &mut ResponseBody,
        writer: &mut ResponseWriter,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        if reply.poll_blocked(cx).is_ready() {
            return Poll::Ready(Err(()));
        }
        let left = self.0.borrow().connection.stream.output.len();
        let since = match writer.blocked {
            Some((before, since)) if before == left => since,
            _ => writer.blocked.insert((left, Instant::now())).1,
        };
        match after(since, session.manager.stream_idle_timeout) {
            Some(at) => session.timer.poll(at, cx).map(Err),
            None => Poll::Pending,
        }
    }

    /// Leaves the end of a response to the worker's write coalescer.
    pub(super) fn defer_write(self: &Rc<Self>, session: &Session) {
        {
            let connection = &mut self.0.borrow_mut().connection;
            if connection.write_deferred || connection.stream.output.is_empty() {
                return;
            }
            connection.write_deferred = true;
        }
        let write_coalescer = &session.worker.write_coalescer;
        write_coalescer.add(PendingWrite::Response(self.clone()));
    }

    /// Writes a deferred response.
    pub(in crate::http1) fn flush_deferred(&self) {
        self.0.borrow_mut().connection.flush_deferred();
    }

    /// Writes the pending output before the connection ends. Returns whether all of it was written in the remaining
    /// time.
    async fn flush(&self) -> bool {
        let flushed =
            std::future::poll_fn(|cx| self.0.borrow_mut().connection.stream.poll_flush(cx));
        matches!(tokio::time::timeout(LAST_WRITE, flushed).await, Ok(Ok(())))
    }

    fn is_full(&self) -> bool {
        self.0.borrow().connection.stream.output.is_full()
    }

    /// Responds to bytes that are not a request, and closes.
    pub(super) async fn reject(&self, session: &Session, status: StatusCode, text: &'static str) {
        let meta = RequestMeta {
            method: Method::GET,
            version: Version::HTTP_11,
            keep_alive: false,
            trailers: false,
        };
        let (head, body) = error_response(session, status, text).into_parts();
        {
            let output = &mut self.0.borrow_mut().connection.stream.output;
            let body_length = BodyLength::Exact(body.len() as u64);
            encode::response(status, &head.headers, &meta, body_length, output.tail());
            output.push(body);
        }
        if self.flush().await {
            self.linger().await;
        }
    }

    /// Closes the connection after the pending output was written.
    pub(super) async fn close(&self) {
        if !self.flush().await {
            return;
        }
        let unread = {
            let connection = &self.0.borrow().connection;
            !connection.decoder.is_end() || !connection.stream.input.is_empty()
        };
        if unread {
            self.linger().await;
        } else {
            // It may be closed already.
            let _ = self.shut_down().await;
        }
    }

    async fn shut_down(&self) -> std::io::Result<()> {
        std::future::poll_fn(|cx| self.0.borrow_mut().connection.stream.poll_shutdown(cx)).await
    }

    /// Shuts the write side down and reads until [`LINGER`]: when a socket is closed with unread bytes, the kernel
    /// discards the part of the response that the client has not read.
    async fn linger(&self) {
        let mut left = LINGER_BYTES;
        let received = std::future::poll_fn(|cx| {
            let stream = &mut self.0.borrow_mut().connection.stream;
            loop {
                stream.input.clear();
                match ready!(stream.poll_read(cx)) {
                    Ok(read @ 1..) if read < left => left -= read,
                    _ => return Poll::Ready(()),
                }
            }
        });
        if self.shut_down().await.is_ok() {
            // Both results end the connection.
            let _ = tokio::time::timeout(LINGER, received).await;
        }
    }
}
