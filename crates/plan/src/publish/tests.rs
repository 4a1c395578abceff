use super::*;
use crate::{
    AppMesh,
    sample::{node, registered, scope},
};
use serde_json::json;
use tombolo_model::{
    Command,
    apply::appmesh,
    appmesh::{ResourceKey, Spec},
};

const DEADLINE: Duration = Duration::from_secs(20);

async fn put(store: &Store, key: &ResourceKey, spec: serde_json::Value) {
    let spec = Spec::from_json(key.kind, spec).expect("a readable spec");
    let (key, client_token) = (key.clone(), None);
    let command = if store.view().resource(&scope(), &key).is_some() {
        appmesh::Command::Update {
            key,
            spec,
            client_token,
        }
    } else {
        appmesh::Command::Create {
            key,
            spec,
            tags: Vec::new(),
            client_token,
        }
    };
    let committed = store.commit(scope(), Command::AppMesh(command)).await;
    committed.expect("a legal command");
}

/// A change of `web` that its proxies see.
async fn turn(store: &Store, on: bool) {
    let port = if on { 8080 } else { 9090 };
    put(store, &node("web"), registered(port, "http", "web")).await;
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("in time")
}

#[tokio::test]
async fn changes_gather_while_one_is_on_its_way_to_the_proxies() {
    let store = Store::memory();
    put(&store, &ResourceKey::mesh(crate::sample::MESH), json!({})).await;
    turn(&store, false).await;
    let publisher = Publisher::new(store.clone(), scope(), AppMesh).with_max_gather(DEADLINE * 10);
    let running = publisher.clone();
    let task = tokio::spawn(async move { running.run().await });
    let mut processed = publisher.processed();
    let revision = store.view().revision;
    in_time(processed.wait_for(|processed| *processed >= revision))
        .await
        .expect("it runs");
    let proxy = Node {
        id: "mesh/m/virtualNode/web".into(),
        ..Node::default()
    };
    let workload = publisher.workload_of(&proxy).expect("a name");
    let (answer, answered) = oneshot::channel();
    let waiting = Waiting { workload, answer };
    publisher.inner.waiting.send(waiting).await.expect("room");
    let mut proxy = in_time(answered)
        .await
        .expect("it runs")
        .expect("it exists");

    // The first goes out at once.
    turn(&store, true).await;
    in_time(proxy.changed()).await.expect("it is published");
    let first = proxy.borrow_and_update().clone();
    assert_eq!(first.revision(), store.view().revision);
    // The proxy does not answer yet, so those that follow go out together, when it does.
    for on in [false, true, false] {
        turn(&store, on).await;
    }
    assert!(!proxy.has_changed().expect("it runs"));
    first.propagation().expect("it is followed").answered();
    in_time(proxy.changed()).await.expect("it is published");
    assert_eq!(proxy.borrow_and_update().revision(), store.view().revision);
    task.abort();
}
