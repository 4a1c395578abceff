//! HTTP/1 as the sidecar reads it.
//!
//! The first two bytes say where the bytes on the wire are cut; the third chooses request or response; a
//! message follows. Whatever it is: no panic, and how it arrives changes nothing. hyper reads the same
//! requests: what we take, it takes as the same message.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::{convert::Infallible, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tombolo_proxy::fuzzing;

/// The target.
pub fn run(data: &[u8]) {
    let Some((&[first, second, how], message)) = data.split_first_chunk() else {
        return;
    };
    let mut cuts = [first, second].map(usize::from);
    cuts.sort_unstable();
    if how & 1 == 1 {
        let method = if how & 2 == 0 {
            Method::GET
        } else {
            Method::HEAD
        };
        let whole = fuzzing::response(message, &[], &method);
        assert_eq!(whole, fuzzing::response(message, &cuts, &method));
        return;
    }
    let ours = fuzzing::request(message, &[]);
    assert_eq!(ours, fuzzing::request(message, &cuts));
    let each: Vec<usize> = (0..message.len().min(64)).collect();
    assert_eq!(ours, fuzzing::request(message, &each));
    if let Some(mut ours) = ours {
        ours.left = 0;
        assert!(is_unambiguous(&ours.headers), "{ours:?}");
        let target = ours.uri.to_string();
        if ["%3C", "%3E", "%60"]
            .iter()
            .any(|escape| target.contains(escape))
        {
            // What stands for a character that no `Uri` holds, and that hyper refuses therefore.
            return;
        }
        let mut theirs = as_hyper_reads(message).unwrap_or_else(|| panic!("only we take {ours:?}"));
        if ours.body.is_none() {
            // Of bodies, hyper takes some that we do not: lines that end in a line feed alone.
            theirs.body = None;
        }
        assert_eq!(ours, theirs);
    }
}

/// Both a coding and a length, or two of them that differ, are read in different ways by different parties.
fn is_unambiguous(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::TRANSFER_ENCODING).iter().count();
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    codings + lengths <= 1
}

/// The first request, as hyper reads it; `left` is 0.
///
/// # Panics
///
/// When the system has no room for a runtime.
pub fn as_hyper_reads(raw: &[u8]) -> Option<fuzzing::Request> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("the system has room for one more runtime");
    let request = Arc::new(Mutex::new(None));
    let slot = request.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let slot = slot.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.ok();
            slot.lock().get_or_insert(fuzzing::Request {
                method: head.method,
                uri: head.uri,
                headers: head.headers,
                body: body.map(|body| {
                    let trailers = body.trailers().cloned();
                    (body.to_bytes().to_vec(), trailers)
                }),
                left: 0,
            });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(raw).await.expect("there is room");
        client.shutdown().await.expect("it is open");
        let mut builder = hyper::server::conn::http1::Builder::new();
        // Half-closed: the client still listens while its body is being read.
        let served = builder
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let _ = served.await;
        let _ = client.read_to_end(&mut Vec::new()).await;
    });
    request.lock().take()
}
