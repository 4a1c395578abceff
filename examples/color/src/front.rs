//! `front`: asks `COLOR_HOST` for a color and passes the answer on.

use crate::listen::{Body, text};
use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::{
    HeaderMap, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HeaderName},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::{error::Error as StdError, time::Duration};

/// How long a connection may take. Without a limit, a network that drops packets looks like a program
/// that hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Request headers that go on to the color: those that routes match on, and those that join the spans of
/// one request into one trace. No proxy can do this for a program, since only the program knows which of
/// its requests belong together.
const PASSED_ON: [&str; 7] = [
    "color_header",
    "latency",
    "traceparent",
    "tracestate",
    "x-amzn-trace-id",
    "x-request-id",
    "b3",
];

/// Asks `COLOR_HOST` for each request, and passes on what it says.
pub(crate) struct Front {
    color_host: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Front {
    pub(crate) fn new(color_host: Uri) -> Self {
        // The connector resolves with getaddrinfo, so the pod's resolv.conf counts.
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(10))
            .pool_max_idle_per_host(8)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self { color_host, client }
    }

    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.ask(request.headers())).await {
            Ok(Ok(response)) => response,
            Ok(Err(reason)) => self.failed(&reason),
            Err(_) => self.failed(&format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        }
    }

    async fn ask(&self, headers: &HeaderMap) -> Result<Response<Body>, String> {
        let mut is_retry = false;
        let (head, body) = loop {
            match self.client.request(self.request(headers)).await {
                Ok(response) => break response.into_parts(),
                // The color may close an idle connection just when it is used again. A new one tells
                // whether that was all.
                Err(error) if !is_retry && is_closed(&error) => is_retry = true,
                Err(error) => return Err(reasons(&error)),
            }
        };
        let mut response = Response::new(Either::Right(body));
        *response.status_mut() = head.status;
        for name in [CONTENT_TYPE, HeaderName::from_static("x-pod")] {
            if let Some(value) = head.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        Ok(response)
    }

    fn request(&self, headers: &HeaderMap) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.color_host.clone();
        for (name, value) in headers {
            if PASSED_ON.contains(&name.as_str()) || name.as_str().starts_with("x-b3-") {
                request.headers_mut().append(name, value.clone());
            }
        }
        request
    }

    fn failed(&self, reason: &str) -> Response<Body> {
        let host = self
            .color_host
            .authority()
            .map_or("", |authority| authority.as_str());
        let message = format!("no color from {host}: {reason}");
        eprintln!("{message}");
        text(StatusCode::INTERNAL_SERVER_ERROR, format!("{message}\n"))
    }
}

/// Whether a connection ended before it brought any answer.
fn is_closed(error: &hyper_util::client::legacy::Error) -> bool {
    let cause = error
        .source()
        .and_then(|source| source.downcast_ref::<hyper::Error>());
    !error.is_connect()
        && cause.is_some_and(|cause| cause.is_incomplete_message() || cause.is_canceled())
}

/// An error with everything that caused it.
fn reasons(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
