//! The parts that all APIs share: routing, regions, limits, connections.

use crate::harness::{ACCOUNT, Api, REGION, authorization, config};
use axum::{Router, routing::get};
use http::Request;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};
use tombolo_api::{Config, Server};
use tombolo_store::Store;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_region_is_a_world_of_its_own() {
    let api = Api::new();
    api.mesh("PUT", "/meshes", json!({ "meshName": "here" }))
        .await
        .ok();
    let list = |region: Option<&str>| {
        let mut request = Request::get("/v20190125/meshes");
        if let Some(region) = region {
            request = request.header("authorization", authorization(region, "appmesh"));
        }
        api.send(request, "")
    };
    let names = |meshes: Value| meshes["meshes"].as_array().map(Vec::len);
    assert_eq!(names(list(Some(REGION)).await.ok()), Some(1));
    assert_eq!(names(list(Some("elsewhere-1")).await.ok()), Some(0));
    assert_eq!(names(list(None).await.ok()), Some(0), "the default region");
    list(Some("no region"))
        .await
        .failed(400, "IncompleteSignatureException");
}

#[tokio::test]
async fn signatures_for_other_services_and_unreadable_ones_are_refused() {
    let api = Api::new();
    let request = |header: &str| Request::get("/v20190125/meshes").header("authorization", header);
    let answer = api.send(request(&authorization(REGION, "sts")), "").await;
    answer.failed(403, "InvalidSignatureException");
    let answer = api.send(request("Bearer x"), "").await;
    answer.failed(400, "IncompleteSignatureException");
    let request = Request::post("/?Action=GetCallerIdentity")
        .header("authorization", authorization(REGION, "appmesh"));
    let answer = api.send(request, "").await;
    assert_eq!(answer.status, 403);
    assert!(
        answer.text.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{}",
        answer.text
    );
}

/// Tools that sign for a service that is not here learn that, not that they signed wrongly.
#[tokio::test]
async fn services_that_are_not_here_are_named() {
    let api = Api::new();
    let target = "AmazonEC2ContainerServiceV20141113.ListClusters";
    let ecs = Request::post("/").header("x-amz-target", target);
    let lambda = Request::get("/functions");
    let cbor = Request::post("/service/GraniteServiceVersion20100801/operation/ListMetrics")
        .header("smithy-protocol", "rpc-v2-cbor");
    for (request, service, status) in [(ecs, "ecs", 400), (lambda, "lambda", 404)] {
        let request = request.header("authorization", authorization(REGION, service));
        let body = api.send(request, "{}").await;
        let body = body.failed(status, "UnknownOperationException");
        let message = body.get("message").or_else(|| body.get("Message"));
        let message = message.and_then(Value::as_str).expect("a message");
        assert!(message.contains(&format!("{service:?}")), "{message}");
    }
    let iam = Request::post("/?Action=ListUsers");
    let iam = iam.header("authorization", authorization(REGION, "iam"));
    let answer = api.send(iam, "").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (400, "text/xml")
    );
    let code = "<Code>UnknownOperationException</Code>";
    assert!(
        answer.text.contains(code) && answer.text.contains("\"iam\""),
        "{}",
        answer.text
    );
    let request = cbor.header("authorization", authorization(REGION, "monitoring"));
    let request = request.body(axum::body::Body::empty()).expect("legal");
    let response = api.server.handle(request).await;
    assert_eq!(
        response.headers()["x-amzn-errortype"],
        "UnknownOperationException"
    );
    assert_eq!(response.headers()["content-type"], "application/cbor");
    // A service that is here refuses a signature for another one.
    let request =
        Request::get("/v20190125/meshes").header("authorization", authorization(REGION, "ecs"));
    api.send(request, "")
        .await
        .failed(403, "InvalidSignatureException");
}

#[tokio::test]
async fn callers_learn_who_they_are_from_form_or_query() {
    let api = Api::new();
    let form = Request::post("/")
        .header(
            "content-type",
            "application/x-www-form-urlencoded; charset=utf-8",
        )
        .header("authorization", authorization(REGION, "sts"));
    let form = api
        .send(form, "Action=GetCallerIdentity&Version=2011-06-15")
        .await;
    let query = Request::post("/?Action=GetCallerIdentity&Version=2011-06-15");
    let query = api.send(query, "").await;
    for answer in [&form, &query] {
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/xml")
        );
        assert!(
            answer
                .text
                .contains(&format!("<Account>{ACCOUNT}</Account>")),
            "{}",
            answer.text
        );
        let request_id = answer.header("x-amzn-requestid");
        assert!(
            answer
                .text
                .contains(&format!("<RequestId>{request_id}</RequestId>"))
        );
    }
    assert!(form.text.contains("<UserId>AKID</UserId>"));
    let unknown = api.send(Request::get("/?Action=%3CJump%3E"), "").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text.contains("<Code>InvalidAction</Code>"));
    assert!(unknown.text.contains("&lt;Jump&gt;"), "{}", unknown.text);
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_refused() {
    let api = Api::new();
    let body = format!("{{\"meshName\":\"{}\"}}", "x".repeat(1024 * 1024));
    let answer = api.mesh_text("PUT", "/meshes", body.clone()).await;
    answer.failed(413, "RequestEntityTooLargeException");
    let answer = api.registry_text("ListNamespaces", body).await;
    answer.failed(413, "RequestEntityTooLargeException");
}

#[tokio::test]
async fn bodies_nested_deeper_than_any_input_are_refused() {
    let api = Api::new();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        for body in [
            format!("{{\"meshName\":\"m\",\"spec\":{deep}}}"),
            format!("{{\"meshName\":\"m\",\"unknown\":{deep}}}"),
        ] {
            let answer = api.mesh_text("PUT", "/meshes", body.clone()).await;
            answer.failed(400, "SerializationException");
            let answer = api.registry_text("ListNamespaces", body).await;
            answer.failed(400, "SerializationException");
        }
    }
}

#[tokio::test]
async fn heads_beyond_the_limit_are_refused() {
    let (address, _stop, _served) = listening(config()).await;
    for head in [
        format!("x-long: {}\r\n", "x".repeat(300_000)),
        "x-many: 1\r\n".repeat(1000),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("listening");
        let request = format!("GET /v20190125/meshes HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        // The server may have said no before it has read everything.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn further_paths_are_served_beside_the_apis() {
    let mut api = Api::new();
    let routes = Router::new().route("/tombolo/v1/status", get(async || "fine"));
    api.server = api.server.with_routes(routes);
    let answer = api.send(Request::get("/tombolo/v1/status"), "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "fine"));
    assert_eq!(api.send(Request::get("/nothing"), "").await.status, 404);
    api.mesh("GET", "/meshes", Value::Null).await.ok();
}

#[tokio::test]
async fn web_pages_of_others_reach_nothing_in_development() {
    let api = Api::new();
    for (origin, status) in [
        ("http://127.0.0.1:8490", 200),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let request = Request::get("/v20190125/meshes")
            .header("host", "127.0.0.1:8490")
            .header("origin", origin);
        let answer = api.send(request, "").await;
        assert_eq!(answer.status, status, "{origin}: {}", answer.text);
    }
}

#[test]
fn an_account_that_is_none_is_refused() {
    let config = Config {
        account: "me".into(),
        ..Config::default()
    };
    let refusal = Server::new(Store::memory(), config).err();
    assert!(refusal.is_some_and(|why| why.to_string().contains("twelve digits")));
}

/// A served listener: its address, the way to stop it, and its task.
async fn listening(
    config: Config,
) -> (
    std::net::SocketAddr,
    oneshot::Sender<()>,
    tokio::task::JoinHandle<std::io::Result<()>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::new(Store::memory(), config).expect("legal");
    let served = tokio::spawn(server.serve(listener, async {
        let _ = stopped.await;
    }));
    (address, stop, served)
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(end) {
        let read = timeout(PATIENCE, stream.read(&mut buffer))
            .await
            .expect("in time");
        let length = read.expect("readable");
        assert!(length > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    text
}

#[tokio::test]
async fn connections_are_kept_and_chunked_bodies_are_read() {
    let (address, _stop, _served) = listening(config()).await;
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let chunked = "PUT /v20190125/meshes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                   10\r\n{\"meshName\":\"m\"}\r\n0\r\n\r\n";
    for _ in 0..2 {
        stream
            .write_all(chunked.as_bytes())
            .await
            .expect("writable");
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        assert!(answer.contains("content-length: "), "{answer}");
        assert!(answer.contains("\r\ndate: "), "{answer}");
    }
}

#[tokio::test]
async fn a_stopping_server_closes_idle_connections_and_returns() {
    let (address, stop, served) = listening(config()).await;
    let mut stream = TcpStream::connect(address).await.expect("listening");
    stream
        .write_all(b"GET /v20190125/meshes HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("writable");
    read_until(&mut stream, "{\"meshes\":[]}").await;
    stop.send(()).expect("the server is there");
    let ended = timeout(PATIENCE, served).await.expect("in time");
    ended.expect("no panic").expect("no error");
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("in time")
        .expect("closed");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_caller_that_sends_nothing_is_let_go() {
    let config = Config {
        read_timeout: Duration::from_millis(50),
        ..config()
    };
    let (address, _stop, _served) = listening(config).await;
    let mut silent = TcpStream::connect(address).await.expect("listening");
    let mut half = TcpStream::connect(address).await.expect("listening");
    half.write_all(b"PUT /v20190125/meshes HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        .await
        .expect("writable");
    let mut rest = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut rest))
        .await
        .expect("in time")
        .expect("closed");
    let answer = read_until(&mut half, "RequestTimeoutException").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_room() {
    let config = Config {
        max_connections: 1,
        ..config()
    };
    let (address, _stop, _served) = listening(config).await;
    let request = b"GET /v20190125/meshes HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = TcpStream::connect(address).await.expect("listening");
    first.write_all(request).await.expect("writable");
    read_until(&mut first, "{\"meshes\":[]}").await;
    let mut second = TcpStream::connect(address)
        .await
        .expect("queued by the kernel");
    second.write_all(request).await.expect("writable");
    drop(first);
    read_until(&mut second, "{\"meshes\":[]}").await;
}

#[tokio::test]
async fn a_caller_that_takes_no_answers_is_let_go() {
    let config = Config {
        max_connections: 1,
        read_timeout: Duration::from_millis(100),
        ..config()
    };
    let (address, _stop, _served) = listening(config).await;
    let mut first = TcpStream::connect(address).await.expect("listening");
    // The answer repeats the path, so that answers soon fill all buffers.
    let path = "x".repeat(30_000);
    let request = format!("GET /v20190125/{path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let stalled = Duration::from_millis(500);
    while let Ok(Ok(())) = timeout(stalled, first.write_all(request.as_bytes())).await {}
    let mut second = TcpStream::connect(address)
        .await
        .expect("queued by the kernel");
    let request = b"GET /v20190125/meshes HTTP/1.1\r\nhost: x\r\n\r\n";
    second.write_all(request).await.expect("writable");
    read_until(&mut second, "{\"meshes\":[]}").await;
    drop(first);
}
