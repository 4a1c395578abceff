//! Real checks of real listeners, through a store.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tombolo_health::{Metrics, Options};
use tombolo_model::{
    Command, Reply, Scope,
    apply::cloudmap::{self, CreateNamespace, CreateService, RegisterInstance},
    cloudmap::{Health, HealthCheckConfig, HealthCheckType, NamespaceType},
};
use tombolo_store::Store;

const PATIENCE: Duration = Duration::from_secs(20);
const OPTIONS: Options = Options {
    interval: Duration::from_millis(20),
    concurrency: 4,
    loopback: true,
};

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

/// A registry with one service that is checked, and the checks.
struct Stage {
    store: Store,
    service: String,
    checks: tokio::task::JoinHandle<()>,
}

impl Stage {
    async fn new(kind: HealthCheckType) -> Self {
        let store = Store::memory();
        let namespace = cloudmap::Command::CreateNamespace(CreateNamespace {
            name: "shop".into(),
            kind: NamespaceType::HTTP,
            vpc: None,
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        });
        commit(&store, namespace).await;
        let view = store.view();
        let state = view.scope(&scope()).expect("just made");
        let service = cloudmap::Command::CreateService(CreateService {
            name: "web".into(),
            namespace_id: state.namespaces().next().expect("just made").id.to_string(),
            description: None,
            dns_config: None,
            health_check: Some(HealthCheckConfig {
                kind,
                resource_path: (kind != HealthCheckType::TCP).then(|| "/up".into()),
                failure_threshold: Some(2),
            }),
            custom_health_check: false,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        });
        let Reply::Service(service) = commit(&store, service).await else {
            panic!("a service is answered");
        };
        let checks = tokio::spawn(tombolo_health::run(
            store.clone(),
            store.election("health-checks").leadership().expect("alone"),
            OPTIONS,
            Metrics::default(),
        ));
        Self {
            service: service.id.to_string(),
            store,
            checks,
        }
    }

    async fn register(&self, id: &str, at: SocketAddr) {
        let command = cloudmap::Command::RegisterInstance(RegisterInstance {
            service_id: self.service.clone(),
            instance_id: id.into(),
            attributes: [
                ("AWS_INSTANCE_IPV4".into(), at.ip().to_string()),
                ("AWS_INSTANCE_PORT".into(), at.port().to_string()),
            ]
            .into(),
            creator_request_id: None,
        });
        commit(&self.store, command).await;
    }

    /// Waits until an instance has this health.
    async fn until(&self, id: &str, health: Health) {
        let mut watch = self.store.watch();
        let seen = async {
            while watch.next().await.is_some() {
                let view = self.store.view();
                let instance = view
                    .scope(&scope())
                    .and_then(|state| state.instance(&self.service, id));
                if instance.is_some_and(|instance| instance.health == health) {
                    return;
                }
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{id} did not become {health:?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.checks.abort();
    }
}

async fn commit(store: &Store, command: cloudmap::Command) -> Reply {
    let committed = store.commit(scope(), Command::CloudMap(command)).await;
    committed.expect("allowed").reply
}

/// Answers `GET /up` with a status that can be changed, and anything else with 404.
async fn web(status: Arc<AtomicU16>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let status = if request.starts_with(b"GET /up HTTP/1.1\r\n") {
                status.load(Ordering::Relaxed)
            } else {
                404
            };
            let answer = format!("HTTP/1.1 {status} S\r\ncontent-length: 0\r\n\r\n");
            // A checker that has seen enough may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

#[tokio::test]
async fn a_tcp_check_follows_whether_connections_are_accepted() {
    let stage = Stage::new(HealthCheckType::TCP).await;
    let address = nobody();
    stage.register("one", address).await;
    stage.until("one", Health::Unhealthy).await;
    let _listener = TcpListener::bind(address).await.expect("still free");
    stage.until("one", Health::Healthy).await;
}

#[tokio::test]
async fn an_http_check_follows_the_status() {
    let stage = Stage::new(HealthCheckType::HTTP).await;
    let status = Arc::new(AtomicU16::new(503));
    stage.register("one", web(status.clone()).await).await;
    stage.register("two", nobody()).await;
    stage.until("one", Health::Unhealthy).await;
    for (code, health) in [
        (302, Health::Healthy),
        (404, Health::Unhealthy),
        (200, Health::Healthy),
    ] {
        status.store(code, Ordering::Relaxed);
        stage.until("one", health).await;
    }
    stage.until("two", Health::Unhealthy).await;
}

#[tokio::test]
async fn an_https_check_does_not_take_plain_http_for_an_answer() {
    let stage = Stage::new(HealthCheckType::HTTPS).await;
    let status = Arc::new(AtomicU16::new(200));
    stage.register("plain", web(status).await).await;
    stage.until("plain", Health::Unhealthy).await;
}

#[tokio::test]
async fn more_instances_than_checks_at_a_time_are_all_checked() {
    let stage = Stage::new(HealthCheckType::TCP).await;
    let address = nobody();
    for i in 0..20 {
        stage.register(&format!("instance-{i}"), address).await;
    }
    for i in 0..20 {
        stage
            .until(&format!("instance-{i}"), Health::Unhealthy)
            .await;
    }
}
