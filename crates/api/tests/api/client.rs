//! The client, over a real connection.

use crate::harness::{ACCOUNT, REGION, config};
use serde_json::json;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};
use tombolo_api::{
    Server,
    client::{Client, Discover, Error},
};
use tombolo_model::{
    Scope,
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    appmesh::{Kind, ResourceKey, Spec, Tag},
    cloudmap::{DnsConfig, DnsRecord, Health, NamespaceType, RecordType},
};
use tombolo_store::Store;

const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    async fn start(store: &Store, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let server = Server::new(store.clone(), config()).expect("legal");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(listener, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            stop,
            task,
        }
    }

    async fn stop(self) {
        self.stop.send(()).expect("the server is there");
        let ended = timeout(PATIENCE, self.task).await.expect("in time");
        ended.expect("no panic").expect("no error");
    }

    fn client(&self) -> Client {
        let scope = Scope::new(ACCOUNT, REGION);
        let client = Client::new(&format!("http://{}", self.address), scope).expect("an endpoint");
        client.with_timeout(PATIENCE)
    }
}

fn spec(kind: Kind, json: serde_json::Value) -> Spec {
    Spec::from_json(kind, json).expect("a legal spec")
}

#[tokio::test]
async fn resources_make_the_round_trip() {
    let served = Served::start(&Store::memory(), "127.0.0.1:0").await;
    let client = served.client();
    assert_eq!(client.account().await.as_deref(), Ok(ACCOUNT));
    let mesh = ResourceKey::mesh("demo");
    assert_eq!(client.find(&mesh).await, Ok(None));
    let tags = [Tag {
        key: "a".into(),
        value: "b".into(),
    }];
    let made = client
        .create_tagged(&mesh, &spec(Kind::Mesh, json!({})), &tags)
        .await
        .expect("made");
    assert_eq!(made.metadata.version, 1);
    assert_eq!(client.tags(&mesh).await.as_deref(), Ok(&tags[..]));

    let listeners = json!({ "listeners": [{ "portMapping": { "port": 80, "protocol": "http" } }] });
    let router = ResourceKey::new("demo", Kind::VirtualRouter, "r");
    let router_spec = spec(Kind::VirtualRouter, listeners);
    let made = client.create(&router, &router_spec).await.expect("made");
    assert_eq!((&made.key, &made.spec), (&router, &router_spec));
    assert_eq!(client.find(&router).await, Ok(Some(made.clone())));
    let updated = client.update(&router, &router_spec).await.expect("updated");
    assert_eq!(updated.metadata.version, 2);
    assert_eq!(updated.metadata.created_at, made.metadata.created_at);

    for name in 0..150 {
        let key = ResourceKey::new("demo", Kind::VirtualService, format!("s{name}.local"));
        client
            .create(&key, &spec(Kind::VirtualService, json!({})))
            .await
            .expect("made");
    }
    let services = client
        .list("demo", Kind::VirtualService, "")
        .await
        .expect("listed");
    assert_eq!(services.len(), 150, "all pages");
    assert!(
        services
            .iter()
            .all(|service| service.key.kind == Kind::VirtualService)
    );
    let meshes = client.list_meshes().await.expect("listed");
    assert_eq!(
        meshes.iter().map(|mesh| &mesh.key).collect::<Vec<_>>(),
        [&mesh]
    );
    assert_eq!(client.list("demo", Kind::Route, "r").await, Ok(vec![]));

    let conflict = client
        .create(&router, &router_spec)
        .await
        .expect_err("exists");
    assert!(conflict.is_conflict(), "{conflict}");
    let in_use = client.delete(&mesh).await.expect_err("has members");
    assert!(in_use.is_in_use(), "{in_use}");
    client.delete(&router).await.expect("deleted");
    let gone = client.describe(&router).await.expect_err("gone");
    assert!(gone.is_not_found(), "{gone}");
    assert_eq!(gone.code(), Some("NotFoundException"));
}

#[tokio::test]
async fn the_registry_makes_the_round_trip() {
    let served = Served::start(&Store::memory(), "127.0.0.1:0").await;
    let client = served.client();
    assert_eq!(client.find_namespace("ns.local").await, Ok(None));
    let operation = client
        .create_private_dns_namespace("ns.local", "vpc-1")
        .await
        .expect("made");
    let operation = client.wait(&operation).await.expect("succeeded");
    assert_eq!(operation.kind, "CREATE_NAMESPACE");
    let namespace = client
        .find_namespace("ns.local")
        .await
        .expect("listed")
        .expect("there");
    assert_eq!(operation.targets["NAMESPACE"], namespace.id);
    assert_eq!(
        (namespace.kind, namespace.http_name.as_str()),
        (NamespaceType::DNS_PRIVATE, "ns.local")
    );
    assert_eq!(
        client.get_namespace(&namespace.arn).await.as_ref(),
        Ok(&namespace)
    );
    let http = CreateNamespace {
        name: "http".into(),
        kind: NamespaceType::HTTP,
        vpc: None,
        description: Some("d".into()),
        soa_ttl: None,
        creator_request_id: Some("mine".into()),
        tags: vec![Tag {
            key: "a".into(),
            value: String::new(),
        }],
    };
    client.create_namespace(&http).await.expect("made");
    assert_eq!(client.list_namespaces().await.expect("listed").len(), 2);
    let exists = client
        .create_private_dns_namespace("http", "vpc-1")
        .await
        .expect_err("exists");
    assert!(exists.is_conflict(), "{exists}");

    let wanted = CreateService {
        name: "color".into(),
        namespace_id: namespace.id.clone(),
        description: None,
        dns_config: Some(DnsConfig {
            routing_policy: None,
            dns_records: vec![DnsRecord {
                kind: RecordType::A,
                ttl: 300,
            }],
        }),
        health_check: None,
        custom_health_check: true,
        http_only: false,
        creator_request_id: Some("uid-1".into()),
        tags: Vec::new(),
    };
    let service = client.create_service(&wanted).await.expect("made");
    assert_eq!(service.creator_request_id.as_deref(), Some("uid-1"));
    let found = client
        .find_service(&namespace.id, "color")
        .await
        .expect("listed")
        .expect("there");
    assert_eq!(
        (&found.id, &found.namespace_id),
        (&service.id, &namespace.id)
    );
    assert_eq!(client.get_service(&service.id).await.as_ref(), Ok(&service));

    let register = async |id: String, version: &str| {
        let attributes = [("AWS_INSTANCE_IPV4", "10.0.0.1"), ("version", version)];
        let instance = RegisterInstance {
            service_id: service.id.clone(),
            instance_id: id,
            attributes: attributes.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            creator_request_id: None,
        };
        client
            .register_instance(&instance)
            .await
            .expect("registered")
    };
    for i in 0..120 {
        register(format!("i{i}"), if i == 7 { "blue" } else { "red" }).await;
    }
    register("i7".into(), "blue").await;
    assert_eq!(
        client
            .list_instances(&service.id)
            .await
            .expect("listed")
            .len(),
        120,
        "all pages"
    );
    let query = Discover {
        query: BTreeMap::from([("version".into(), "blue".into())]),
        ..Discover::new("ns.local", "color")
    };
    let blue = client.discover(&query).await.expect("found");
    assert_eq!(blue.len(), 1);
    assert_eq!(
        (blue[0].id.as_str(), blue[0].health),
        ("i7", Some(Health::Healthy))
    );
    client
        .set_health(&service.id, "i7", Health::Unhealthy)
        .await
        .expect("reported");
    assert_eq!(client.discover(&query).await, Ok(vec![]));

    assert!(
        client
            .delete_service(&service.id)
            .await
            .expect_err("in use")
            .is_in_use()
    );
    for i in 0..120 {
        client
            .deregister_instance(&service.id, &format!("i{i}"))
            .await
            .expect("deregistered");
    }
    let gone = client
        .deregister_instance(&service.id, "i0")
        .await
        .expect_err("gone");
    assert!(gone.is_not_found());
    client.delete_service(&service.id).await.expect("deleted");
    client
        .delete_namespace(&namespace.id)
        .await
        .expect("deleted");
    assert_eq!(client.find_namespace("ns.local").await, Ok(None));
}

#[tokio::test]
async fn a_restart_of_the_server_is_waited_for() {
    let store = Store::memory();
    let served = Served::start(&store, "127.0.0.1:0").await;
    let (address, client) = (served.address, served.client());
    let mesh = ResourceKey::mesh("demo");
    client
        .create(&mesh, &spec(Kind::Mesh, json!({})))
        .await
        .expect("made");
    served.stop().await;
    let described = tokio::spawn({
        let client = client.clone();
        let mesh = mesh.clone();
        async move { client.describe(&mesh).await }
    });
    // The call is under way before the server is back.
    tokio::task::yield_now().await;
    let _served = Served::start(&store, &address.to_string()).await;
    let described = timeout(PATIENCE, described)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(described.expect("answered").key, mesh);
}

#[tokio::test]
async fn patience_ends() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = closed.local_addr().expect("bound");
    drop(closed);
    let scope = Scope::new(ACCOUNT, REGION);
    let client = Client::new(&format!("http://{address}/"), scope)
        .expect("an endpoint")
        .with_timeout(Duration::from_millis(60));
    let error = timeout(PATIENCE, client.list_meshes())
        .await
        .expect("in time");
    assert!(matches!(error, Err(Error::Transport(_))), "{error:?}");
}

/// The peer is up and says nothing: each attempt has a deadline, and so have all of them.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = silent.local_addr().expect("bound");
    let scope = Scope::new(ACCOUNT, REGION);
    let client = Client::new(&format!("http://{address}"), scope).expect("an endpoint");
    let error = client.list_meshes().await.expect_err("no answer");
    assert!(
        matches!(&error, Error::Transport(why) if why.contains("within")),
        "{error:?}"
    );
}

/// A peer that lies: every page names the same next page, or the answer is longer than any can be.
#[tokio::test]
async fn answers_without_end_are_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let pages = axum::Router::new()
        .route(
            "/v20190125/meshes",
            axum::routing::get(async || r#"{"meshes":[],"nextToken":"again"}"#),
        )
        .route(
            "/",
            axum::routing::post(async || format!(r#"{{"Services":"{}"}}"#, "x".repeat(20 << 20))),
        );
    tokio::spawn(async move { axum::serve(listener, pages).await });
    let scope = Scope::new(ACCOUNT, REGION);
    let client = Client::new(&format!("http://{address}"), scope)
        .expect("an endpoint")
        .with_timeout(Duration::from_millis(60));
    let error = timeout(PATIENCE, client.list_meshes()).await;
    let error = error.expect("in time").expect_err("no end");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    let error = timeout(PATIENCE, client.list_services("ns-1")).await;
    let error = error.expect("in time").expect_err("too long");
    assert!(error.to_string().contains("length limit"), "{error:?}");
}

#[test]
fn endpoints_are_checked() {
    for endpoint in [
        "",
        "ftp://host",
        "https://a..b",
        "http://host/path",
        "http://host/?x",
        "http://",
    ] {
        let client = Client::new(endpoint, Scope::new(ACCOUNT, REGION));
        assert!(
            matches!(client.err(), Some(Error::Endpoint(_))),
            "{endpoint}"
        );
    }
}
