use super::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tokio::{sync::mpsc, time::timeout};
use tombolo_model::{
    Scope,
    apply::cloudmap::{CreateNamespace, CreateService, RegisterInstance},
    cloudmap::{HealthCheckConfig, HealthCheckType, NamespaceType},
};

const LONG: Duration = Duration::from_secs(30);

async fn commit(store: &Store, command: cloudmap::Command) {
    let scope = Scope::new("111122223333", "us-west-2");
    let committed = store.commit(scope, Command::CloudMap(command)).await;
    committed.expect("legal");
}

/// A store with one instance that is to be checked.
async fn store_with_an_instance() -> Store {
    let store = Store::memory();
    let namespace = CreateNamespace {
        name: "shop".into(),
        kind: NamespaceType::HTTP,
        vpc: None,
        description: None,
        soa_ttl: None,
        creator_request_id: None,
        tags: Vec::new(),
    };
    commit(&store, cloudmap::Command::CreateNamespace(namespace)).await;
    let view = store.view();
    let (_, state) = view.scopes().next().expect("just made");
    let service = CreateService {
        name: "web".into(),
        namespace_id: state.namespaces().next().expect("just made").id.to_string(),
        description: None,
        dns_config: None,
        health_check: Some(HealthCheckConfig {
            kind: HealthCheckType::TCP,
            resource_path: None,
            failure_threshold: Some(2),
        }),
        custom_health_check: false,
        http_only: false,
        creator_request_id: None,
        tags: Vec::new(),
    };
    commit(&store, cloudmap::Command::CreateService(service)).await;
    let view = store.view();
    let (_, state) = view.scopes().next().expect("just made");
    let attributes = [
        ("AWS_INSTANCE_IPV4", "10.0.0.1"),
        ("AWS_INSTANCE_PORT", "80"),
    ];
    let instance = RegisterInstance {
        service_id: state.services().next().expect("just made").id.to_string(),
        instance_id: "one".into(),
        attributes: attributes
            .map(|(key, value)| (key.into(), value.into()))
            .into(),
        creator_request_id: None,
    };
    commit(&store, cloudmap::Command::RegisterInstance(instance)).await;
    store
}

#[tokio::test]
async fn an_instance_whose_check_panicked_is_checked_again() {
    let store = store_with_an_instance().await;
    let (asked, mut asks) = mpsc::unbounded_channel();
    let count = AtomicU32::new(0);
    let options = Options {
        interval: Duration::from_millis(1),
        // With room for one, the panicked check must give its room back too.
        concurrency: 1,
        loopback: false,
    };
    let checks = tokio::spawn(run_with(
        store.clone(),
        store.election("health-checks").leadership().expect("alone"),
        options,
        Metrics::default(),
        move |target: Target| {
            let number = count.fetch_add(1, SeqCst);
            asked.send(target.address).expect("the test waits");
            async move {
                assert!(number > 0, "an invariant of the probe");
                Ok(())
            }
        },
    ));
    for _ in 0..3 {
        let address = timeout(LONG, asks.recv())
            .await
            .expect("it is checked again");
        assert_eq!(
            address.expect("the checks go on").to_string(),
            "10.0.0.1:80"
        );
    }
    let view = store.view();
    let (_, state) = view.scopes().next().expect("it stays");
    let service = state.services().next().expect("it stays");
    let instance = state.instance(&service.id, "one").expect("it stays");
    assert_eq!(
        instance.health,
        Health::Healthy,
        "a panic says nothing about the instance"
    );
    checks.abort();
}
