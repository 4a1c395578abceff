//! A real Envoy, driven over both protocols. Needs `TOMBOLO_ENVOY`, the path of a binary.

mod control;
mod sample;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tombolo_xds::server::session::Protocol;
use tombolo_xds::{Kind, Resource, Snapshot};

use control::{Control, within};

#[tokio::test]
async fn envoy_follows_over_delta() {
    follow(Protocol::Delta).await;
}

#[tokio::test]
async fn envoy_follows_over_state_of_the_world() {
    follow(Protocol::Sotw).await;
}

async fn follow(protocol: Protocol) {
    let Some(binary) = tombolo_need::variable("TOMBOLO_ENVOY") else {
        return;
    };
    let [one, two, three] = [
        upstream("one").await,
        upstream("two").await,
        upstream("three").await,
    ];
    let (front, admin) = (free().await, free().await);
    let mesh = Snapshot::builder(1)
        .with(Resource::encode(
            "front",
            &sample::listener("front", front, "routes", "front"),
        ))
        .with(Resource::encode("routes", &sample::routes("routes", "a")))
        .with(cluster("a", 1000))
        .with(endpoints("a", one))
        .build();
    assert_eq!(mesh.missing().next(), None, "a complete mesh");
    let control = Control::start(mesh).await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut envoy = Envoy::start(&binary, directory.path(), protocol, control.addr, admin).await;

    // It serves the first snapshot, and says who it is.
    envoy.answers(front, "one").await;
    control.acked(1).await;
    let proxy = control.proxies.proxies().remove(0);
    assert_eq!((&*proxy.node.id, proxy.protocol), ("test-node", protocol));
    assert_eq!(
        (&*proxy.node.user_agent, proxy.node.metadata_str("app")),
        ("envoy", Some("front"))
    );
    assert!(!proxy.node.user_agent_version.is_empty());

    // Endpoints alone.
    publish(&control, 2, &[endpoints("a", two)], &[]);
    envoy.answers(front, "two").await;

    // A changed cluster whose endpoints stay: it warms only if they are sent again, since
    // the samples switch the timeout of that wait off.
    publish(&control, 3, &[cluster("a", 1500)], &[]);
    let dump = "/config_dump?resource=dynamic_active_clusters";
    envoy
        .contains(admin, dump, r#""connect_timeout": "1.500s""#)
        .await;
    envoy.answers(front, "two").await;
    control.acked(3).await;

    // The route moves to a new cluster and the old one goes: no request may fail between.
    let routes = Resource::encode("routes", &sample::routes("routes", "b"));
    let gone = [(Kind::Cluster, "a"), (Kind::Endpoint, "a")];
    publish(
        &control,
        4,
        &[cluster("b", 1000), endpoints("b", three), routes],
        &gone,
    );
    within("the route moves", async {
        loop {
            let (status, body) = get(front, "/").await.expect("the listener stays");
            assert_eq!(status, 200, "{body}");
            if body == "three" {
                return;
            }
            assert_eq!(body, "two");
        }
    })
    .await;
    control.acked(4).await;

    // A broken listener is refused by name; what works goes on working.
    let broken = Resource::encode("broken", &sample::broken_listener("broken", free().await));
    publish(&control, 5, &[broken], &[]);
    let nack = control.nack(Kind::Listener).await;
    assert_eq!(nack.names, ["broken".into()], "{}", nack.reason);
    assert!(nack.reason.contains("no.such"), "{}", nack.reason);
    assert!(!control.is_acked(5));
    envoy.answers(front, "three").await;

    // Endpoints still follow while it is there, and taking it back heals the proxy.
    publish(&control, 6, &[endpoints("b", one)], &[]);
    envoy.answers(front, "one").await;
    publish(&control, 7, &[], &[(Kind::Listener, "broken")]);
    control.acked(7).await;

    // Envoy comes back by itself to a control plane that was away.
    let (addr, last) = (control.addr, control.snapshot());
    control.stop().await;
    envoy.answers(front, "one").await;
    let control = Control::start_at(addr, last.edit(8).with(endpoints("b", two)).build()).await;
    envoy.answers(front, "two").await;
    control.acked(8).await;
}

fn cluster(name: &str, timeout_ms: u32) -> Resource {
    Resource::encode(name, &sample::cluster(name, name, timeout_ms))
}

fn endpoints(name: &str, at: SocketAddr) -> Resource {
    Resource::encode(name, &sample::endpoints(name, &[at]))
}

fn publish(control: &Control, revision: u64, resources: &[Resource], gone: &[(Kind, &str)]) {
    let mut edit = control.snapshot().edit(revision);
    for resource in resources {
        edit.insert(resource.clone());
    }
    for (kind, name) in gone {
        edit.remove(*kind, name);
    }
    control.publish(edit.build());
}

struct Envoy {
    process: Child,
    log: PathBuf,
}

impl Envoy {
    async fn start(
        binary: &Path,
        directory: &Path,
        protocol: Protocol,
        control: SocketAddr,
        admin: SocketAddr,
    ) -> Envoy {
        let (config, log) = (directory.join("envoy.json"), directory.join("envoy.log"));
        let api = match protocol {
            Protocol::Delta => "DELTA_GRPC",
            Protocol::Sotw => "GRPC",
        };
        std::fs::write(&config, bootstrap(api, control, admin)).expect("a file");
        let output = std::fs::File::create(&log).expect("a file");
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(&config)
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ])
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .expect("TOMBOLO_ENVOY can be run");
        Envoy { process, log }
    }

    /// Waits until requests are answered with this word.
    async fn answers(&mut self, at: SocketAddr, word: &str) {
        self.poll(at, "/", |body| body == word, word).await;
    }

    async fn contains(&mut self, at: SocketAddr, path: &str, text: &str) {
        self.poll(at, path, |body| body.contains(text), text).await;
    }

    async fn poll(&mut self, at: SocketAddr, path: &str, good: impl Fn(&str) -> bool, what: &str) {
        let poll = async {
            loop {
                if let Ok(Some(status)) = self.process.try_wait() {
                    let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                    panic!("Envoy ended with {status}: {log}");
                }
                if let Ok((200, body)) = get(at, path).await
                    && good(&body)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(control::PATIENCE, poll).await.is_err() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            panic!("never got {what:?} from {at}{path}; Envoy says: {log}");
        }
    }
}

fn bootstrap(api: &str, control: SocketAddr, admin: SocketAddr) -> String {
    let address = |at: SocketAddr| {
        serde_json::json!({
            "socket_address": { "address": at.ip().to_string(), "port_value": at.port() }
        })
    };
    let ads = serde_json::json!({ "resource_api_version": "V3", "ads": {} });
    serde_json::json!({
        "node": { "id": "test-node", "cluster": "test", "metadata": { "app": "front" } },
        "admin": { "address": address(admin) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": api,
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "control" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {
            "clusters": [{
                "name": "control",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/\
                            envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "explicit_http_config": { "http2_protocol_options": {} },
                    },
                },
                "load_assignment": {
                    "cluster_name": "control",
                    "endpoints": [{
                        "lb_endpoints": [{ "endpoint": { "address": address(control) } }],
                    }],
                },
            }],
        },
    })
    .to_string()
}

/// A port of loopback that was free a moment ago.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port of loopback");
    listener.local_addr().expect("a bound socket")
}

/// A server that answers every request with one word.
async fn upstream(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port of loopback");
    let addr = listener.local_addr().expect("a bound socket");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let length = word.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{word}"
                );
                drop(stream.write_all(answer.as_bytes()).await);
            });
        }
    });
    addr
}

/// Status and body of a GET over a connection of its own.
async fn get(at: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let invalid = || std::io::Error::other(format!("not HTTP: {answer:?}"));
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        body.lines()
            .filter(|line| line.is_empty() || !is_hex(line))
            .collect::<Vec<_>>()
            .join("\n")
    } else {
        body.to_owned()
    };
    Ok((status.ok_or_else(invalid)?, body))
}

/// Good enough to drop the chunk sizes from a JSON dump.
fn is_hex(line: &str) -> bool {
    line.bytes().all(|byte| byte.is_ascii_hexdigit())
}
