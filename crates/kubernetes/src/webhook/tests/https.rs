//! Over the wire: questions in both versions, and peers that send something else.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tombolo_telemetry::supervisor::Stop;

use super::super::certificate::Authority;
use super::super::metrics::Metrics;
use super::super::own_certificate::{Served, TlsPolicy};
use super::super::server::{Certificate, Webhook, serve_webhooks};
use super::super::view::View;
use super::*;

const NAME: &str = "webhook.test.svc";

struct Server {
    address: std::net::SocketAddr,
    connector: TlsConnector,
    stop: Stop,
}

impl Server {
    async fn start() -> Self {
        let now = Timestamp::now();
        let authority = Authority::generate(now).expect("an authority");
        let leaf = authority
            .issue(&[NAME.to_owned()], now)
            .expect("a certificate");
        let config = TlsPolicy::new(false, &[])
            .expect("a policy")
            .server_config(&leaf)
            .expect("TLS");
        let served = Served::default();
        served.store(Some(Arc::new(config)));
        // Nothing listens there: decisions are made on an empty view.
        let cluster = kube::Config::new("http://127.0.0.1:9/".parse().expect("an address"));
        let webhook = Webhook {
            view: View::new(Client::try_from(cluster).expect("a client")),
            policy: policy(&["--sidecar-image=t"]),
            certificate: Certificate::Own(served),
            metrics: Metrics::default(),
            deadline: Duration::from_millis(300),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let stop = Stop::new();
        tokio::spawn(serve_webhooks(Arc::new(webhook), listener, stop.clone()));
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.certificate.into())
            .expect("a certificate");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            connector: TlsConnector::from(Arc::new(client)),
            stop,
        }
    }

    /// What a request is answered.
    async fn send(&self, head: &str, body: &[u8]) -> String {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let name = ServerName::try_from(NAME).expect("a name");
        let mut stream = self.connector.connect(name, stream).await.expect("TLS");
        stream.write_all(head.as_bytes()).await.expect("sent");
        // It may answer before everything was sent.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, path: &str, body: &[u8]) -> String {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        self.send(&head, body).await
    }
}

#[tokio::test]
async fn questions_are_answered_in_their_own_version() {
    let server = Server::start().await;
    for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
        let question = json!({
            "apiVersion": version, "kind": "AdmissionReview",
            "request": {
                "uid": "42", "operation": "CREATE", "namespace": "",
                "object": {"metadata": {"name": "m"}, "spec": {}},
            },
        });
        let path = "/mutate-appmesh-k8s-aws-v1beta2-mesh";
        let answer = server.post(path, question.to_string().as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a response");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(
            (&body["apiVersion"], &body["response"]["uid"]),
            (&json!(version), &json!("42"))
        );
        let patch = body["response"]["patch"].as_str().expect("a patch");
        let patch = data_encoding::BASE64
            .decode(patch.as_bytes())
            .expect("base64");
        let patch: Value = serde_json::from_slice(&patch).expect("JSON");
        assert_eq!(
            patch,
            json!([{"op": "add", "path": "/spec/awsName", "value": "m"}])
        );
    }
    server.stop.cancel();
}

#[tokio::test]
async fn a_refusal_has_a_reason_also_when_the_api_server_is_away() {
    let server = Server::start().await;
    let question = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "42", "operation": "CREATE", "namespace": "n",
            "object": {"metadata": {"name": "v", "namespace": "n"}, "spec": {}},
        },
    });
    let path = "/mutate-appmesh-k8s-aws-v1beta2-virtualnode";
    let answer = server.post(path, question.to_string().as_bytes()).await;
    assert!(answer.contains("\"code\":403"), "{answer}");
    assert!(
        answer.contains("metadata.namespace: namespace n is not there; create it first"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let server = Server::start().await;
    let path = "/mutate-v1-pod";
    let status = |answer: String| answer.get(9..12).unwrap_or_default().to_owned();
    assert_eq!(status(server.post("/nowhere", b"{}").await), "404");
    assert_eq!(status(server.post(path, b"{").await), "400");
    let other = br#"{"apiVersion": "v1", "kind": "Pod"}"#;
    assert_eq!(status(server.post(path, other).await), "400");
    let empty = br#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#;
    assert_eq!(status(server.post(path, empty).await), "400");
    assert_eq!(
        status(server.post(path, &vec![b' '; (8 << 20) + 1]).await),
        "413"
    );
    let get = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert_eq!(status(server.send(&get, b"").await), "405");
    let stalled = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 9\r\n\r\n"
    );
    assert_eq!(status(server.send(&stalled, b"{").await), "504");
}
