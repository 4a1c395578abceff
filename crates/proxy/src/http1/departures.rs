//! Messages that leave together.
//!
//! A worker that writes each message as soon as it is made wakes its peer each time, and is often pushed off its core
//! by it, to be woken in turn for the next one. So what the tasks of one round have made waits until all of them have
//! run; then it is written in one go, to peers that are awake. That took a seventh of the kernel's time per request.
//! A worker with one request at hand writes it at once: its round is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::{Downstream, Link};

/// So many wait at most, which bounds the time that waiting adds.
const MOST: usize = 32;

/// The connections of one worker whose output waits for the end of the round.
#[derive(Default)]
pub(crate) struct Departures {
    waiting: RefCell<Vec<Departure>>,
    waker: RefCell<Option<Waker>>,
    ended: Cell<bool>,
}

pub(super) enum Departure {
    Request(Rc<Link>),
    Response(Rc<Downstream>),
}

impl Departures {
    /// Writes the connection's output at the end of the round, or now if there are too many.
    pub(super) fn add(&self, departure: Departure) {
        let count = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(departure);
            waiting.len()
        };
        if count >= MOST || self.ended.get() {
            self.leave();
        } else if count == 1
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }

    /// Writes what waits.
    pub(crate) fn leave(&self) {
        let mut leaving = self.waiting.take();
        for departure in leaving.drain(..) {
            match departure {
                Departure::Request(link) => link.depart(),
                Departure::Response(client) => client.depart(),
            }
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            // Its room is used again.
            *waiting = leaving;
        }
    }

    /// Sees departures off for as long as it is polled. Woken behind the tasks that are ready already, it runs after
    /// them.
    pub(crate) async fn run(&self) {
        let _end = End(&self.ended);
        std::future::poll_fn(|cx| {
            let mut waker = self.waker.borrow_mut();
            match waker.as_mut() {
                Some(known) => known.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            drop(waker);
            self.leave();
            Poll::Pending
        })
        .await
    }
}

/// Without somebody who sees them off, departures leave at once.
struct End<'a>(&'a Cell<bool>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
