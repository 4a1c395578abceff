//! Writing responses, and ending connections.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode, Version};
use hyper::body::{Body, Frame};

use super::super::departures::Departure;
use super::super::encode::{self, Asked, Encoder, Extent, TooShort};
use super::super::spare;
use super::{Downstream, Facts};
use crate::http::alarm::after;
use crate::http::relay::Reply;
use crate::http::upgrade::Tunnel;
use crate::http::{Session, refusal};

/// How long we listen to a client that we are done with, and to how much, so that it reads our answer before it
/// learns of the end.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;
/// How long a client has to take the last bytes before its connection ends.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// What becomes of a connection after a response.
pub(super) enum After {
    Next,
    Close,
    Broken,
    Tunnel(Box<Tunnel>),
}

/// A response on its way out.
struct Writing {
    encoder: Option<Encoder>,
    /// Nothing follows on the connection.
    last: bool,
    /// How much waited to be written when the client took the last of it.
    blocked: Option<(usize, Instant)>,
    /// The body ended before its end.
    cut: bool,
}

impl Downstream {
    /// Writes a response, and settles what its request left behind.
    pub(super) async fn answer(
        &self,
        session: &Session,
        facts: &Facts,
        response: Response<Reply>,
    ) -> After {
        let (head, mut reply) = response.into_parts();
        let extent = Extent::of(&reply);
        // Of a request that is answered before it is complete, the rest is passed over if it is here and nobody else
        // reads it; else the connection ends with the answer, and the answer says so.
        let clean = self.is_body_read()
            || (!reply.is_relayed()
                && std::future::poll_fn(|cx| Poll::Ready(self.0.borrow_mut().skip_body(cx))).await);
        let (mut encoder, stays) = {
            let state = &mut *self.0.borrow_mut();
            let asked = Asked {
                method: &facts.method,
                version: facts.version,
                keep_alive: facts.keep_alive && clean,
                trailers: facts.trailers,
            };
            let out = state.wire.output.tail();
            encode::response(head.status, &head.headers, asked, extent, out)
        };
        spare::give(head.headers);
        let ends_with_connection = encoder.as_ref().is_some_and(Encoder::is_last);
        if extent == Extent::Empty {
            encoder = None;
        }
        let last = !stays || head.status == StatusCode::SWITCHING_PROTOCOLS;
        let mut writing = Writing {
            encoder,
            last,
            blocked: None,
            cut: false,
        };
        let written =
            std::future::poll_fn(|cx| self.poll_reply(session, &mut reply, &mut writing, cx)).await;
        if written.is_err() {
            return After::Broken;
        }
        if let Some(tunnel) = reply.take_tunnel() {
            return After::Tunnel(tunnel);
        }
        if writing.cut && ends_with_connection {
            self.0.borrow().wire.reset_on_close();
            return After::Broken;
        }
        if stays && !writing.cut {
            After::Next
        } else {
            After::Close
        }
    }

    /// Writes the body. Its end may be left to the departures unless it is the connection's last word. What came of a
    /// body that breaks off is written, so that the client never takes its request for unanswered. An error ends the
    /// connection at once.
    fn poll_reply(
        &self,
        session: &Session,
        reply: &mut Reply,
        writing: &mut Writing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        loop {
            let mut waiting = false;
            // The state is not borrowed while the reply is polled, because that may read the request's body.
            while let Some(encoder) = writing.encoder.as_mut().filter(|_| !self.is_full()) {
                let Poll::Ready(frame) = Pin::new(&mut *reply).poll_frame(cx) else {
                    waiting = true;
                    break;
                };
                let output = &mut self.0.borrow_mut().wire.output;
                let ended = match frame.map(|frame| frame.map(Frame::into_data)) {
                    None => Some(encoder.end(None, output)),
                    Some(Err(_)) => Some(Err(TooShort)),
                    Some(Ok(Ok(data))) => {
                        encoder.data(data, output);
                        (reply.is_end_stream() || encoder.is_full())
                            .then(|| encoder.end(None, output))
                    }
                    Some(Ok(Err(frame))) => Some(encoder.end(frame.trailers_ref(), output)),
                };
                if let Some(ended) = ended {
                    writing.encoder = None;
                    writing.cut = ended.is_err();
                }
            }
            let ended = writing.encoder.is_none();
            if ended && !writing.last && !writing.cut && !self.is_full() {
                return Poll::Ready(Ok(()));
            }
            let flushed = self.0.borrow_mut().wire.poll_flush(cx);
            match flushed {
                Poll::Ready(Err(_)) => return Poll::Ready(Err(())),
                Poll::Ready(Ok(())) if ended => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if waiting => {
                    return self.poll_trouble(cx).map(|_| Err(()));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Pending => return self.poll_blocked(session, reply, writing, cx),
            }
        }
    }

    /// The client does not take more of the response now. That must not keep the upstream from the rest of the
    /// request; nor may it last for ever.
    fn poll_blocked(
        &self,
        session: &Session,
        reply: &mut Reply,
        writing: &mut Writing,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ()>> {
        if reply.poll_blocked(cx).is_ready() {
            return Poll::Ready(Err(()));
        }
        let left = self.0.borrow().wire.output.len();
        let since = match writing.blocked {
            Some((before, since)) if before == left => since,
            _ => writing.blocked.insert((left, Instant::now())).1,
        };
        match after(since, session.manager.stream_idle_timeout) {
            Some(at) => session.alarm.poll(at, cx).map(Err),
            None => Poll::Pending,
        }
    }

    /// Leaves the end of a response to the worker's departures.
    pub(super) fn depart_with(self: &Rc<Self>, session: &Session) {
        {
            let state = &mut *self.0.borrow_mut();
            if state.departing || state.wire.output.is_empty() {
                return;
            }
            state.departing = true;
        }
        let departures = &session.worker.departures;
        departures.add(Departure::Response(self.clone()));
    }

    /// Writes a response that waited. What the socket does not take, or an error, is left to the serving task.
    pub(in crate::http1) fn depart(&self) {
        let state = &mut *self.0.borrow_mut();
        if std::mem::take(&mut state.departing)
            && state.wire.flush_now().is_err()
            && let Some(waker) = &state.waker
        {
            waker.wake_by_ref();
        }
    }

    /// Writes what is left before the connection ends. Returns whether all of it was written within the time that
    /// is left for it.
    async fn flush(&self) -> bool {
        let flushed = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_flush(cx));
        matches!(tokio::time::timeout(LAST_WRITE, flushed).await, Ok(Ok(())))
    }

    fn is_full(&self) -> bool {
        self.0.borrow().wire.output.is_full()
    }

    /// Answers what is no request, and closes.
    pub(super) async fn refuse(&self, session: &Session, status: StatusCode, text: &'static str) {
        let asked = Asked {
            method: &Method::GET,
            version: Version::HTTP_11,
            keep_alive: false,
            trailers: false,
        };
        let (head, body) = refusal(session, status, text).into_parts();
        {
            let output = &mut self.0.borrow_mut().wire.output;
            let extent = Extent::Exact(body.len() as u64);
            encode::response(status, &head.headers, asked, extent, output.tail());
            output.push(body);
        }
        if self.flush().await {
            self.linger().await;
        }
    }

    /// Ends the connection after what was said on it.
    pub(super) async fn close(&self) {
        if !self.flush().await {
            return;
        }
        let unread = {
            let state = self.0.borrow();
            !state.decoder.is_end() || !state.wire.input.is_empty()
        };
        if unread {
            self.linger().await;
        } else {
            // It may be closed already.
            let _ = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_shutdown(cx)).await;
        }
    }

    /// Says goodbye and listens for a while: the kernel throws away what the client has not read of our answer when
    /// a socket is closed with unread bytes.
    async fn linger(&self) {
        let mut left = LINGER_BYTES;
        let heard = std::future::poll_fn(|cx| {
            let state = &mut *self.0.borrow_mut();
            loop {
                state.wire.input.clear();
                match ready!(state.wire.poll_read(cx)) {
                    Ok(read @ 1..) if read < left => left -= read,
                    _ => return Poll::Ready(()),
                }
            }
        });
        let shut = std::future::poll_fn(|cx| self.0.borrow_mut().wire.poll_shutdown(cx)).await;
        if shut.is_ok() {
            // Either way there is nothing more to do.
            let _ = tokio::time::timeout(LINGER, heard).await;
        }
    }
}
