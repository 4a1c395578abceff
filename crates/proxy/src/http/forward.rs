//! Forwarding: choose a cluster and a host, send, and try again where that is safe and asked for.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use super::alarm::{after, earlier};
use super::local::{LocalReply, grpc_status, http_from_grpc};
use super::outgoing::{Outgoing, Progress, Recording};
use super::relay::{Relay, Reply, Terms};
use super::{Exchange, headers, path, with_path};
use crate::config::action::{Forward, HostRewrite, Target, WeightedTarget};
use crate::config::cluster::Protocol;
use crate::config::format::Facts;
use crate::config::matcher::is_grpc;
use crate::config::retry::{Failure, RetryPolicy};
use crate::config::route::Route;
use crate::fleet::{Fleet, Host};
use crate::held::Held;
use crate::upstream::connect::ConnectError;
use crate::upstream::pool::{AcquireError, Lease};
use crate::upstream::{Cluster, Upstream};

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// Attempts that cost the policy nothing because the request had not left the proxy, or its connection had died idle.
const FREE_ATTEMPTS: u32 = 5;
/// Extra picks spent on another host when the policy names no number of its own.
const AVOIDANCE: u32 = 3;

/// One request on its way to one cluster.
struct Trip<'a> {
    exchange: &'a Exchange<'a>,
    cluster: &'a Rc<Cluster>,
    fleet: Held<Fleet>,
    policy: Option<&'a RetryPolicy>,
    method: &'a Method,
    uri: Uri,
    headers: HeaderMap,
    host: &'a HostRewrite,
    authority: HeaderValue,
    http2: bool,
    upgrade: bool,
    source: RefCell<Source>,
    progress: Progress,
    count_attempts: bool,
    /// The host of the attempt under way, for blame when the whole request times out.
    current: RefCell<Option<Rc<Upstream>>>,
}

/// The request's body between attempts.
enum Source {
    None,
    /// Good for one attempt; gone once that has begun to send it.
    Once(Option<Incoming>),
    Taped(Recording),
}

/// A response that is worth passing on.
struct Answer {
    response: Response<Incoming>,
    lease: Lease,
    sent: Instant,
    attempts: u32,
}

/// Why an attempt, and in the end the request, got no response.
#[derive(Debug)]
enum Mishap {
    NoHost,
    Overflow,
    Connect(ConnectError),
    /// The connection ended before a response header. `unsent`: nothing of the request was written.
    Reset { unsent: bool, reused: bool },
    Refused,
    Protocol,
    PerTryTimeout,
}

struct Failed {
    mishap: Mishap,
    attempts: u32,
}

impl Exchange<'_> {
    pub(super) async fn forward(
        mut self,
        route: &Route,
        forward: &Forward,
        mut parts: Parts,
        body: Incoming,
    ) -> Response<Reply> {
        let session = self.session;
        let Some((cluster, weighted)) = self.choose(forward, &parts.headers) else {
            session.stats.no_cluster.inc();
            return self.reply(LocalReply::empty(forward.not_found_status).because("cluster_not_found", "NC"));
        };
        let fleet = cluster.fleet();
        if let Some(record) = &mut self.record {
            record.upstream_cluster = Some(fleet.config.name.clone());
        }
        let client = parts.extensions.remove::<OnUpgrade>();
        let mut upgrade = None;
        if !session.http2 && headers::wants_upgrade(&parts.headers) {
            let allowed = forward.websocket.unwrap_or(session.manager.websocket);
            if !allowed || !headers::wants_websocket(&parts.headers) {
                return self.reply(LocalReply::empty(StatusCode::FORBIDDEN).last().because("upgrade_failed", "-"));
            }
            upgrade = client;
        } else {
            headers::leave(&mut parts.headers);
        }
        if self.rewrite(route, forward, weighted, &mut parts).is_none() {
            return self.reply(LocalReply::empty(StatusCode::BAD_REQUEST).because("path_rewrite_failed", "-"));
        }

        let policy = forward.retry.as_deref().filter(|policy| policy.retries > 0);
        let progress = Progress::default();
        let has_body = !body.is_end_stream();
        let source = match (has_body, policy) {
            (false, _) => Source::None,
            (true, Some(_)) => Source::Taped(Recording::new(body, forward.buffer_limit, progress.clone())),
            (true, None) => Source::Once(Some(body)),
        };
        let http2 = match fleet.config.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => upgrade.is_none(),
            Protocol::Downstream => session.http2,
        };
        let authority = self.authority.clone();
        let Some(uri) = target(&parts.uri, http2, &authority) else {
            return self.reply(LocalReply::empty(StatusCode::BAD_REQUEST).because("bad_authority", "-"));
        };
        if http2 {
            parts.headers.remove(header::HOST);
        }

        // The clock of the route's timeout starts when the request is complete; until then only idleness counts.
        let idle = forward.idle_timeout.unwrap_or(session.manager.stream_idle_timeout);
        let started = self.started;
        let limit = after(started, forward.max_duration);
        let expiry = || {
            let from = if has_body { progress.completed() } else { Some(started) };
            match from {
                Some(from) => earlier(limit, earlier(after(from, forward.timeout), after(from, idle))),
                None => earlier(after(started, session.manager.request_timeout), earlier(limit, after(Instant::now(), idle))),
            }
        };
        let trip = Trip {
            exchange: &self,
            cluster: &cluster,
            fleet: fleet.clone(),
            policy,
            method: &parts.method,
            uri,
            headers: parts.headers,
            host: match weighted.and_then(|weighted| weighted.host.as_ref()) {
                Some(_) => &HostRewrite::Keep,
                None => &forward.host,
            },
            authority,
            http2,
            upgrade: upgrade.is_some(),
            source: RefCell::new(source),
            progress: progress.clone(),
            count_attempts: route.attempt_count_to_upstream,
            current: RefCell::default(),
        };
        let outcome = {
            let run = pin!(trip.run());
            self.alarm.race(run, expiry).await
        };
        let late = trip.current.take();
        drop(trip);

        match outcome {
            Ok(Ok(answer)) => {
                let deadline = earlier(limit, after(progress.completed().unwrap_or(started), forward.timeout));
                let terms = Terms {
                    request: has_body.then_some(progress),
                    deadline,
                    idle,
                    record: None,
                    random: session.worker.random.next(),
                };
                self.answer(route, weighted, &parts.method, answer, terms, upgrade)
            }
            Ok(Err(failed)) => self.fail(&cluster, failed),
            Err(_) if has_body && progress.completed().is_none() => {
                // The client is the slow one.
                cluster.stats.upstream_rq_tx_reset.inc();
                let reply = LocalReply::text(StatusCode::REQUEST_TIMEOUT, "stream timeout");
                self.reply(reply.because("request_overall_timeout", "DT"))
            }
            Err(_) => {
                cluster.stats.upstream_rq_timeout.inc();
                if let Some(late) = late {
                    fleet.observe(&late.host, 504, session.worker.random.next());
                    cluster.stats.upstream_rq_tx_reset.inc();
                }
                cluster.stats.response(504);
                let idled = forward.timeout.is_none_or(|timeout| idle.is_some_and(|idle| idle < timeout));
                let (text, details, flags) = if idled && limit.is_none_or(|limit| Instant::now() < limit) {
                    ("stream timeout", "stream_idle_timeout", "SI")
                } else {
                    ("upstream request timeout", "response_timeout", "UT")
                };
                self.reply(LocalReply::text(StatusCode::GATEWAY_TIMEOUT, text).because(details, flags))
            }
        }
    }

    fn choose<'f>(&self, forward: &'f Forward, headers: &HeaderMap) -> Option<(Rc<Cluster>, Option<&'f WeightedTarget>)> {
        let local = self.session.worker.local();
        match &forward.target {
            Target::Cluster(name) => Some((local.clusters.get(name)?.clone(), None)),
            Target::Header(name) => {
                let name = headers.get(name)?.to_str().ok()?;
                Some((local.clusters.get(name)?.clone(), None))
            }
            Target::Weighted { choices, total } => {
                let mut point = self.session.worker.random.next() % total;
                let choice = choices.iter().find(|choice| match point.checked_sub(choice.weight.into()) {
                    Some(rest) => {
                        point = rest;
                        false
                    }
                    None => true,
                })?;
                Some((local.clusters.get(&choice.cluster)?.clone(), Some(choice)))
            }
        }
    }

    /// Path, host and headers as the route wants them. `None` when the new path is not a valid one.
    fn rewrite(
        &mut self,
        route: &Route,
        forward: &Forward,
        weighted: Option<&WeightedTarget>,
        parts: &mut Parts,
    ) -> Option<()> {
        let envoy_headers = self.session.manager.envoy_headers;
        let before = self.authority.clone();
        if envoy_headers && let Some(expected) = &forward.expected_timeout {
            parts.headers.insert(EXPECTED_TIMEOUT, expected.clone());
        }
        if weighted.is_some_and(|weighted| !weighted.request.is_empty()) || !route.request_mutations.is_empty() {
            let authority = self.authority.clone();
            let path = parts.uri.path_and_query().cloned();
            let facts = Facts {
                method: parts.method.as_str(),
                path: path.as_ref().map_or("", PathAndQuery::as_str),
                authority: authority.to_str().unwrap_or_default(),
                scheme: "http",
                local: Some(self.session.local),
                remote: Some(self.session.remote),
                route: &route.name,
                ..Facts::default()
            };
            let levels = weighted.map(|weighted| &weighted.request).into_iter();
            for mutation in levels.chain(route.request_mutations.iter().map(|level| &**level)) {
                mutation.apply_with(&mut parts.headers, &facts);
            }
        }
        match (weighted.and_then(|weighted| weighted.host.as_ref()), &forward.host) {
            (Some(host), _) | (None, HostRewrite::Literal(host)) => self.authority = host.clone(),
            (None, HostRewrite::Header(name)) => {
                if let Some(host) = parts.headers.get(name) {
                    self.authority = host.clone();
                }
            }
            (None, HostRewrite::Keep | HostRewrite::Upstream) => {}
        }
        if self.authority != before {
            if forward.forwarded_host {
                parts.headers.append("x-forwarded-host", before.clone());
            }
            if envoy_headers {
                parts.headers.insert(ORIGINAL_HOST, before);
            }
        }
        if let Some(new) = path::rewrite(&forward.path, &route.matcher.path, parts.uri.path()) {
            if envoy_headers {
                let original = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
                if let Ok(original) = HeaderValue::from_str(original) {
                    parts.headers.insert(ORIGINAL_PATH, original);
                }
            }
            parts.uri = with_path(&parts.uri, &new)?;
        }
        Some(())
    }

    fn answer(
        mut self,
        route: &Route,
        weighted: Option<&WeightedTarget>,
        method: &Method,
        answer: Answer,
        mut terms: Terms,
        upgrade: Option<OnUpgrade>,
    ) -> Response<Reply> {
        let session = self.session;
        let now = Instant::now();
        let (mut head, body) = answer.response.into_parts();
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS && upgrade.is_some();
        head.version = if session.http2 { Version::HTTP_2 } else { Version::HTTP_11 };
        if !switching {
            headers::clean_response(&mut head.headers);
        }
        if session.manager.envoy_headers {
            let elapsed = now.duration_since(answer.sent);
            head.headers.insert(SERVICE_TIME, session.worker.milliseconds(elapsed));
        }
        if route.attempt_count_to_client {
            head.headers.insert(ATTEMPT_COUNT, HeaderValue::from(answer.attempts));
        }
        let mutations = weighted.map(|weighted| &weighted.response).into_iter();
        for mutation in mutations.chain(route.response_mutations.iter().map(|level| &**level)) {
            let facts = Facts {
                method: method.as_str(),
                route: &route.name,
                status: head.status.as_u16(),
                upstream_host: Some(answer.lease.upstream.host.address),
                attempts: answer.attempts,
                ..Facts::default()
            };
            mutation.apply_with(&mut head.headers, &facts);
        }
        if !switching {
            self.stamp(&mut head.headers, head.status, false);
        }
        session.stats.response(head.status.as_u16());
        if let Some(mut record) = self.record.take() {
            record.status = head.status.as_u16();
            record.details = "via_upstream";
            record.response = head.headers.clone();
            record.answered = Some(now);
            record.upstream_host = Some(answer.lease.upstream.host.address);
            record.attempts = answer.attempts;
            terms.record = Some(record);
        }
        if switching && let Some(client) = upgrade {
            let mut upstream = Response::from_parts(head, body);
            let server = hyper::upgrade::on(&mut upstream);
            let (mut head, _) = upstream.into_parts();
            head.extensions.clear();
            super::upgrade::tunnel(session.clone(), client, server, answer.lease, terms);
            return Response::from_parts(head, Reply::local(bytes::Bytes::new(), None, self.in_flight));
        }
        let relay = Relay::new(body, answer.lease, &head.headers, terms);
        Response::from_parts(head, Reply::relay(relay, self.in_flight))
    }

    fn fail(mut self, cluster: &Cluster, failed: Failed) -> Response<Reply> {
        if let Some(record) = &mut self.record {
            record.attempts = failed.attempts;
        }
        let status = match failed.mishap {
            Mishap::PerTryTimeout => StatusCode::GATEWAY_TIMEOUT,
            Mishap::Protocol => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        cluster.stats.response(status.as_u16());
        let retried = failed.attempts > 1;
        let reason = match &failed.mishap {
            Mishap::NoHost => {
                let reply = LocalReply::text(status, "no healthy upstream").because("no_healthy_upstream", "UH");
                return self.reply(reply);
            }
            Mishap::PerTryTimeout => {
                let reply = LocalReply::text(status, "upstream request timeout")
                    .because("response_timeout", if retried { "URX,UT" } else { "UT" });
                return self.reply(reply);
            }
            Mishap::Overflow => "overflow",
            Mishap::Connect(ConnectError::Timeout) => "connection timeout",
            Mishap::Connect(ConnectError::Failed(error)) => {
                tracing::debug!(%error, "upstream connection failed");
                "remote connection failure"
            }
            Mishap::Reset { .. } => "connection termination",
            Mishap::Refused => "remote refused stream reset",
            Mishap::Protocol => "protocol error",
        };
        let (details, flags) = match &failed.mishap {
            Mishap::Overflow => ("upstream_reset_before_response_started{overflow}", "UO"),
            Mishap::Connect(_) => ("upstream_reset_before_response_started{connection_failure}", "UF"),
            Mishap::Protocol => ("upstream_reset_before_response_started{protocol_error}", "UPE"),
            _ => ("upstream_reset_before_response_started{connection_termination}", "UC"),
        };
        let latest = if retried { "retried and the latest reset reason" } else { "reset reason" };
        let text = format!("upstream connect error or disconnect/reset before headers. {latest}: {reason}");
        let mut reply = LocalReply::text(status, text).because(details, flags);
        if matches!(failed.mishap, Mishap::Overflow) {
            reply = reply.overloaded();
        }
        self.reply(reply)
    }
}

/// The request target for the upstream: a path for HTTP/1, a full URI for HTTP/2.
fn target(uri: &Uri, http2: bool, authority: &HeaderValue) -> Option<Uri> {
    if !http2 {
        if uri.scheme().is_none() && uri.authority().is_none() {
            return Some(uri.clone());
        }
        return Some(Uri::from(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"))));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(http::uri::Authority::from_maybe_shared(bytes::Bytes::copy_from_slice(authority.as_bytes())).ok()?);
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).ok()
}

impl Trip<'_> {
    /// Attempts until one brings a response that need not, or may not, be tried again.
    async fn run(&self) -> Result<Answer, Failed> {
        let session = self.exchange.session;
        let random = &session.worker.random;
        let stats = &self.cluster.stats;
        let avoidance = self.policy.map_or(AVOIDANCE, |policy| policy.host_attempts.max(AVOIDANCE));
        let mut tried: Vec<Arc<Host>> = Vec::new();
        let (mut attempts, mut retries, mut free) = (0, 0, 0);
        let mut place: Option<RetryPlace> = None;
        loop {
            attempts += 1;
            let picked = self.cluster.pick(random, Some(session.dialled), &tried, avoidance);
            let Some(upstream) = picked else {
                stats.upstream_cx_none_healthy.inc();
                return Err(Failed { mishap: Mishap::NoHost, attempts });
            };
            *self.current.borrow_mut() = Some(upstream.clone());
            let outcome = self.attempt(&upstream, attempts).await;
            drop(place.take());
            let again = match &outcome {
                Ok(answer) => self.wants_retry(answer),
                Err(mishap) => {
                    let status = if matches!(mishap, Mishap::PerTryTimeout) { 504 } else { 503 };
                    let blamed = !matches!(mishap, Mishap::Overflow | Mishap::NoHost | Mishap::Reset { unsent: true, .. });
                    if blamed {
                        self.fleet.observe(&upstream.host, status, random.next());
                    }
                    if free < FREE_ATTEMPTS && self.is_free(mishap, &tried, &upstream) {
                        free += 1;
                        // A connection that died while idle says nothing about its host.
                        if matches!(mishap, Mishap::Connect(_)) {
                            tried.push(upstream.host.clone());
                        }
                        continue;
                    }
                    self.policy.is_some_and(|policy| mishap.failure().is_some_and(|failure| policy.retries_failure(failure)))
                }
            };
            let policy = self.policy.filter(|_| again);
            let permitted = policy.filter(|_| self.can_replay()).and_then(|policy| {
                if retries >= policy.retries {
                    stats.upstream_rq_retry_limit_exceeded.inc();
                    return None;
                }
                let taken = RetryPlace::take(&self.fleet);
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
        let mut at = per_try.map(|per_try| Instant::now() + per_try);
        let expiry = || {
            let per_try = per_try?;
            // Like the whole request's, an attempt's clock stands still while the client is still sending.
            if self.has_body() && self.progress.completed().is_none() && at.is_some_and(|at| Instant::now() >= at) {
                at = Some(Instant::now() + per_try);
            }
            at
        };
        let send = pin!(self.send(upstream, number));
        self.exchange.alarm.race(send, expiry).await.unwrap_or_else(|_| {
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
        let mut lease = lease.map_err(|error| match error {
            AcquireError::Overflow => Mishap::Overflow,
            AcquireError::Connect(error) => Mishap::Connect(error),
        })?;
        let request = self.request(upstream, number)?;
        let stats = &self.cluster.stats;
        stats.upstream_rq_total.inc();
        let sent = Instant::now();
        match lease.send(request).await {
            Ok(response) => {
                let status = response.status().as_u16();
                stats.response(status);
                let grpc = if is_grpc(response.headers()) { grpc_status(response.headers()) } else { None };
                let observed = grpc.map_or(status, http_from_grpc);
                self.fleet.observe(&upstream.host, observed, self.exchange.session.worker.random.next());
                Ok(Answer { response, lease, sent, attempts: number })
            }
            Err(mut error) => {
                let back = error.take_message();
                let unsent = back.is_some();
                if let Some(request) = back {
                    self.restore(request.into_body());
                }
                if !unsent {
                    stats.upstream_rq_rx_reset.inc();
                }
                Err(classify(error.error(), unsent, lease.reused))
            }
        }
    }

    fn request(&self, upstream: &Upstream, number: u32) -> Result<Request<Outgoing>, Mishap> {
        let mut headers = self.headers.clone();
        let mut uri = self.uri.clone();
        let rewritten = match self.host {
            HostRewrite::Upstream if !upstream.host.hostname.is_empty() => {
                HeaderValue::from_str(&upstream.host.hostname).ok()
            }
            _ => None,
        };
        let authority = rewritten.as_ref().unwrap_or(&self.authority);
        if self.http2 {
            if rewritten.is_some() {
                uri = target(&uri, true, authority).ok_or(Mishap::Protocol)?;
            }
        } else {
            headers.insert(header::HOST, authority.clone());
        }
        if self.count_attempts {
            headers.insert(ATTEMPT_COUNT, HeaderValue::from(number));
        }
        let body = match &mut *self.source.borrow_mut() {
            Source::None => Outgoing::Empty,
            Source::Once(body) => {
                let body = body.take().ok_or(Mishap::Reset { unsent: false, reused: false })?;
                Outgoing::Stream { body, progress: self.progress.clone() }
            }
            Source::Taped(recording) => Outgoing::Replay(recording.attempt()),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if self.http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        Ok(request)
    }

    fn restore(&self, body: Outgoing) {
        if let (Source::Once(slot), Outgoing::Stream { body, .. }) = (&mut *self.source.borrow_mut(), body) {
            *slot = Some(body);
        }
    }

    fn has_body(&self) -> bool {
        !matches!(*self.source.borrow(), Source::None)
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

    /// Attempts that need no policy's leave: nothing was sent; or the connection was an idle one that its peer had
    /// closed, and the request may be repeated by its nature; or no connection came about and another host is there.
    fn is_free(&self, mishap: &Mishap, tried: &[Arc<Host>], upstream: &Upstream) -> bool {
        if !self.can_replay() {
            return false;
        }
        match mishap {
            Mishap::Reset { unsent: true, .. } => true,
            Mishap::Reset { unsent: false, reused: true } => self.method.is_idempotent(),
            Mishap::Connect(_) => {
                let others = |host: &Arc<Host>| {
                    !Arc::ptr_eq(host, &upstream.host) && !tried.iter().any(|known| Arc::ptr_eq(known, host))
                };
                self.fleet.members.list.iter().any(|member| member.host.is_healthy() && others(&member.host))
            }
            _ => false,
        }
    }
}

fn classify(error: &hyper::Error, unsent: bool, reused: bool) -> Mishap {
    if let Some(h2) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>())
        && h2.reason() == Some(h2::Reason::REFUSED_STREAM)
    {
        return Mishap::Refused;
    }
    if error.is_parse() { Mishap::Protocol } else { Mishap::Reset { unsent, reused } }
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
struct RetryPlace(Held<Fleet>);

impl RetryPlace {
    fn take(fleet: &Held<Fleet>) -> Option<Self> {
        fleet.state.breakers.retries.try_take().then(|| Self(fleet.clone()))
    }
}

impl Drop for RetryPlace {
    fn drop(&mut self) {
        self.0.state.breakers.retries.release();
    }
}

/// A whole number of milliseconds as a header value; small ones come from a table.
pub(crate) struct Milliseconds(Vec<HeaderValue>);

impl Default for Milliseconds {
    fn default() -> Self {
        Self((0..256u32).map(HeaderValue::from).collect())
    }
}

impl Milliseconds {
    pub(crate) fn get(&self, duration: Duration) -> HeaderValue {
        let millis = duration.as_millis();
        match usize::try_from(millis).ok().and_then(|index| self.0.get(index)) {
            Some(value) => value.clone(),
            None => HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX)),
        }
    }
}
#[cfg(test)]
pub(super) fn sizes() {
    fn s<T>(_: &T) -> usize { size_of::<T>() }
    fn probe<'a>(t: &'a Trip<'a>, u: &'a Rc<Upstream>) {
        eprintln!("trip {} run {} attempt {} send {}", size_of::<Trip<'a>>(), s(&t.run()), s(&t.attempt(u, 1)), s(&t.send(u, 1)));
    }
    let _ = probe;
    let f: for<'a> fn(&'a Trip<'a>, &'a Rc<Upstream>) = probe;
    let _ = f;
    fn size2<'a, F: Future>(_: impl Fn(&'a Trip<'a>) -> F) -> usize { size_of::<F>() }
    fn size3<'a, F: Future>(_: impl Fn(&'a Trip<'a>, &'a Rc<Upstream>, u32) -> F) -> usize { size_of::<F>() }
    use std::future::Future;
    eprintln!("trip {} run {}", size_of::<Trip<'static>>(), size2(|t: &'static Trip<'static>| t.run()));
    eprintln!("attempt {}", size3(|t: &'static Trip<'static>, u, n| t.attempt(u, n)));
    eprintln!("send {}", size3(|t: &'static Trip<'static>, u, n| t.send(u, n)));
}
