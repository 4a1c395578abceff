//! Servers that verify their callers, over real connections.

use crate::harness::{ACCOUNT, REGION, config};
use axum::{Router, routing};
use bytes::Bytes;
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tombolo_api::{
    Credentials, Server,
    client::{Client, Error, Keys},
};
use tombolo_model::{
    Scope,
    appmesh::{Kind, ResourceKey, Spec},
};
use tombolo_store::Store;

const PATIENCE: Duration = Duration::from_secs(20);
const STATUS_PATH: &str = "/tombolo/v1/status";
const FILE: &str = r#"
users:
  - name: admin
    account: "123456789012"
    policies: [AdministratorAccess]
    keys: [{ id: ADMIN, secret: s, session-token: t }]
  - name: reader
    account: "210987654321"
    policies: [AWSAppMeshReadOnly]
    keys: [{ id: READER, secret: s }]
"#;

async fn served() -> SocketAddr {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("credentials.yaml");
    std::fs::write(&file, FILE).expect("writable");
    let credentials = Credentials::open(&file).expect("a good file");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let routes = Router::new()
        .route(STATUS_PATH, routing::get(async || r#"{"synced":true}"#))
        .route(
            "/length",
            routing::post(async |body: String| body.len().to_string()),
        );
    let server = Server::new(Store::memory(), config()).expect("legal");
    let server = server.with_credentials(credentials).with_routes(routes);
    tokio::spawn(server.serve(listener, std::future::pending()));
    address
}

fn client(address: SocketAddr, keys: Keys) -> Client {
    let client = Client::new(&format!("http://{address}"), Scope::new(ACCOUNT, REGION));
    client
        .expect("an endpoint")
        .with_keys(keys)
        .with_timeout(PATIENCE)
}

async fn status(client: &Client) -> Result<Bytes, Error> {
    let (path, body) = (STATUS_PATH.to_owned(), Bytes::new());
    client
        .fetch(http::Method::GET, path, body, 100, PATIENCE)
        .await
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.expect_err("refused");
    error.code().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn our_own_client_is_let_in_with_its_key_alone() {
    let address = served().await;
    let admin = client(address, Keys::new("ADMIN", "s", Some("t")));
    assert_eq!(admin.account().await.as_deref(), Ok(ACCOUNT));
    assert_eq!(
        status(&admin).await.as_deref(),
        Ok(&br#"{"synced":true}"#[..])
    );
    let mesh = ResourceKey::mesh("demo");
    let spec = Spec::from_json(Kind::Mesh, json!({})).expect("legal");
    admin.create(&mesh, &spec).await.expect("allowed");
    admin.list_namespaces().await.expect("allowed");

    let reader = client(address, Keys::new("READER", "s", None));
    assert_eq!(reader.account().await.as_deref(), Ok("210987654321"));
    assert_eq!(
        reader.list_meshes().await.map(|meshes| meshes.len()),
        Ok(0),
        "another account"
    );
    assert_eq!(
        code(reader.create(&mesh, &spec).await),
        "AccessDeniedException"
    );
    assert_eq!(
        code(reader.list_namespaces().await),
        "AccessDeniedException"
    );
    assert_eq!(code(status(&reader).await), "AccessDeniedException");

    for (keys, expected) in [
        (
            Keys::new("ADMIN", "x", Some("t")),
            "InvalidSignatureException",
        ),
        (Keys::new("ADMIN", "s", None), "UnrecognizedClientException"),
        (Keys::new("WHO", "s", None), "UnrecognizedClientException"),
    ] {
        let stranger = client(address, keys);
        assert_eq!(code(stranger.list_meshes().await), expected);
        assert_eq!(code(status(&stranger).await), expected);
    }
}

/// Sends a head and half a body; answers with the head of what comes back.
async fn answer_to(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let request = format!("{head}\r\n\r\n{body}");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("writable");
    let mut answer = vec![0; 64 * 1024];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await;
    let length = read.expect("in time").expect("readable");
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn strangers_are_refused_before_their_bodies_are_read() {
    let address = served().await;
    let scope = "WHO/20260101/r/appmesh/aws4_request";
    let signature = format!(
        "SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    );
    for authorization in [
        String::new(),
        format!("\r\nauthorization: AWS4-HMAC-SHA256 Credential={scope}, {signature}"),
    ] {
        let head = format!(
            "PUT /v20190125/meshes HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000{authorization}"
        );
        let answer = answer_to(address, &head, "{").await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    let head = "POST /length HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000";
    let answer = answer_to(address, head, "x").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

/// Sends a request whose connection ends with it; answers with what comes back, which is cut off where the
/// server did not want the whole body.
async fn exchange(address: SocketAddr, request: &http::Request<()>, body: &str) -> String {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        request.method(),
        request.uri(),
        body.len()
    );
    for (name, value) in request.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().expect("text"));
    }
    text += "\r\n";
    text += body;
    let mut stream = TcpStream::connect(address).await.expect("listening");
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let (_, read) = tokio::join!(
        writer.write_all(text.as_bytes()),
        timeout(PATIENCE, reader.read_to_end(&mut answer))
    );
    let _ = read.expect("in time");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request for our own paths, signed with a body.
fn signed(keys: &Keys, request: http::request::Builder, body: &str) -> http::Request<()> {
    let mut request = request.header("host", "h").body(()).expect("legal");
    keys.sign_operator(REGION, &mut request, body.as_bytes())
        .expect("signed");
    request
}

/// Our own paths are no App Mesh: their errors have members of their own.
#[tokio::test]
async fn refused_operators_are_told_in_their_own_words() {
    let address = served().await;
    let unsigned = http::Request::get(STATUS_PATH).header("host", "h");
    let unsigned = unsigned.body(()).expect("legal");
    let reader = Keys::new("READER", "s", None);
    for (request, code) in [
        (unsigned, "MissingAuthenticationTokenException"),
        (
            signed(&reader, http::Request::get(STATUS_PATH), ""),
            "AccessDeniedException",
        ),
    ] {
        let answer = exchange(address, &request, "").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 403"), "{answer}");
        assert!(head.contains("x-amzn-requestid"), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], code);
        assert!(
            body["message"].is_string() && body.get("__type").is_none(),
            "{body}"
        );
    }
}

/// Callers in their accounts, whom policies allow nothing.
#[tokio::test]
async fn services_that_are_not_here_need_no_key() {
    let address = served().await;
    let scope = "WHO/20260101/r/ecs/aws4_request";
    let signature = format!("SignedHeaders=host, Signature={}", "0".repeat(64));
    let head = format!(
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nx-amz-target: Ecs.ListClusters\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={scope}, {signature}"
    );
    let answer = answer_to(address, &head, "{}").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("UnknownOperationException"), "{answer}");
}

/// Whoever has seen the id of a key, but not its secret, must not make much of a little.
#[tokio::test]
async fn signed_headers_that_repeat_are_refused_in_few_words() {
    let address = served().await;
    let get = http::Request::get(STATUS_PATH).header("long", "x".repeat(30_000));
    let mut request = signed(&Keys::new("READER", "unknown", None), get, "");
    let headers = request.headers_mut();
    let authorization = headers["authorization"].to_str().expect("text");
    let authorization = authorization.replace(";long", &";long".repeat(5_000));
    headers.insert("authorization", authorization.parse().expect("text"));
    let answer = exchange(address, &request, "").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{:.200}", answer);
    assert!(answer.contains("SignedHeaders") && answer.len() < 2_000);
}

#[tokio::test]
async fn operators_may_send_more_than_aws_callers_when_they_sign_it() {
    let address = served().await;
    let keys = Keys::new("ADMIN", "s", Some("t"));
    let long = "x".repeat(1_500_000);
    let post = || http::Request::post("/length");
    let answer = exchange(address, &signed(&keys, post(), &long), &long).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("1500000"),
        "{answer}"
    );
    let answer = exchange(address, &signed(&keys, post(), "something else"), &long).await;
    assert!(
        answer.contains("'x-amz-content-sha256' header does not match"),
        "{answer}"
    );
    // Who reads has nothing long to say.
    let get = http::Request::get(STATUS_PATH);
    let answer = exchange(address, &signed(&keys, get, &long), &long).await;
    assert!(!answer.contains("synced"), "{answer}");
}
