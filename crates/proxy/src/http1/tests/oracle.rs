//! hyper reads the same bytes: what it takes we take, as the same message.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::head::{self, HeadFinder};
use super::{LIMITS, decode};

/// A message as it was understood.
#[derive(Debug, PartialEq)]
struct Heard {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// `None` when it is parse_error or cut.
    body: Option<(Vec<u8>, Option<HeaderMap>)>,
}

fn ours(raw: &[u8]) -> Option<Heard> {
    let mut bytes = BytesMut::from(raw);
    let head = head::request(&mut bytes, &mut HeadFinder::default(), LIMITS).ok()??;
    let body = decode(head.framing, &bytes, &[]).ok();
    Some(Heard {
        method: head.method,
        uri: head.uri,
        headers: head.headers,
        body: body.map(|(body, trailers, _)| (body, trailers)),
    })
}

async fn hypers(raw: &[u8]) -> Option<Heard> {
    let heard = Arc::new(Mutex::new(None));
    let noted = heard.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let noted = noted.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.ok();
            noted.lock().unwrap().get_or_insert(Heard {
                method: head.method,
                uri: head.uri,
                headers: head.headers,
                body: body.map(|body| {
                    let trailers = body.trailers().cloned();
                    (body.to_bytes().to_vec(), trailers)
                }),
            });
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        }
    });
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(raw).await.unwrap();
    client.shutdown().await.unwrap();
    // Half-closed: the client still listens while its body is being read.
    let mut builder = hyper::server::conn::http1::Builder::new();
    let _ = builder
        .half_close(true)
        .serve_connection(TokioIo::new(server), service)
        .await;
    let _ = client.read_to_end(&mut Vec::new()).await;
    heard.lock().unwrap().take()
}

/// Requests that are nearly right.
fn raw_request() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST /a?b=c HTTP/1.1",
        "PUT http://a.test/x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "POST /old HTTP/1.0",
        "FOO-BAR /x HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.2",
        "GET /\u{e9} HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G{T / HTTP/1.1",
        "",
    ]);
    let field = prop::sample::select(vec![
        "host: a.test",
        "Host:b",
        "X-Mixed:  spaced out \t",
        "x-empty:",
        "content-length: 5",
        "content-length: 05",
        "Content-Length: 3",
        "content-length: 5, 5",
        "content-length: -1",
        "transfer-encoding: chunked",
        "Transfer-Encoding: gzip, Chunked",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, identity",
        "connection: close",
        "expect: 100-continue",
        "te: trailers",
        " folded",
        "space : x",
        "no-colon",
        "x-high: \u{e9}",
        "x-tab: a\tb",
        "x-nul: a\0b",
        "trailer: x-sum",
    ]);
    let body = prop::sample::select(vec![
        "",
        "hello",
        "hello more",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;ext=1\r\nhello\r\n0\r\n\r\n",
        "05 \r\nhello\r\n000\r\n\r\n",
        "5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhel",
        "F\r\nhello, chunked!\r\n0\r\n\r\n",
        "x\r\n",
    ]);
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\n"]);
    (line, prop::collection::vec(field, 0..5), body, end).prop_map(|(line, fields, body, end)| {
        let mut raw = format!("{line}{end}");
        for field in fields {
            raw.push_str(field);
            raw.push_str(end);
        }
        format!("{raw}{end}{body}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_understood_as_hyper_does(raw in raw_request()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let theirs = runtime.block_on(hypers(raw.as_bytes()));
        let ours = ours(raw.as_bytes());
        // hyper lets a transfer coding overrule a length, passes over codings before `chunked`, and takes any method,
        // bytes that are no URI's and several hosts; we refuse all of them, as Envoy does.
        let codings = raw.to_lowercase().matches("transfer-encoding").count();
        let hosts = raw.to_lowercase().matches("\nhost:").count();
        let is_stricter = codings > 1
            || codings == 1 && (raw.contains("ontent-") || raw.contains("gzip"))
            || hosts > 1
            || raw.starts_with("FOO-BAR")
            || raw.starts_with("GET /\u{e9}");
        if !(is_stricter && ours.is_none()) {
            prop_assert_eq!(ours, theirs);
        }
    }
}
