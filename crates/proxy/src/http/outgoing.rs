//! Request bodies on their way upstream, kept for a second attempt where a retry may need them.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::inbound::{BodyError, Inbound};

/// When the whole request body had been read from the client, once it has. Requests without a body have none.
#[derive(Clone, Default)]
pub(crate) struct Progress(Option<Rc<Cell<Option<Instant>>>>);

impl Progress {
    pub(super) fn of_body() -> Self {
        Self(Some(Rc::default()))
    }

    fn complete(&self) {
        if let Some(at) = self.0.as_deref().filter(|at| at.get().is_none()) {
            at.set(Some(Instant::now()));
        }
    }

    pub(crate) fn completed(&self) -> Option<Instant> {
        self.0.as_deref()?.get()
    }
}

/// The body of one attempt.
pub(crate) enum Outgoing {
    Empty,
    Stream { body: Inbound, progress: Progress },
    Replay(Attempt),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Stream { body, progress } => {
                let frame = Pin::new(&mut *body).poll_frame(cx);
                if matches!(frame, Poll::Ready(None)) || body.is_end_stream() {
                    progress.complete();
                }
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
            Self::Replay(attempt) => attempt.recording.0.borrow().hint,
        }
    }
}

/// A request body that remembers what was read from it, up to a limit.
pub(crate) struct Recording(Rc<RefCell<Tape>>);

struct Tape {
    source: Inbound,
    hint: SizeHint,
    frames: Vec<Bytes>,
    held: usize,
    limit: usize,
    /// More arrived than may be kept: no further attempt is possible.
    overflown: bool,
    progress: Progress,
    ended: bool,
    trailers: Option<HeaderMap>,
    /// The attempt that may read from the source. An abandoned attempt's connection may still poll its body; it must
    /// neither take bytes from its successor nor end its own request as if it were complete.
    current: u32,
}

impl Recording {
    pub(crate) fn new(source: Inbound, limit: usize, progress: Progress) -> Self {
        let hint = source.size_hint();
        Self(Rc::new(RefCell::new(Tape {
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

    /// The body for the next attempt; earlier ones stall.
    pub(crate) fn attempt(&self) -> Attempt {
        let mut tape = self.0.borrow_mut();
        tape.current += 1;
        Attempt {
            recording: Self(self.0.clone()),
            number: tape.current,
            next: 0,
            trailers_sent: false,
        }
    }

    pub(crate) fn can_replay(&self) -> bool {
        !self.0.borrow().overflown
    }
}

pub(crate) struct Attempt {
    recording: Recording,
    number: u32,
    next: usize,
    trailers_sent: bool,
}

impl Tape {
    fn end(&mut self) {
        self.ended = true;
        self.progress.complete();
    }
}

impl Attempt {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut tape = self.recording.0.borrow_mut();
        let tape = &mut *tape;
        if tape.current != self.number {
            return Poll::Pending;
        }
        if let Some(frame) = tape.frames.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if tape.ended {
            if self.trailers_sent {
                return Poll::Ready(None);
            }
            self.trailers_sent = true;
            return Poll::Ready(
                tape.trailers
                    .clone()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        }
        let frame = std::task::ready!(Pin::new(&mut tape.source).poll_frame(cx));
        match &frame {
            None => tape.end(),
            Some(Err(_)) => {}
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.next = tape.keep(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    tape.trailers = Some(trailers.clone());
                    tape.end();
                    self.trailers_sent = true;
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let tape = self.recording.0.borrow();
        tape.ended
            && tape.current == self.number
            && self.next >= tape.frames.len()
            && (tape.trailers.is_none() || self.trailers_sent)
    }
}

impl Tape {
    /// Remembers a frame while the limit allows; returns where the reader stands now.
    fn keep(&mut self, data: &Bytes) -> usize {
        self.held += data.len();
        if self.held > self.limit {
            self.overflown = true;
            self.frames.clear();
        } else {
            self.frames.push(data.clone());
        }
        if self.source.is_end_stream() {
            self.end();
        }
        self.frames.len()
    }
}
