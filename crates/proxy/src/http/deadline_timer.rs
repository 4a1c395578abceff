//! Deadlines that cost almost nothing unless they are missed.
//!
//! Arming a runtime timer for each request costs more than routing it. The deadlines of successive requests on one
//! connection mostly move forward, so one timer stays armed at an old deadline and, when it fires early, is set to
//! the current one.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// One timer, reused for the deadlines of one connection (HTTP/1) or one stream (HTTP/2).
#[derive(Default)]
pub(crate) struct DeadlineTimer(RefCell<Option<Pin<Box<Sleep>>>>);

/// The deadline passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl DeadlineTimer {
    /// Ready when `at` has passed. Wakes the task at `at` or earlier.
    pub(crate) fn poll(&self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let mut slot = self.0.borrow_mut();
        let sleep = slot.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if tokio::time::Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// Runs a future until it is done or the deadline that `at` returns has passed. `at` is called again whenever the
    /// timer fires, so it may move. The future is borrowed, because an `async fn` that owned it would store it twice.
    pub(crate) fn race<'a, F: Future>(
        &'a self,
        mut future: Pin<&'a mut F>,
        mut at: impl FnMut(&Context<'_>) -> Option<Instant> + 'a,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + 'a {
        std::future::poll_fn(move |cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            while let Some(deadline) = at(cx) {
                if self.poll(deadline, cx).is_pending() {
                    return Poll::Pending;
                }
                if at(cx).is_none_or(|again| again <= deadline) {
                    return Poll::Ready(Err(Elapsed));
                }
            }
            Poll::Pending
        })
    }
}

/// The earlier of two optional deadlines.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

pub(crate) fn after(start: Instant, duration: Option<Duration>) -> Option<Instant> {
    duration.and_then(|duration| start.checked_add(duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    #[tokio::test]
    async fn one_timer_serves_growing_and_shrinking_deadlines() {
        let timer = DeadlineTimer::default();
        let never = std::future::pending::<()>;
        for millis in [5, 40, 10] {
            let deadline = Instant::now() + Duration::from_millis(millis);
            assert_eq!(
                timer.race(pin!(never()), |_| Some(deadline)).await,
                Err(Elapsed)
            );
            assert!(Instant::now() >= deadline);
        }
        let past = Instant::now();
        assert_eq!(
            timer
                .race(pin!(std::future::ready(1)), |_| Some(past))
                .await,
            Ok(1),
            "the future goes first"
        );
        assert_eq!(
            timer.race(pin!(tokio::task::yield_now()), |_| None).await,
            Ok(())
        );
    }

    #[tokio::test]
    async fn a_deadline_that_moved_meanwhile_is_waited_for() {
        let timer = DeadlineTimer::default();
        let start = Instant::now();
        let mut asked = 0;
        let moving = |_: &Context<'_>| {
            asked += 1;
            Some(start + Duration::from_millis(if asked < 3 { 5 } else { 30 }))
        };
        assert_eq!(
            timer.race(pin!(std::future::pending::<()>()), moving).await,
            Err(Elapsed)
        );
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
