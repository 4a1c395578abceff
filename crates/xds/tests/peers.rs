//! Peers that stall, lie or leave.

mod control;
mod sample;

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::google::rpc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_xds::server::ServerOptions;
use tombolo_xds::{Client, ClientOptions, Kind, Node, Resource, Snapshot};

use control::{Control, until, within};

fn snapshot() -> Snapshot {
    Snapshot::builder(1)
        .with(Resource::encode("a", &sample::cluster("a", "a", 1)))
        .with(Resource::encode("a", &sample::endpoints("a", &[])))
        .build()
}

fn strict() -> ServerOptions {
    ServerOptions {
        handshake_timeout: Duration::from_millis(100),
        max_silent_connections: 4,
        ..ServerOptions::default()
    }
}

/// What HTTP/2 begins with, and empty settings.
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

fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        ..Node::default()
    }
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
    let options = ClientOptions::new(format!("http://{}", control.addr), node("one"));
    let (_client, mut updates) = Client::start(options).expect("an address");
    let update = within("a configuration", updates.next()).await;
    update.expect("the client runs").accept();
    // The oldest had to go; the others may wait.
    closed(silent.remove(0)).await;
}

#[tokio::test]
async fn a_stream_that_does_not_say_who_it_is_ends() {
    let control = Control::start_with(strict(), snapshot()).await;
    let url = format!("http://{}", control.addr);
    let mut client = AggregatedDiscoveryServiceClient::connect(url)
        .await
        .expect("a connection");
    let (_requests, outbound) = mpsc::channel::<DeltaDiscoveryRequest>(1);
    let call = client.delta_aggregated_resources(ReceiverStream::new(outbound));
    let mut responses = within("an answer", call)
        .await
        .expect("a stream")
        .into_inner();
    let ended = within("the end of the stream", responses.message()).await;
    assert_eq!(ended.unwrap_err().code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_connection_with_a_stream_stays_open() {
    let control = Control::start_with(strict(), snapshot()).await;
    let url = format!("http://{}", control.addr);
    let mut client = AggregatedDiscoveryServiceClient::connect(url)
        .await
        .expect("a connection");
    let (requests, outbound) = mpsc::channel(4);
    let first = DeltaDiscoveryRequest {
        node: Some((&node("one")).into()),
        type_url: Kind::Cluster.type_url().into(),
        ..Default::default()
    };
    requests.send(first).await.expect("room for it");
    let call = client.delta_aggregated_resources(ReceiverStream::new(outbound));
    let mut responses = within("an answer", call)
        .await
        .expect("a stream")
        .into_inner();
    let first = within("the clusters", responses.message()).await;
    let first = first.expect("no error").expect("not the end");
    // As long as others that came later are not let go, the limit has not passed.
    for _ in 0..3 {
        closed(connect(control.addr).await).await;
    }
    let cluster = Resource::encode("a", &sample::cluster("a", "a", 2));
    let ack = DeltaDiscoveryRequest {
        type_url: Kind::Cluster.type_url().into(),
        response_nonce: first.nonce,
        ..Default::default()
    };
    requests.send(ack).await.expect("room for it");
    control.publish(control.snapshot().edit(2).with(cluster).build());
    let second = within("a change", responses.message()).await;
    assert!(second.expect("no error").is_some());
}

#[tokio::test]
async fn what_a_proxy_says_of_itself_is_cut_and_escaped() {
    let control = Control::start(snapshot()).await;
    let url = format!("http://{}", control.addr);
    let mut client = AggregatedDiscoveryServiceClient::connect(url)
        .await
        .expect("a connection");
    let (requests, outbound) = mpsc::channel(4);
    let first = DeltaDiscoveryRequest {
        node: Some((&node(&"\u{1b}[2J".repeat(20_000))).into()),
        type_url: Kind::Cluster.type_url().into(),
        ..Default::default()
    };
    requests.send(first).await.expect("room for it");
    let call = client.delta_aggregated_resources(ReceiverStream::new(outbound));
    let mut responses = within("an answer", call)
        .await
        .expect("a stream")
        .into_inner();
    let response = within("the clusters", responses.message()).await;
    let response = response.expect("no error").expect("not the end");
    let nack = DeltaDiscoveryRequest {
        type_url: Kind::Cluster.type_url().into(),
        response_nonce: response.nonce,
        error_detail: Some(rpc::Status {
            code: 3,
            message: "\u{1b}[31m".repeat(600_000),
            details: Vec::new(),
        }),
        ..Default::default()
    };
    requests.send(nack).await.expect("room for it");
    let reason = until(&control.proxies, "the rejection is shown", |proxies| {
        let proxy = proxies.proxies().into_iter().next()?;
        Some(proxy.kinds.get(&Kind::Cluster)?.nack.clone()?.reason)
    })
    .await;
    assert!(
        reason.len() <= 4096 && reason.starts_with(r"\u{1b}[31m"),
        "{}",
        reason.len()
    );
    let shown = serde_json::to_string(&control.proxies.proxies()).expect("JSON");
    assert!(
        shown.len() < 16 << 10 && !shown.contains("u001b"),
        "{}",
        shown.len()
    );
}

#[tokio::test]
async fn a_stream_that_asks_for_too_much_ends() {
    let control = Control::start(snapshot()).await;
    let many = (0..11_000).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let versions = many.iter().map(|name| (name.clone(), "v".to_owned()));
    for (kind, request) in [
        (
            Kind::Endpoint,
            DeltaDiscoveryRequest {
                resource_names_subscribe: many.clone(),
                ..Default::default()
            },
        ),
        (
            Kind::Endpoint,
            DeltaDiscoveryRequest {
                resource_names_subscribe: vec!["n".repeat(5000)],
                ..Default::default()
            },
        ),
        (
            Kind::Cluster,
            DeltaDiscoveryRequest {
                initial_resource_versions: versions.collect(),
                ..Default::default()
            },
        ),
    ] {
        let url = format!("http://{}", control.addr);
        let mut client = AggregatedDiscoveryServiceClient::connect(url)
            .await
            .expect("a connection");
        let request = DeltaDiscoveryRequest {
            node: Some((&node("greedy")).into()),
            type_url: kind.type_url().into(),
            ..request
        };
        let (requests, outbound) = mpsc::channel(1);
        requests.send(request).await.expect("room for it");
        let call = client.delta_aggregated_resources(ReceiverStream::new(outbound));
        let mut responses = within("an answer", call)
            .await
            .expect("a stream")
            .into_inner();
        let ended = within("the end of the stream", responses.message()).await;
        assert_eq!(ended.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}
