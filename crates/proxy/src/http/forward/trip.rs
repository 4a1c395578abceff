//! The attempts of one request: send, and try again where that is safe and asked for.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version};
use hyper::body::Body;

use super::super::Exchange;
use super::super::alarm::after;
use super::super::inbound::{HTTP2_FIELDS, Inbound};
use super::super::local::{grpc_status, http_from_grpc};
use super::super::outgoing::{Outgoing, Progress, Recording};
use super::{ATTEMPT_COUNT, target};
use crate::cluster_runtime::{ClusterRuntime, Host};
use crate::config::action::HostRewrite;
use crate::config::matcher::is_grpc;
use crate::config::retry::{Failure, RetryPolicy};
use crate::http1::{Outbound, SendError};
use crate::local_arc::LocalArc;
use crate::upstream::connect::ConnectError;
use crate::upstream::pool::{AcquireError, Lease};
use crate::upstream::{Cluster, Upstream};

/// Attempts that cost the policy nothing because the request had not left the proxy.
const FREE_ATTEMPTS: u32 = 5;
/// Extra picks spent on another host when the policy names no number of its own.
const AVOIDANCE: u32 = 3;

/// One request on its way to one cluster.
pub(super) struct Trip<'a> {
    pub(super) exchange: &'a Exchange<'a>,
    pub(super) cluster: &'a Rc<Cluster>,
    pub(super) runtime: LocalArc<ClusterRuntime>,
    pub(super) policy: Option<&'a RetryPolicy>,
    pub(super) method: &'a Method,
    pub(super) uri: Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) host: &'a HostRewrite,
    pub(super) authority: HeaderValue,
    pub(super) http2: bool,
    pub(super) upgrade: bool,
    pub(super) source: RefCell<Source>,
    pub(super) progress: Progress,
    pub(super) count_attempts: bool,
    /// The host of the attempt under way, for blame when the whole request times out.
    pub(super) current: RefCell<Option<Rc<Upstream>>>,
}

/// The request's body between attempts.
pub(super) enum Source {
    None,
    /// Good for one attempt; gone once that has begun to send it.
    Once(Option<Inbound>),
    Taped(Recording),
}

/// A response that is worth passing on.
pub(super) struct Answer {
    pub(super) response: Response<Inbound>,
    pub(super) lease: Lease,
    pub(super) sent: Instant,
    pub(super) attempts: u32,
}

/// Why an attempt, and in the end the request, got no response.
#[derive(Debug)]
pub(super) enum Mishap {
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

pub(super) struct Failed {
    pub(super) mishap: Mishap,
    pub(super) attempts: u32,
}

impl Trip<'_> {
    /// Attempts until one brings a response that need not, or may not, be tried again.
    pub(super) async fn run(&self) -> Result<Answer, Failed> {
        let session = self.exchange.session;
        let random = &session.worker.random;
        let stats = &self.cluster.stats;
        let avoidance = self
            .policy
            .map_or(AVOIDANCE, |policy| policy.host_attempts.max(AVOIDANCE));
        let mut tried: Vec<Arc<Host>> = Vec::new();
        let (mut attempts, mut retries, mut free) = (0, 0, 0);
        let mut place: Option<RetryPlace> = None;
        loop {
            attempts += 1;
            let picked = self
                .cluster
                .pick(random, Some(session.original_dst), &tried, avoidance);
            let Some(upstream) = picked else {
                stats.upstream_cx_none_healthy.inc();
                return Err(Failed {
                    mishap: Mishap::NoHost,
                    attempts,
                });
            };
            *self.current.borrow_mut() = Some(upstream.clone());
            let outcome = self.attempt(&upstream, attempts).await;
            drop(place.take());
            let again = match &outcome {
                Ok(answer) => self.wants_retry(answer),
                Err(mishap) => {
                    let status = if matches!(mishap, Mishap::PerTryTimeout) {
                        504
                    } else {
                        503
                    };
                    let blamed = !matches!(
                        mishap,
                        Mishap::Overflow | Mishap::NoHost | Mishap::Reset { unsent: true }
                    );
                    if blamed {
                        self.runtime.observe(&upstream.host, status, random.next());
                    }
                    if free < FREE_ATTEMPTS && self.is_free(mishap, &tried, &upstream) {
                        free += 1;
                        attempts -= 1;
                        // A connection that died while idle says nothing about its host.
                        if matches!(mishap, Mishap::Connect(_)) {
                            tried.push(upstream.host.clone());
                        }
                        continue;
                    }
                    self.policy.is_some_and(|policy| {
                        mishap
                            .failure()
                            .is_some_and(|failure| policy.retries_failure(failure))
                    })
                }
            };
            let policy = self.policy.filter(|_| again);
            let permitted = policy.filter(|_| self.can_replay()).and_then(|policy| {
                if retries >= policy.retries {
                    stats.upstream_rq_retry_limit_exceeded.inc();
                    return None;
                }
                let taken = RetryPlace::take(&self.runtime);
                if taken.is_none() {
                    stats.upstream_rq_retry_overflow.inc();
                }
                Some((policy, taken?))
            });
            let Some((policy, taken)) = permitted else {
                if outcome.is_ok() && retries > 0 && !again {
                    stats.upstream_rq_retry_success.inc();
                }
                return match outcome {
                    Ok(answer) => Ok(Answer { attempts, ..answer }),
                    Err(mishap) => Err(Failed { mishap, attempts }),
                };
            };
            if let Ok(mut answer) = outcome
                && answer.response.body().is_end_stream()
            {
                answer.lease.recycle();
            }
            place = Some(taken);
            retries += 1;
            stats.upstream_rq_retry.inc();
            tried.push(upstream.host.clone());
            *self.current.borrow_mut() = None;
            tokio::time::sleep(policy.back_off(retries, random.next())).await;
        }
    }

    async fn attempt(&self, upstream: &Rc<Upstream>, number: u32) -> Result<Answer, Mishap> {
        let per_try = self.policy.and_then(|policy| policy.per_try_timeout);
        let begun = Instant::now();
        let expiry = |_: &Context<'_>| {
            // Like the whole request's, an attempt's clock does not run while the client is still sending.
            let read = self.progress.last_read(self.exchange.started);
            after(read.max(begun), per_try).filter(|_| !self.progress.is_client_slow())
        };
        let send = pin!(self.send(upstream, number));
        self.exchange
            .alarm()
            .race(send, expiry)
            .await
            .unwrap_or_else(|_| {
                self.cluster.stats.upstream_rq_per_try_timeout.inc();
                self.cluster.stats.upstream_rq_tx_reset.inc();
                Err(Mishap::PerTryTimeout)
            })
    }

    async fn send(&self, upstream: &Rc<Upstream>, number: u32) -> Result<Answer, Mishap> {
        let lease = if self.upgrade {
            Box::pin(Lease::dedicated(self.cluster, upstream)).await
        } else {
            Lease::acquire(self.cluster, upstream, self.http2).await
        };
        let lease = lease.map_err(|error| match error {
            AcquireError::Overflow => Mishap::Overflow,
            AcquireError::Connect(error) => Mishap::Connect(error),
        })?;
        let stats = &self.cluster.stats;
        stats.upstream_rq_total.inc();
        let sent = Instant::now();
        let outcome = if self.http2 {
            self.send_http2(&lease, upstream, number).await
        } else {
            self.send_http1(&lease, upstream, number).await
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
                self.runtime.observe(
                    &upstream.host,
                    observed,
                    self.exchange.session.worker.random.next(),
                );
                Ok(Answer {
                    response,
                    lease,
                    sent,
                    attempts: number,
                })
            }
            Err(mishap) => {
                if !matches!(mishap, Mishap::Reset { unsent: true }) {
                    stats.upstream_rq_rx_reset.inc();
                }
                Err(mishap)
            }
        }
    }

    async fn send_http1(
        &self,
        lease: &Lease,
        upstream: &Upstream,
        number: u32,
    ) -> Result<Response<Inbound>, Mishap> {
        let rewritten = self.rewritten_host(upstream);
        let counted;
        let head = Outbound {
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
        let departures = &self.exchange.session.worker.departures;
        let sent = lease.send(head, self.body()?, departures).await;
        sent.map_err(|error| match error {
            SendError::Unsent(body) => {
                self.restore(body);
                Mishap::Reset { unsent: true }
            }
            SendError::Reset => Mishap::Reset { unsent: false },
            SendError::Malformed => Mishap::Protocol,
        })
    }

    async fn send_http2(
        &self,
        lease: &Lease,
        upstream: &Upstream,
        number: u32,
    ) -> Result<Response<Inbound>, Mishap> {
        let mut uri = self.uri.clone();
        if let Some(host) = self.rewritten_host(upstream) {
            uri = target(&uri, true, &host).ok_or(Mishap::Protocol)?;
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
        // Boxed, because the state of every request would otherwise carry room for it.
        let Some(sent) = Box::pin(lease.send_http2(request)).await else {
            debug_assert!(false, "a lease is for the protocol that was asked for");
            return Err(Mishap::Protocol);
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
            Err(Mishap::Protocol)
        }
    }

    /// The upstream's own name, where the route asks for it.
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
    fn body(&self) -> Result<Outgoing, Mishap> {
        Ok(match &mut *self.source.borrow_mut() {
            Source::None => Outgoing::Empty,
            Source::Once(body) => {
                let body = body.take().ok_or(Mishap::Reset { unsent: false })?;
                Outgoing::Stream {
                    body,
                    progress: self.progress.clone(),
                }
            }
            Source::Taped(recording) => Outgoing::Replay(recording.attempt()),
        })
    }

    fn restore(&self, body: Outgoing) {
        if let (Source::Once(slot), Outgoing::Stream { body, .. }) =
            (&mut *self.source.borrow_mut(), body)
        {
            *slot = Some(body);
        }
    }

    /// Whether the whole request can be sent once more.
    fn can_replay(&self) -> bool {
        match &*self.source.borrow() {
            Source::None => true,
            Source::Once(body) => body.is_some(),
            Source::Taped(recording) => recording.can_replay(),
        }
    }

    fn wants_retry(&self, answer: &Answer) -> bool {
        self.policy.is_some_and(|policy| {
            let headers = answer.response.headers();
            policy.retries_response(answer.response.status(), grpc_status(headers))
        })
    }

    /// Attempts that no policy need permit, because no server can have seen them: the connection was closed before
    /// anything was sent on it; or no connection came about and another host is there.
    fn is_free(&self, mishap: &Mishap, tried: &[Arc<Host>], upstream: &Upstream) -> bool {
        if !self.can_replay() {
            return false;
        }
        match mishap {
            Mishap::Reset { unsent } => *unsent,
            Mishap::Connect(_) => {
                let others = |host: &Arc<Host>| {
                    !Arc::ptr_eq(host, &upstream.host)
                        && !tried.iter().any(|known| Arc::ptr_eq(known, host))
                };
                self.runtime
                    .members
                    .list
                    .iter()
                    .any(|member| member.host.is_healthy() && others(&member.host))
            }
            _ => false,
        }
    }
}

fn classify(error: &hyper::Error, unsent: bool) -> Mishap {
    if let Some(h2) =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>())
        && h2.reason() == Some(h2::Reason::REFUSED_STREAM)
    {
        return Mishap::Refused;
    }
    if error.is_parse() {
        Mishap::Protocol
    } else {
        Mishap::Reset { unsent }
    }
}

impl Mishap {
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

/// A place among the cluster's concurrent retries.
struct RetryPlace(LocalArc<ClusterRuntime>);

impl RetryPlace {
    fn take(runtime: &LocalArc<ClusterRuntime>) -> Option<Self> {
        runtime
            .state
            .breakers
            .retries
            .try_take()
            .then(|| Self(runtime.clone()))
    }
}

impl Drop for RetryPlace {
    fn drop(&mut self) {
        self.0.state.breakers.retries.release();
    }
}
