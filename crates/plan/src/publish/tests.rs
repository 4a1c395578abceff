use super::*;
use crate::{
    AppMesh,
    sample::{self, MESH, node, registered, scope},
};
use serde_json::{Value, json};
use tombolo_model::appmesh::ResourceKey;

const DEADLINE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(10);

async fn put(store: &Store, key: &ResourceKey, spec: Value) {
    let command = sample::put(&store.view(), key, spec);
    let committed = store.commit(scope(), command).await;
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

/// A single change goes out at once. Those that come while it is being sent go out together, after a pause between
/// writes, or when there was none for long enough.
#[tokio::test]
async fn changes_gather_while_one_is_being_sent_to_the_proxies() {
    for (min_quiet, max_wait) in [(SOON, NEVER), (NEVER, SOON)] {
        let store = Store::memory();
        put(&store, &ResourceKey::mesh(MESH), json!({})).await;
        turn(&store, false).await;
        let delays = Delays {
            push: NEVER,
            min_quiet,
            max_wait,
        };
        let publisher = Publisher::new(store.clone(), scope(), AppMesh).with_delays(delays);
        let running = publisher.clone();
        let task = tokio::spawn(async move { running.run().await });
        let node = Node {
            id: "mesh/m/virtualNode/web".into(),
            ..Node::default()
        };
        let workload = publisher.workload_of(&node).expect("a name");
        let mut proxy = in_time(publisher.subscribe_to(workload))
            .await
            .expect("it exists");

        turn(&store, true).await;
        let revision = store.view().revision;
        let first = in_time(proxy.wait_for(|snapshot| snapshot.revision() == revision));
        let first = first.await.expect("it is published").clone();
        for on in [false, true, false] {
            turn(&store, on).await;
        }
        // The first is not sent yet.
        assert!(!proxy.has_changed().expect("it runs"));
        let [propagation] = first.propagations() else {
            panic!("it is followed");
        };
        propagation.sent();
        in_time(proxy.changed()).await.expect("it is published");
        assert_eq!(proxy.borrow_and_update().revision(), store.view().revision);
        task.abort();
    }
}
