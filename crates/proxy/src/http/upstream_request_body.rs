//! Request bodies on their way upstream, buffered where a retry may need them again.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::received_body::{BodyError, IncomingBody, PollFrame};
use crate::http1::BodyDecodeError;

/// The progress of reading a request's body from the client. A request without a body is complete from its start.
#[derive(Clone, Default)]
pub(crate) struct BodyProgress(Option<Rc<Reading>>);

struct Reading {
    state: Cell<ReadState>,
    /// Time at which the last frame was read; at first, when the request arrived.
    last: Cell<Instant>,
    /// Whether the client has not sent the next frame. Otherwise the upstream does not read.
    waiting: Cell<bool>,
    /// Wakes the task whose deadline depends on this.
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Reading,
    Complete,
    /// The client disconnected or sent a malformed body; with the status of the response.
    Failed(StatusCode),
}

impl BodyProgress {
    pub(super) fn of_body(started: Instant) -> Self {
        Self(Some(Rc::new(Reading {
            state: Cell::new(ReadState::Reading),
            last: Cell::new(started),
            waiting: Cell::new(false),
            waker: RefCell::default(),
        })))
    }

    /// Records the outcome of a poll of the body.
    fn observe(&self, frame: &PollFrame, ended: bool, cx: &Context<'_>) {
        let Some(reading) = &self.0 else { return };
        if reading.state.get() != ReadState::Reading {
            return;
        }
        let Poll::Ready(frame) = frame else {
            reading.waiting.set(true);
            return;
        };
        reading.waiting.set(false);
        reading.last.set(Instant::now());
        match frame {
            Some(Err(error)) => {
                let status = error.downcast_ref::<BodyDecodeError>().map(|e| e.status());
                let failed = ReadState::Failed(status.unwrap_or(StatusCode::BAD_REQUEST));
                reading.state.set(failed);
            }
            None => reading.state.set(ReadState::Complete),
            Some(Ok(_)) if ended => reading.state.set(ReadState::Complete),
            Some(Ok(_)) => {}
        }
        if let Some(waker) = &*reading.waker.borrow()
            && !waker.will_wake(cx.waker())
        {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0
            .as_ref()
            .is_none_or(|reading| reading.state.get() == ReadState::Complete)
    }

    /// The status of the response to a body that cannot be read to its end.
    pub(crate) fn failure(&self) -> Option<StatusCode> {
        match self.0.as_ref()?.state.get() {
            ReadState::Failed(status) => Some(status),
            ReadState::Reading | ReadState::Complete => None,
        }
    }

    /// Whether the request is incomplete because the client sends nothing.
    pub(crate) fn is_client_slow(&self) -> bool {
        self.0.as_ref().is_some_and(|reading| {
            reading.state.get() == ReadState::Reading && reading.waiting.get()
        })
    }

    /// Time at which the client last sent a frame of the body; `started` if it sent none.
    pub(crate) fn last_read(&self, started: Instant) -> Instant {
        self.0
            .as_ref()
            .map_or(started, |reading| reading.last.get())
    }

    /// Wakes this task when more of the body has been read.
    pub(crate) fn watch(&self, cx: &Context<'_>) {
        let Some(reading) = &self.0 else { return };
        if reading.state.get() == ReadState::Reading {
            let mut waker = reading.waker.borrow_mut();
            let known = waker.get_or_insert_with(|| cx.waker().clone());
            known.clone_from(cx.waker());
        }
    }
}

/// The body of one attempt.
pub(crate) enum OutgoingBody {
    Empty,
    Stream {
        body: IncomingBody,
        progress: BodyProgress,
    },
    Replay(ReplayBody),
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PollFrame {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream { body, progress } => {
                let frame = Pin::new(&mut *body).poll_frame(cx);
                progress.observe(&frame, body.is_end_stream(), cx);
                frame
            }
            Self::Replay(attempt) => attempt.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { body, .. } => body.is_end_stream(),
            Self::Replay(attempt) => attempt.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Stream { body, .. } => body.size_hint(),
            Self::Replay(attempt) => attempt.buffer.0.borrow().hint,
        }
    }
}

/// A request body that buffers the bytes read from it, up to a limit.
pub(crate) struct ReplayBuffer(Rc<RefCell<ReplayState>>);

struct ReplayState {
    source: IncomingBody,
    hint: SizeHint,
    frames: Vec<Bytes>,
    held: usize,
    limit: usize,
    /// More bytes arrived than the limit: no further attempt is possible.
    overflown: bool,
    progress: BodyProgress,
    ended: bool,
    trailers: Option<HeaderMap>,
    /// The attempt that may read from the source. The connection of an abandoned attempt may still poll its body; it
    /// must neither take bytes from its successor nor end its own request as if it were complete.
    current: u32,
}

impl ReplayBuffer {
    pub(crate) fn new(source: IncomingBody, limit: usize, progress: BodyProgress) -> Self {
        let hint = source.size_hint();
        Self(Rc::new(RefCell::new(ReplayState {
            ended: source.is_end_stream(),
            source,
            hint,
            frames: Vec::new(),
            held: 0,
            limit,
            overflown: false,
            progress,
            trailers: None,
            current: 0,
        })))
    }

    /// The body for the next attempt; bodies of earlier attempts return nothing more.
    pub(crate) fn attempt(&self) -> ReplayBody {
        let mut state = self.0.borrow_mut();
        state.current += 1;
        ReplayBody {
            buffer: Self(self.0.clone()),
            number: state.current,
            next: 0,
            trailers_sent: false,
        }
    }

    pub(crate) fn can_replay(&self) -> bool {
        let state = self.0.borrow();
        !state.overflown && state.progress.failure().is_none()
    }
}

pub(crate) struct ReplayBody {
    buffer: ReplayBuffer,
    number: u32,
    next: usize,
    trailers_sent: bool,
}

impl ReplayBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> PollFrame {
        let mut state = self.buffer.0.borrow_mut();
        let state = &mut *state;
        if state.current != self.number {
            return Poll::Pending;
        }
        if let Some(frame) = state.frames.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if state.ended {
            if self.trailers_sent {
                return Poll::Ready(None);
            }
            self.trailers_sent = true;
            return Poll::Ready(
                state
                    .trailers
                    .clone()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        }
        let frame = Pin::new(&mut state.source).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            if let Some(data) = frame.data_ref() {
                self.next = state.keep(data);
            } else if let Some(trailers) = frame.trailers_ref() {
                state.trailers = Some(trailers.clone());
                self.trailers_sent = true;
            }
        }
        state.ended = matches!(frame, Poll::Ready(None))
            || state.source.is_end_stream()
            || self.trailers_sent;
        state.progress.observe(&frame, state.ended, cx);
        frame
    }

    fn is_end_stream(&self) -> bool {
        let state = self.buffer.0.borrow();
        state.ended
            && state.current == self.number
            && self.next >= state.frames.len()
            && (state.trailers.is_none() || self.trailers_sent)
    }
}

impl ReplayState {
    /// Buffers a frame while the limit allows; returns the reader's position.
    fn keep(&mut self, data: &Bytes) -> usize {
        self.held += data.len();
        if self.held > self.limit {
            self.overflown = true;
            self.frames.clear();
        } else {
            self.frames.push(data.clone());
        }
        self.frames.len()
    }
}
