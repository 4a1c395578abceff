//! The attempts of one request: sends it, and retries it as the policy says.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Body;

use super::super::RequestContext;
use super::super::deadline_timer::after;
use super::super::local_reply::{grpc_status, http_from_grpc};
use super::super::received_body::{HTTP2_FIELDS, IncomingBody};
use super::super::upstream_request_body::{BodyProgress, OutgoingBody, ReplayBuffer};
use super::{ATTEMPT_COUNT, target};
use crate::cluster_runtime::{ClusterRuntime, Host};
use crate::config::action::HostRewrite;
use crate::config::matcher::is_grpc;
use crate::config::retry::{Failure, RetryPolicy};
use crate::generation::LocalArc;
use crate::http1::{OutgoingHead, SendError};
use crate::upstream::connect::ConnectError;
use crate::upstream::connection_pool::{AcquireError, Permit, PooledConnection};
use crate::upstream::{ThreadLocalCluster, Upstream};

/// Maximum attempts outside of the retry policy, for requests of which nothing was sent.
const MAX_UNSENT_ATTEMPTS: u32 = 5;
/// Maximum picks to find a host that was not tried yet, where the policy sets no number.
const HOST_SELECTION_ATTEMPTS: u32 = 3;

/// One request to one cluster.
pub(super) struct Attempts<'a> {
    pub(super) request: &'a RequestContext<'a>,
    pub(super) cluster: &'a Rc<ThreadLocalCluster>,
    pub(super) runtime: LocalArc<ClusterRuntime>,
    pub(super) policy: Option<&'a RetryPolicy>,
    pub(super) method: &'a Method,
    pub(super) uri: Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a HostRewrite,
    pub(super) authority: HeaderValue,
    pub(super) http2: bool,
    pub(super) upgrade: bool,
    pub(super) source: RefCell<RequestBody>,
    pub(super) progress: BodyProgress,
    pub(super) count_attempts: bool,
    /// The host of the current attempt, for outlier detection when the request times out.
    pub(super) current: RefCell<Option<Rc<Upstream>>>,
}

/// The request's body between attempts.
pub(super) enum RequestBody {
    None,
    /// A body for one attempt; `None` after that attempt has taken it.
    Once(Option<IncomingBody>),
    Replayable(ReplayBuffer),
}

/// The response of an attempt.
pub(super) struct UpstreamResponse {
    pub(super) response: Response<IncomingBody>,
    pub(super) pooled: PooledConnection,
    pub(super) sent: Instant,
    pub(super) attempts: u32,
}

/// The reason why an attempt got no response.
#[derive(Debug)]
pub(super) enum AttemptError {
    NoHost,
    Overflow,
    Connect(ConnectError),
    /// The connection ended before a response header. `unsent`: nothing of the request was written.
    Reset {
        unsent: bool,
    },
    Refused,
    Protocol,
    PerTryTimeout,
}

pub(super) struct RequestFailure {
    pub(super) error: AttemptError,
    pub(super) attempts: u32,
}

impl Attempts<'_> {
    /// Makes attempts until one returns a response that must not, or cannot, be retried.
    pub(super) async fn run(&self) -> Result<UpstreamResponse, RequestFailure> {
        let session = self.request.session;
        let stats = &self.cluster.stats;
        let avoidance = self.policy.map_or(HOST_SELECTION_ATTEMPTS, |policy| {
            policy.host_attempts.max(HOST_SELECTION_ATTEMPTS)
        });
        let mut tried: Vec<Arc<Host>> = Vec::new();
        let (mut attempts, mut retries, mut free) = (0, 0, 0);
        let mut permit: Option<Permit> = None;
        loop {
            attempts += 1;
            let picked = self
                .cluster
                .pick(Some(session.addresses.original_dst), &tried, avoidance);
            let Some(upstream) = picked else {
                stats.upstream_cx_none_healthy.inc();
                return Err(RequestFailure {
                    error: AttemptError::NoHost,
                    attempts,
                });
            };
            *self.current.borrow_mut() = Some(upstream.clone());
            let outcome = self.attempt(&upstream, attempts).await;
            drop(permit.take());
            let again = match &outcome {
                Ok(answer) => self.wants_retry(answer),
                Err(error) => {
                    let timed_out = matches!(error, AttemptError::PerTryTimeout);
                    let status = if timed_out { 504 } else { 503 };
                    let blamed = !matches!(
                        error,
                        AttemptError::Overflow
                            | AttemptError::NoHost
                            | AttemptError::Reset { unsent: true }
                    );
                    if blamed {
                        self.runtime.observe(&upstream.host, status);
                    }
                    if free < MAX_UNSENT_ATTEMPTS
                        && self.can_repeat_without_policy(error, &tried, &upstream)
                    {
                        free += 1;
                        attempts -= 1;
                        // A closed idle connection is no evidence about its host.
                        if matches!(error, AttemptError::Connect(_)) {
                            tried.push(upstream.host.clone());
                        }
                        continue;
                    }
                    let (policy, failure) = (self.policy, error.failure());
                    policy
                        .is_some_and(|policy| failure.is_some_and(|it| policy.retries_failure(it)))
                }
            };
            let policy = self.policy.filter(|_| again);
            let permitted = policy.filter(|_| self.can_replay()).and_then(|policy| {
                if retries >= policy.retries {
                    stats.upstream_rq_retry_limit_exceeded.inc();
                    return None;
                }
                let permit_acquired =
                    Permit::try_acquire(&self.runtime, |breakers| &breakers.retries);
                if permit_acquired.is_none() {
                    stats.upstream_rq_retry_overflow.inc();
                }
                Some((policy, permit_acquired?))
            });
            let Some((policy, permit_acquired)) = permitted else {
                if outcome.is_ok() && retries > 0 && !again {
                    stats.upstream_rq_retry_success.inc();
                }
                return match outcome {
                    Ok(answer) => Ok(UpstreamResponse { attempts, ..answer }),
                    Err(error) => Err(RequestFailure { error, attempts }),
                };
            };
            if let Ok(mut answer) = outcome
                && answer.response.body().is_end_stream()
            {
                answer.pooled.recycle();
            }
            permit = Some(permit_acquired);
            retries += 1;
            stats.upstream_rq_retry.inc();
            tried.push(upstream.host.clone());
            *self.current.borrow_mut() = None;
            tokio::time::sleep(policy.back_off(retries, fastrand::u64(..))).await;
        }
    }

    async fn attempt(
        &self,
        upstream: &Rc<Upstream>,
        number: u32,
    ) -> Result<UpstreamResponse, AttemptError> {
        let per_try = self.policy.and_then(|policy| policy.per_try_timeout);
        let begun = Instant::now();
        let expiry = |_: &Context<'_>| {
            // As for the whole request, the timeout does not run while the client is still sending.
            let read = self.progress.last_read(self.request.started);
            after(read.max(begun), per_try).filter(|_| !self.progress.is_client_slow())
        };
        let send = pin!(self.send(upstream, number));
        self.request
            .timer()
            .race(send, expiry)
            .await
            .unwrap_or_else(|_| {
                self.cluster.stats.upstream_rq_per_try_timeout.inc();
                self.cluster.stats.upstream_rq_tx_reset.inc();
                Err(AttemptError::PerTryTimeout)
            })
    }

    async fn send(
        &self,
        upstream: &Rc<Upstream>,
        number: u32,
    ) -> Result<UpstreamResponse, AttemptError> {
        let pooled = if self.upgrade {
            Box::pin(PooledConnection::dedicated(self.cluster, upstream)).await
        } else {
            PooledConnection::acquire(self.cluster, upstream, self.http2).await
        };
        let pooled = pooled.map_err(|error| match error {
            AcquireError::Overflow => AttemptError::Overflow,
            AcquireError::Connect(error) => AttemptError::Connect(error),
        })?;
        let stats = &self.cluster.stats;
        stats.upstream_rq_total.inc();
        let sent = Instant::now();
        let outcome = if self.http2 {
            self.send_http2(&pooled, upstream, number).await
        } else {
            self.send_http1(&pooled, upstream, number).await
        };
        match outcome {
            Ok(response) => {
                let status = response.status().as_u16();
                stats.response(status);
                let grpc = if is_grpc(response.headers()) {
                    grpc_status(response.headers())
                } else {
                    None
                };
                let observed = grpc.map_or(status, http_from_grpc);
                self.runtime.observe(&upstream.host, observed);
                Ok(UpstreamResponse {
                    response,
                    pooled,
                    sent,
                    attempts: number,
                })
            }
            Err(error) => {
                if !matches!(error, AttemptError::Reset { unsent: true }) {
                    stats.upstream_rq_rx_reset.inc();
                }
                Err(error)
            }
        }
    }

    async fn send_http1(
        &self,
        pooled: &PooledConnection,
        upstream: &Upstream,
        number: u32,
    ) -> Result<Response<IncomingBody>, AttemptError> {
        let rewritten = self.rewritten_host(upstream);
        let counted;
        let head = OutgoingHead {
            method: self.method,
            target: &self.uri,
            host: rewritten.as_ref().unwrap_or(&self.authority),
            headers: if self.count_attempts {
                counted = self.counted_headers(number);
                &counted
            } else {
                self.headers
            },
        };
        let write_coalescer = &self.request.session.worker.write_coalescer;
        let sent = pooled.send(head, self.body()?, write_coalescer).await;
        sent.map_err(|error| match error {
            SendError::Unsent(body) => {
                self.restore(body);
                AttemptError::Reset { unsent: true }
            }
            SendError::Reset => AttemptError::Reset { unsent: false },
            SendError::ParseError => AttemptError::Protocol,
        })
    }

    async fn send_http2(
        &self,
        pooled: &PooledConnection,
        upstream: &Upstream,
        number: u32,
    ) -> Result<Response<IncomingBody>, AttemptError> {
        let mut uri = self.uri.clone();
        if let Some(host) = self.rewritten_host(upstream) {
            uri = target(&uri, true, &host).ok_or(AttemptError::Protocol)?;
        }
        let mut request = Request::new(self.body()?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = if self.count_attempts {
            self.counted_headers(number)
        } else {
            self.headers.clone()
        };
        *request.version_mut() = Version::HTTP_2;
        // Boxed, because the state of every request would otherwise have room for it.
        let Some(sent) = Box::pin(pooled.send_http2(request)).await else {
            debug_assert!(false, "a connection of the protocol that was asked for");
            return Err(AttemptError::Protocol);
        };
        let response = sent.map_err(|mut error| {
            let back = error.take_message();
            let unsent = back.is_some();
            if let Some(request) = back {
                self.restore(request.into_body());
            }
            classify(error.error(), unsent)
        })?;
        if HTTP2_FIELDS.admit(response.headers()) {
            Ok(response)
        } else {
            Err(AttemptError::Protocol)
        }
    }

    /// The endpoint's hostname, if the route uses it (`auto_host_rewrite`).
    fn rewritten_host(&self, upstream: &Upstream) -> Option<HeaderValue> {
        match self.host {
            HostRewrite::Upstream if !upstream.host.hostname.is_empty() => {
                HeaderValue::from_str(&upstream.host.hostname).ok()
            }
            _ => None,
        }
    }

    fn counted_headers(&self, number: u32) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(ATTEMPT_COUNT, HeaderValue::from(number));
        headers
    }

    /// The body for the next attempt.
    fn body(&self) -> Result<OutgoingBody, AttemptError> {
        Ok(match &mut *self.source.borrow_mut() {
            RequestBody::None => OutgoingBody::Empty,
            RequestBody::Once(body) => {
                let body = body.take().ok_or(AttemptError::Reset { unsent: false })?;
                OutgoingBody::Stream {
                    body,
                    progress: self.progress.clone(),
                }
            }
            RequestBody::Replayable(buffer) => OutgoingBody::Replay(buffer.attempt()),
        })
    }

    fn restore(&self, body: OutgoingBody) {
        if let (RequestBody::Once(slot), OutgoingBody::Stream { body, .. }) =
            (&mut *self.source.borrow_mut(), body)
        {
            *slot = Some(body);
        }
    }

    /// Whether the whole request can be sent again.
    fn can_replay(&self) -> bool {
        match &*self.source.borrow() {
            RequestBody::None => true,
            RequestBody::Once(body) => body.is_some(),
            RequestBody::Replayable(buffer) => buffer.can_replay(),
        }
    }

    fn wants_retry(&self, answer: &UpstreamResponse) -> bool {
        self.policy.is_some_and(|policy| {
            let headers = answer.response.headers();
            policy.retries_response(answer.response.status(), grpc_status(headers))
        })
    }

    /// Whether an attempt can be repeated without a retry policy, because no server received anything: the connection
    /// was closed before anything was sent on it, or connecting failed and there is another host.
    fn can_repeat_without_policy(
        &self,
        error: &AttemptError,
        tried: &[Arc<Host>],
        upstream: &Upstream,
    ) -> bool {
        if !self.can_replay() {
            return false;
        }
        match error {
            AttemptError::Reset { unsent } => *unsent,
            AttemptError::Connect(_) => {
                let mut hosts = self.runtime.members.list.iter().map(|member| &member.host);
                hosts.any(|host| {
                    host.is_healthy() && *host != upstream.host && !tried.contains(host)
                })
            }
            _ => false,
        }
    }
}

fn classify(error: &hyper::Error, unsent: bool) -> AttemptError {
    if let Some(h2) =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>())
        && h2.reason() == Some(h2::Reason::REFUSED_STREAM)
    {
        return AttemptError::Refused;
    }
    if error.is_parse() {
        AttemptError::Protocol
    } else {
        AttemptError::Reset { unsent }
    }
}

impl AttemptError {
    fn failure(&self) -> Option<Failure> {
        match self {
            Self::NoHost | Self::Overflow => None,
            Self::Connect(_) => Some(Failure::Connect),
            Self::Reset { .. } | Self::Protocol => Some(Failure::Reset),
            Self::Refused => Some(Failure::Refused),
            Self::PerTryTimeout => Some(Failure::PerTryTimeout),
        }
    }
}
