//! The client and the server over TLS, and the relay between a plaintext proxy and such a server.

mod control;
mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use tombolo_xds::client::Server;
use tombolo_xds::relay::{self, RelayOptions};
use tombolo_xds::server::{Certificates, ServerOptions};
use tombolo_xds::{Client, ClientOptions, Node, Resource, Snapshot};

use control::{Control, within};

/// A certificate for 127.0.0.1 that is its own authority, in a file.
struct Certificate {
    directory: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
        let rcgen::CertifiedKey { cert, signing_key } = made.expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("root.pem"), cert.pem()).expect("written");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .expect("they belong together");
        server.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            directory,
            server: Arc::new(server),
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    async fn control(&self) -> Control {
        let server = self.server.clone();
        let options = ServerOptions {
            handshake_timeout: Duration::from_millis(200),
            certificates: Some(Certificates::new(move || server.clone())),
            ..ServerOptions::default()
        };
        let snapshot = Snapshot::builder(1)
            .with(Resource::encode("a", &sample::cluster("a", "a", 1)))
            .with(Resource::encode("a", &sample::endpoints("a", &[])))
            .build();
        Control::start_with(options, snapshot).await
    }
}

fn client(endpoint: String, authorities: &Path, token: Option<PathBuf>, id: &str) -> Client {
    let node = Node {
        id: id.to_owned(),
        ..Node::default()
    };
    let options = ClientOptions {
        authorities: Some(authorities.to_owned()),
        token_file: token,
        ..ClientOptions::new(endpoint, node)
    };
    Client::start(options).expect("a good endpoint")
}

/// Why a client has no stream.
async fn refusal(client: &Client) -> String {
    let mut status = client.status();
    let refused = status.wait_for(|status| status.last_error.is_some());
    let refused = within("a refusal", refused).await.expect("the client runs");
    refused.last_error.clone().unwrap_or_default()
}

#[tokio::test]
async fn a_client_knows_its_server() {
    let (certificate, other) = (Certificate::new(), Certificate::new());
    let control = certificate.control().await;
    let endpoint = format!("https://{}", control.addr);
    let mut good = client(endpoint.clone(), &certificate.root(), None, "one");
    let update = within("an update", good.next())
        .await
        .expect("the client runs");
    update.accept();

    let wrong = client(endpoint, &other.root(), None, "two");
    let why = refusal(&wrong).await;
    assert!(why.contains("certificate"), "{why}");
    let elsewhere = format!("https://localhost:{}", control.addr.port());
    let why = refusal(&client(elsewhere, &certificate.root(), None, "three")).await;
    assert!(why.contains("certificate"), "another name: {why}");
    let plaintext = client(control.addr.to_string(), &certificate.root(), None, "four");
    refusal(&plaintext).await;
    let missing = certificate.directory.path().join("none");
    let why = refusal(&client(
        format!("https://{}", control.addr),
        &missing,
        None,
        "five",
    ))
    .await;
    assert!(why.contains("none"), "the file is named: {why}");
}

/// A peer that begins a handshake and never ends it holds up nobody, and is closed.
#[tokio::test]
async fn handshakes_have_a_deadline() {
    let certificate = Certificate::new();
    let control = certificate.control().await;
    // The first bytes of a ClientHello of 512 bytes, then nothing.
    for said in [
        &b""[..],
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(control.addr).await.expect("it listens");
        stream.write_all(said).await.expect("room for it");
        let endpoint = format!("https://{}", control.addr);
        let mut meanwhile = client(endpoint, &certificate.root(), None, "one");
        within("an update", meanwhile.next())
            .await
            .expect("the client runs")
            .accept();
        within("the server closes the connection", async {
            let mut buffer = [0; 1024];
            while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
        })
        .await;
    }
}

#[tokio::test]
async fn the_relay_adds_the_token_and_passes_refusals_on() {
    let certificate = Certificate::new();
    let control = certificate.control().await;
    let token = certificate.directory.path().join("token");
    std::fs::write(&token, "wrong").expect("written");
    let server = Server::encrypted(&format!("https://{}", control.addr)).expect("https");
    let options = RelayOptions {
        server,
        authorities: Some(certificate.root()),
        token_file: Some(token.clone()),
    };
    let socket = certificate.directory.path().join("xds.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    tokio::spawn(relay::serve(listener, options, std::future::pending()));
    let endpoint = format!("unix://{}", socket.display());
    // This control plane asks nodes of this name for a word.
    let guarded = client(endpoint.clone(), &certificate.root(), None, "guarded");
    let why = refusal(&guarded).await;
    assert!(why.contains("say the word"), "{why}");
    std::fs::write(&token, "sesame\n").expect("written");
    let mut guarded = client(endpoint.clone(), &certificate.root(), None, "guarded");
    within("an update", guarded.next())
        .await
        .expect("the client runs")
        .accept();
    control.acked(1).await;

    std::fs::remove_file(&token).expect("removed");
    let why = refusal(&client(endpoint, &certificate.root(), None, "guarded")).await;
    assert!(
        why.contains("the relay of this pod") && why.contains("token"),
        "{why}"
    );
}
