//! Forwarding: selects a cluster, rewrites the request, and builds the response from the result.

mod attempts;

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version, header,
};
use hyper::body::Body;
use tombolo_telemetry::ErrorChain;

use super::deadline_timer::after;
use super::deadlines::{Deadlines, Expired};
use super::local_reply::LocalReply;
use super::received_body::IncomingBody;
use super::response_body::{BodyForwarder, ResponseBody, ResponseContent, ResponseContext};
use super::upgrade::Tunnel;
use super::upstream_request_body::{BodyProgress, ReplayBuffer};
use super::{RequestContext, headers, path, with_path};
use crate::config::action::{Forward, HostRewrite, Target, WeightedTarget};
use crate::config::cluster::Protocol;
use crate::config::format::LogFields;
use crate::config::route::Route;
use crate::upstream::ThreadLocalCluster;
use crate::upstream::connect::ConnectError;

use attempts::{AttemptError, Attempts, RequestBody, RequestFailure, UpstreamResponse};

const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const ATTEMPT_COUNT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

impl RequestContext<'_> {
    pub(super) async fn forward(
        &mut self,
        route: &Route,
        forward: &Forward,
        parts: &mut Parts,
        body: IncomingBody,
    ) -> Response<ResponseBody> {
        let session = self.session;
        let Some((cluster, weighted)) = self.select_cluster(forward, &parts.headers) else {
            session.stats.no_cluster.inc();
            return self.reply(
                LocalReply::empty(forward.not_found_status).with_details("cluster_not_found", "NC"),
            );
        };
        let runtime = cluster.runtime();
        if let Some(log_entry) = &mut self.log_entry {
            log_entry.upstream_cluster = Some(runtime.config.name.clone());
        }
        let upgrade = !session.http2 && headers::wants_websocket(&parts.headers);
        if upgrade && !forward.websocket.unwrap_or(session.manager.websocket) {
            return self.reply(
                LocalReply::empty(StatusCode::FORBIDDEN)
                    .closing()
                    .with_details("upgrade_failed", "-"),
            );
        }
        if !upgrade {
            // An `upgrade` offer may be ignored (RFC 9110 section 7.8).
            headers::remove_hop_headers(&mut parts.headers);
        }
        if self.rewrite(route, forward, weighted, parts).is_none() {
            return self.reply(
                LocalReply::empty(StatusCode::BAD_REQUEST).with_details("path_rewrite_failed", "-"),
            );
        }

        let policy = forward.retry.as_deref().filter(|policy| policy.retries > 0);
        let has_body = !body.is_end_stream();
        let started = self.started;
        let progress = if has_body {
            BodyProgress::of_body(started)
        } else {
            BodyProgress::default()
        };
        let source = match (has_body, policy) {
            (false, _) => RequestBody::None,
            (true, Some(_)) => RequestBody::Replayable(ReplayBuffer::new(
                body,
                forward.buffer_limit,
                progress.clone(),
            )),
            (true, None) => RequestBody::Once(Some(body)),
        };
        let http2 = match runtime.config.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => !upgrade,
            Protocol::Downstream => session.http2,
        };
        let authority = self.authority.clone();
        let Some(uri) = target(&parts.uri, http2, &authority) else {
            return self.reply(
                LocalReply::empty(StatusCode::BAD_REQUEST).with_details("bad_authority", "-"),
            );
        };
        if http2 {
            parts.headers.remove(header::HOST);
        }

        let deadlines = Deadlines {
            started,
            request: session.manager.request_timeout,
            limit: after(started, forward.max_duration),
            timeout: forward.timeout,
            idle: forward
                .idle_timeout
                .unwrap_or(session.manager.stream_idle_timeout),
        };
        let attempts = Attempts {
            request: self,
            cluster: &cluster,
            runtime: runtime.clone(),
            policy,
            method: &parts.method,
            uri,
            headers: &parts.headers,
            host: match weighted.and_then(|weighted| weighted.host.as_ref()) {
                Some(_) => &HostRewrite::Keep,
                None => &forward.host,
            },
            authority,
            http2,
            upgrade,
            source: RefCell::new(source),
            progress: progress.clone(),
            count_attempts: route.attempt_count_to_upstream,
            current: RefCell::default(),
        };
        let outcome = {
            let run = pin!(attempts.run());
            let expiry = |cx: &Context<'_>| {
                progress.watch(cx);
                deadlines.next(&progress, started)
            };
            self.timer().race(run, expiry).await
        };
        let late = attempts.current.take();
        drop(attempts);
        if let (Ok(Err(_)), Some(status)) = (&outcome, progress.failure()) {
            let text = status.canonical_reason().unwrap_or_default();
            return self
                .reply(LocalReply::text(status, text).with_details("bad_request_body", "DPE"));
        }

        match outcome {
            Ok(Ok(answer)) => {
                let context = ResponseContext {
                    request: progress,
                    // The request timeout ends when the response begins.
                    deadlines: Deadlines {
                        request: None,
                        ..deadlines
                    },
                    log_entry: None,
                    stream: self.stream.clone(),
                };
                self.respond(route, weighted, &parts.method, answer, context, upgrade)
            }
            Ok(Err(failed)) => self.error_reply(&cluster, failed),
            Err(_) => {
                let expired = deadlines.expired(&progress, started);
                if late.is_some() {
                    cluster.stats.upstream_rq_tx_reset.inc();
                }
                let status = if progress.is_client_slow() {
                    StatusCode::REQUEST_TIMEOUT
                } else {
                    cluster.stats.upstream_rq_timeout.inc();
                    if let Some(late) = late {
                        runtime.observe(&late.host, 504);
                    }
                    cluster.stats.response(504);
                    StatusCode::GATEWAY_TIMEOUT
                };
                let (text, details, flags) = match expired {
                    Expired::Idle => {
                        session.stats.downstream_rq_idle_timeout.inc();
                        ("stream timeout", "stream_idle_timeout", "SI")
                    }
                    Expired::Request => {
                        session.stats.downstream_rq_timeout.inc();
                        ("request timeout", "request_overall_timeout", "DT")
                    }
                    Expired::Limit | Expired::Response => {
                        ("upstream request timeout", "response_timeout", "UT")
                    }
                };
                self.reply(LocalReply::text(status, text).with_details(details, flags))
            }
        }
    }

    fn select_cluster<'f>(
        &self,
        forward: &'f Forward,
        headers: &HeaderMap,
    ) -> Option<(Rc<ThreadLocalCluster>, Option<&'f WeightedTarget>)> {
        let local = self.session.worker.local();
        match &forward.target {
            Target::Cluster(name) => Some((local.clusters.get(name)?.clone(), None)),
            Target::Header(name) => {
                let name = headers.get(name)?.to_str().ok()?;
                Some((local.clusters.get(name)?.clone(), None))
            }
            Target::Weighted(targets) => {
                let choice = targets.choose(fastrand::u64(..));
                Some((local.clusters.get(&choice.cluster)?.clone(), Some(choice)))
            }
        }
    }

    /// Applies the route's rewrites of path, host and headers. `None` when the new path is invalid.
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
        if weighted.is_some_and(|weighted| !weighted.mutations.request.is_empty())
            || !route.request_mutations.is_empty()
        {
            let authority = self.authority.clone();
            let path = parts.uri.path_and_query().cloned();
            let fields = LogFields {
                method: parts.method.as_str(),
                path: path.as_ref().map_or("", PathAndQuery::as_str),
                authority: authority.to_str().unwrap_or_default(),
                scheme: "http",
                local: Some(self.session.addresses.local),
                remote: Some(self.session.addresses.remote),
                route: &route.name,
                ..LogFields::default()
            };
            let levels = weighted
                .map(|weighted| &weighted.mutations.request)
                .into_iter();
            for mutation in levels.chain(route.request_mutations.iter().map(|level| &**level)) {
                mutation.apply(&mut parts.headers, &fields);
            }
        }
        match (
            weighted.and_then(|weighted| weighted.host.as_ref()),
            &forward.host,
        ) {
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

    fn respond(
        &mut self,
        route: &Route,
        weighted: Option<&WeightedTarget>,
        method: &Method,
        answer: UpstreamResponse,
        mut context: ResponseContext,
        upgrade: bool,
    ) -> Response<ResponseBody> {
        let session = self.session;
        let now = Instant::now();
        let (mut head, body) = answer.response.into_parts();
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS && upgrade;
        head.version = if session.http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        if !switching {
            headers::clean_response(&mut head.headers);
        }
        if session.manager.envoy_headers {
            let elapsed = now.duration_since(answer.sent);
            head.headers
                .insert(SERVICE_TIME, session.worker.milliseconds.get(elapsed));
        }
        if route.attempt_count_to_client {
            head.headers
                .insert(ATTEMPT_COUNT, HeaderValue::from(answer.attempts));
        }
        let mutations = weighted
            .map(|weighted| &weighted.mutations.response)
            .into_iter();
        for mutation in mutations.chain(route.response_mutations.iter().map(|level| &**level)) {
            let fields = LogFields {
                method: method.as_str(),
                route: &route.name,
                status: head.status.as_u16(),
                upstream_host: Some(answer.pooled.upstream.host.address),
                attempts: answer.attempts,
                ..LogFields::default()
            };
            mutation.apply(&mut head.headers, &fields);
        }
        if !switching {
            self.set_response_headers(&mut head.headers, false);
        }
        session.stats.response(head.status.as_u16());
        if let Some(mut log_entry) = self.log_entry.take() {
            log_entry.status = head.status.as_u16();
            log_entry.details = "via_upstream";
            log_entry.response = head.headers.clone();
            log_entry.answered = Some(now);
            log_entry.upstream_host = Some(answer.pooled.upstream.host.address);
            log_entry.attempts = answer.attempts;
            context.log_entry = Some(log_entry);
        }
        if switching {
            let Some(tunnel) = Tunnel::new(session, answer.pooled, context) else {
                let reply = LocalReply::empty(StatusCode::BAD_GATEWAY);
                return self.reply(reply.with_details("upgrade_failed", "-"));
            };
            let content = ResponseContent::Tunnel(Some(tunnel));
            return Response::from_parts(head, ResponseBody::new(content, self.in_flight.take()));
        }
        let forwarder = BodyForwarder::new(body, answer.pooled, &head.headers, context);
        let content = ResponseContent::Forwarded(forwarder);
        Response::from_parts(head, ResponseBody::new(content, self.in_flight.take()))
    }

    fn error_reply(
        &mut self,
        cluster: &ThreadLocalCluster,
        failed: RequestFailure,
    ) -> Response<ResponseBody> {
        if let Some(log_entry) = &mut self.log_entry {
            log_entry.attempts = failed.attempts;
        }
        let status = match failed.error {
            AttemptError::PerTryTimeout => StatusCode::GATEWAY_TIMEOUT,
            AttemptError::Protocol => StatusCode::BAD_GATEWAY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        cluster.stats.response(status.as_u16());
        let retried = failed.attempts > 1;
        macro_rules! reset {
            ($reason:literal) => {
                concat!("upstream_reset_before_response_started{", $reason, "}")
            };
        }
        let (reason, details, flags) = match &failed.error {
            AttemptError::NoHost => {
                let reply = LocalReply::text(status, "no healthy upstream")
                    .with_details("no_healthy_upstream", "UH");
                return self.reply(reply);
            }
            AttemptError::PerTryTimeout => {
                let reply = LocalReply::text(status, "upstream request timeout")
                    .with_details("response_timeout", if retried { "URX,UT" } else { "UT" });
                return self.reply(reply);
            }
            AttemptError::Connect(error) => {
                tracing::debug!(error = %ErrorChain(error), "upstream connection failed");
                let reason = match error {
                    ConnectError::Timeout => "connection timeout",
                    ConnectError::Failed(_) => "remote connection failure",
                };
                (reason, reset!("connection_failure"), "UF")
            }
            AttemptError::Overflow => ("overflow", reset!("overflow"), "UO"),
            AttemptError::Protocol => ("protocol error", reset!("protocol_error"), "UPE"),
            AttemptError::Reset { .. } => {
                let details = reset!("connection_termination");
                ("connection termination", details, "UC")
            }
            AttemptError::Refused => {
                let details = reset!("connection_termination");
                ("remote refused stream reset", details, "UC")
            }
        };
        let latest = if retried {
            "retried and the latest reset reason"
        } else {
            "reset reason"
        };
        let text = format!(
            "upstream connect error or disconnect/reset before headers. {latest}: {reason}"
        );
        let mut reply = LocalReply::text(status, text).with_details(details, flags);
        if matches!(failed.error, AttemptError::Overflow) {
            reply = reply.overloaded();
        }
        self.reply(reply)
    }
}

/// The request target for the upstream: a path for HTTP/1, a full URI for HTTP/2.
fn target(uri: &Uri, http2: bool, authority: &HeaderValue) -> Option<Uri> {
    if !http2 && uri.scheme().is_none() && uri.authority().is_none() {
        return Some(uri.clone());
    }
    let path = uri.path_and_query().cloned();
    let path = path.unwrap_or(PathAndQuery::from_static("/"));
    if !http2 {
        return Some(path.into());
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    let authority = Bytes::copy_from_slice(authority.as_bytes());
    parts.authority = Some(Authority::from_maybe_shared(authority).ok()?);
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}
