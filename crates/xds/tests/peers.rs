//! Peers that stall, lie or leave.

mod control;
mod sample;

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::rpc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tombolo_xds::server::ServerOptions;
use tombolo_xds::{Client, ClientOptions, Kind, Node, Resource, Snapshot};

use control::{Control, hello, within};

fn snapshot() -> Snapshot {
    Snapshot::builder(1)
        .with(Resource::encode("a", &sample::cluster("a", "a", 1)))
        .with(Resource::encode("a", &sample::endpoints("a", &[])))
        .build()
}

fn strict() -> ServerOptions {
    ServerOptions {
        handshake_timeout: Duration::from_millis(100),
        max_unidentified_connections: 4,
        ..ServerOptions::default()
    }
}

/// The connection preface of HTTP/2, with empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Waits until the server closes a connection, whatever it says before.
async fn closed(mut stream: TcpStream) {
    within("the server closes the connection", async {
        let mut buffer = [0; 1024];
        while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {}
    })
    .await;
}

async fn connect(at: SocketAddr) -> TcpStream {
    TcpStream::connect(at).await.expect("it listens")
}

#[tokio::test]
async fn connections_that_open_no_stream_are_closed() {
    let control = Control::start_with(strict(), snapshot()).await;
    for said in [&b""[..], b"PRI * HT", PREFACE, b"GET / HTTP/1.1\r\n"] {
        let mut stream = connect(control.addr).await;
        stream.write_all(said).await.expect("room for it");
        closed(stream).await;
    }
}

#[tokio::test]
async fn silent_connections_lock_nobody_out() {
    let patient = ServerOptions {
        handshake_timeout: Duration::from_secs(3600),
        ..strict()
    };
    let control = Control::start_with(patient, snapshot()).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(connect(control.addr).await);
    }
    let options = ClientOptions::new(format!("http://{}", control.addr), Node::default());
    let mut client = Client::start(options).expect("an address");
    let update = within("a configuration", client.next()).await;
    update.expect("the client runs").accept();
    // The oldest had to go; the others may wait.
    closed(silent.remove(0)).await;
}

#[tokio::test]
async fn a_stream_that_does_not_say_who_it_is_ends() {
    let control = Control::start_with(strict(), snapshot()).await;
    let mut stream = control.open_stream(None).await;
    assert_eq!(stream.ended().await, tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_without_a_node_is_refused() {
    let control = Control::start(snapshot()).await;
    let first = DeltaDiscoveryRequest {
        node: None,
        ..hello("", Kind::Cluster)
    };
    let mut stream = control.open_stream(Some(first)).await;
    assert_eq!(stream.ended().await, tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn a_connection_with_a_stream_stays_open() {
    let control = Control::start_with(strict(), snapshot()).await;
    let mut stream = control.open_stream(Some(hello("one", Kind::Cluster))).await;
    let first = stream.next().await;
    // As long as others that came later are not let go, the limit has not passed.
    for _ in 0..3 {
        closed(connect(control.addr).await).await;
    }
    let ack = DeltaDiscoveryRequest {
        response_nonce: first.nonce,
        ..Default::default()
    };
    stream.send(Kind::Cluster, ack).await;
    let cluster = Resource::encode("a", &sample::cluster("a", "a", 2));
    control.publish(control.snapshot().edit(2).with(cluster).build());
    stream.next().await;
}

#[tokio::test]
async fn what_a_proxy_says_of_itself_is_cut_and_escaped() {
    let control = Control::start(snapshot()).await;
    let first = hello(&"\u{1b}[2J".repeat(20_000), Kind::Cluster);
    let mut stream = control.open_stream(Some(first)).await;
    let nack = DeltaDiscoveryRequest {
        response_nonce: stream.next().await.nonce,
        error_detail: Some(rpc::Status {
            code: 3,
            message: "\u{1b}[31m".repeat(600_000),
            details: Vec::new(),
        }),
        ..Default::default()
    };
    stream.send(Kind::Cluster, nack).await;
    let reason = control.nack(Kind::Cluster).await.reason;
    let length = reason.len();
    assert!(
        length <= 4096 && reason.starts_with(r"\u{1b}[31m"),
        "{length}"
    );
    let shown = serde_json::to_string(&control.proxies.proxies()).expect("JSON");
    let length = shown.len();
    assert!(length < 16 << 10 && !shown.contains("u001b"), "{length}");
}

#[tokio::test]
async fn a_stream_that_asks_for_too_much_ends() {
    let control = Control::start(snapshot()).await;
    let many: Vec<String> = (0..11_000).map(|n| format!("n{n}")).collect();
    let versions = many.iter().map(|name| (name.clone(), "v".to_owned()));
    let versions = versions.collect();
    for (kind, names, versions) in [
        (Kind::Endpoint, many, Default::default()),
        (Kind::Endpoint, vec!["n".repeat(5000)], Default::default()),
        (Kind::Cluster, Vec::new(), versions),
    ] {
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            initial_resource_versions: versions,
            ..hello("greedy", kind)
        };
        let mut stream = control.open_stream(Some(request)).await;
        assert_eq!(stream.ended().await, tonic::Code::InvalidArgument);
    }
}
