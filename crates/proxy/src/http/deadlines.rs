//! The deadlines of one request, and which of them has passed.

use std::time::{Duration, Instant};

use super::deadline_timer::{after, earlier};
use super::upstream_request_body::BodyProgress;

/// The deadlines of one request. `None` is no deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) started: Instant,
    /// From the start to the end of the request.
    pub(crate) request: Option<Duration>,
    /// Time at which request and response end at the latest, however much of them arrives.
    pub(crate) limit: Option<Instant>,
    /// From the end of the request to the end of the response.
    pub(crate) timeout: Option<Duration>,
    /// Between two frames of request or response.
    pub(crate) idle: Option<Duration>,
}

/// The kind of the deadline that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Request,
    Limit,
    Response,
    Idle,
}

impl Deadlines {
    /// The next deadline. `answered`: the time of the last frame of the response.
    pub(crate) fn next(&self, request: &BodyProgress, answered: Instant) -> Option<Instant> {
        let (idle, total) = self.both(request, answered);
        earlier(self.limit, earlier(idle, total))
    }

    /// The kind of the next deadline.
    pub(crate) fn expired(&self, request: &BodyProgress, answered: Instant) -> Expired {
        let (idle, total) = self.both(request, answered);
        let at = earlier(self.limit, earlier(idle, total));
        if at == self.limit {
            Expired::Limit
        } else if at == idle {
            Expired::Idle
        } else if request.is_client_slow() {
            Expired::Request
        } else {
            Expired::Response
        }
    }

    fn both(
        &self,
        request: &BodyProgress,
        answered: Instant,
    ) -> (Option<Instant>, Option<Instant>) {
        let read = request.last_read(self.started);
        let total = if request.is_client_slow() {
            after(self.started, self.request)
        } else {
            // The request is complete, or waits for the upstream to read more of it.
            after(read, self.timeout)
        };
        (after(read.max(answered), self.idle), total)
    }
}
