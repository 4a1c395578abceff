//! Pods on a fake container runtime: processes end when the test says so.

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tombolo_kube::PodExt;

use super::*;
use crate::cluster::testkit::{NAMESPACE, apply_to, cluster_of, delete};
use crate::cluster::{Key, Kind, Objects};
use crate::container_runtime::fake::{FakeProcess, FakeRuntime};
use crate::images_file::Images;

struct Fixture {
    runtime: FakeRuntime,
    cluster: Arc<Cluster>,
    kubelet: Arc<Kubelet>,
    _dir: tempfile::TempDir,
}

/// A cluster with a kubelet and one pod, `web`, of this spec.
fn fixture(spec: &str) -> Fixture {
    let runtime = FakeRuntime::default();
    let cluster = cluster_of("east", 0, NAMESPACE);
    let dir = tempfile::tempdir().unwrap();
    let images = json!({"*": {"command": ["run"]}});
    let config = ContainerConfig {
        images: Images::read(&images, std::path::Path::new("/")).unwrap(),
        program: "/tombolo".into(),
        envoy: None,
        xds_socket: "/state/xds.sock".into(),
        mark: Some(1337),
        dns: Ipv4Addr::new(10, 100, 0, 10),
        cluster: "east".into(),
    };
    let kubelet = Arc::new(Kubelet::new(
        cluster.clone(),
        Arc::new(runtime.clone()),
        config,
        Ipv4Addr::LOCALHOST,
        dir.path().to_owned(),
        Duration::from_secs(2),
    ));
    tokio::spawn(kubelet.clone().run());
    tokio::spawn(cluster.clone().run());
    let fixture = Fixture {
        runtime,
        cluster,
        kubelet,
        _dir: dir,
    };
    fixture.apply(spec);
    fixture
}

const APP: &str = "{containers: [{name: app, image: x}]}";
const WAITING: &str = "/status/containerStatuses/0/state/waiting";
const RESTARTS: &str = "/status/containerStatuses/0/restartCount";

impl Fixture {
    fn apply(&self, spec: &str) {
        apply_to(
            &self.cluster,
            &format!(
                "{NAMESPACE}apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n"
            ),
        );
    }

    fn pod(&self) -> Option<Value> {
        let key = Key::new(Kind::Pod, "shop", "web");
        let object = self
            .cluster
            .objects
            .read(|objects| objects.object(&key).cloned());
        object.map(|object| object.body.clone())
    }

    fn field(&self, pointer: &str) -> Value {
        self.pod()
            .and_then(|pod| pod.pointer(pointer).cloned())
            .unwrap_or_default()
    }

    fn phase(&self) -> Value {
        self.field("/status/phase")
    }

    fn typed(&self) -> Option<Arc<Pod>> {
        let objects = &self.cluster.objects;
        objects.read(|objects| objects.get::<Pod>("shop", "web"))
    }

    fn ready(&self) -> bool {
        self.typed().is_some_and(|pod| pod.has_condition("Ready"))
    }

    fn delete(&self, grace_seconds: Option<i64>) {
        delete(&self.cluster, Kind::Pod, "web", grace_seconds);
    }

    /// Waits until the object is deleted; the seconds that this took.
    async fn wait_until_deleted(&self) -> u64 {
        let begun = Instant::now();
        self.until("the end", |fixture| fixture.pod().is_none())
            .await;
        begun.elapsed().as_secs()
    }

    /// Waits until the first container waits with this reason.
    async fn waiting(&self, reason: &str) -> Value {
        self.until(reason, |fixture| fixture.field(WAITING)["reason"] == reason)
            .await;
        self.field(WAITING)["message"].clone()
    }

    /// Waits for a condition, in virtual time.
    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        for _ in 0..100_000 {
            if holds(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{what} never came; the pod is {:#}",
            self.pod().unwrap_or_default()
        );
    }

    async fn running(&self) -> Arc<FakeProcess> {
        let is_alive = |fixture: &Self| !fixture.runtime.alive().is_empty();
        self.until("a running process", is_alive).await;
        self.runtime.alive()[0].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn pod_without_probes_is_ready_once_it_runs() {
    let fixture = fixture(APP);
    fixture.until("readiness", Fixture::ready).await;
    assert_eq!(fixture.phase(), "Running");
    let address = fixture.typed().unwrap().ipv4().unwrap();
    assert_eq!(fixture.runtime.sandboxes()[&address], "east/web");
    assert_eq!(fixture.running().await.argv, ["run"]);
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_in_order_before_the_others() {
    let fixture = fixture(
        "{initContainers: [{name: one, image: x, args: [one]}, {name: two, image: x, args: [two]}], containers: [{name: app, image: x, args: [app]}]}",
    );
    for name in ["one", "two"] {
        let process = fixture.running().await;
        assert_eq!(process.argv[1], name);
        assert_eq!(fixture.phase(), "Pending");
        process.end(0);
        let is_next = |fixture: &Fixture| {
            fixture
                .runtime
                .alive()
                .iter()
                .any(|next| next.argv[1] != name)
        };
        fixture.until("the next process", is_next).await;
    }
    assert_eq!(fixture.running().await.argv[1], "app");
    fixture.until("readiness", Fixture::ready).await;
}

#[tokio::test(start_paused = true)]
async fn crashing_container_restarts_at_once_and_then_backs_off() {
    let fixture = fixture(APP);
    let begun = Instant::now();
    fixture.running().await.end(1);
    let is_restarted =
        |fixture: &Fixture| fixture.field(RESTARTS) == 1 && !fixture.runtime.alive().is_empty();
    fixture.until("the first restart", is_restarted).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    fixture.running().await.end(1);
    fixture.waiting("CrashLoopBackOff").await;
    // A restart is counted when it happens.
    assert_eq!(
        (fixture.ready(), fixture.field(RESTARTS)),
        (false, json!(1))
    );
    fixture.running().await;
    assert!(begun.elapsed() >= Duration::from_secs(10));
    fixture
        .until("the count", |fixture| fixture.field(RESTARTS) == 2)
        .await;
    let code = "/status/containerStatuses/0/lastState/terminated/exitCode";
    assert_eq!(fixture.field(code), 1);
}

#[tokio::test(start_paused = true)]
async fn pod_that_must_not_restart_succeeds_or_fails() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let fixture = fixture("{restartPolicy: Never, containers: [{name: app, image: x}]}");
        fixture.running().await.end(code);
        fixture
            .until(phase, |fixture| fixture.phase() == phase)
            .await;
        assert!(fixture.runtime.alive().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn deleted_pod_drains_then_ends_and_its_address_is_the_last_to_be_used_again() {
    let fixture = fixture(APP);
    fixture.until("readiness", Fixture::ready).await;
    let address = fixture.field("/status/podIP");
    let process = fixture.running().await;
    fixture.delete(None);
    let is_serving = fixture.typed().unwrap().is_serving();
    assert!(!is_serving, "a terminating pod must be no endpoint");
    let ended = Process::wait(&*process).now_or_never();
    assert!(ended.is_none(), "it serves while proxies learn of it");
    assert!(fixture.wait_until_deleted().await >= 2);
    assert_eq!(Process::wait(&*process).await, 143);
    assert!(fixture.runtime.sandboxes().is_empty());
    fixture.apply(APP);
    fixture.until("the next pod", Fixture::ready).await;
    assert_ne!(fixture.field("/status/podIP"), address);
}

#[tokio::test(start_paused = true)]
async fn killed_process_makes_the_pod_unready_at_once() {
    let fixture = fixture(
        "{containers: [{name: app, image: x, readinessProbe: {tcpSocket: {host: 127.0.0.1, port: 1}}}, {name: other, image: x}]}",
    );
    let both = |fixture: &Fixture| fixture.runtime.alive().len() == 2;
    fixture.until("both processes", both).await;
    assert!(!fixture.ready());
    assert_eq!(fixture.field("/status/containerStatuses/1/ready"), true);
    let alive = fixture.runtime.alive().into_iter();
    let other = alive.into_iter().find(|process| process.pod == "web");
    other.unwrap().end(137);
    let begun = Instant::now();
    let is_restarted = |fixture: &Fixture| {
        let pod = fixture.kubelet.pod("shop", "web");
        both(fixture) && pod.is_some_and(|pod| pod.processes().len() == 2)
    };
    fixture.until("the restart", is_restarted).await;
    assert!(begun.elapsed() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn missing_configmap_is_named_and_the_pod_starts_when_it_appears() {
    let fixture = fixture(
        "{containers: [{name: app, image: x, envFrom: [{configMapRef: {name: settings}}]}]}",
    );
    let message = fixture.waiting("CreateContainerConfigError").await;
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("configmap \"settings\" not found")
    );
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\ndata: {a: b}\n";
    apply_to(&fixture.cluster, &[NAMESPACE, map].concat());
    fixture.until("readiness", Fixture::ready).await;
}

#[tokio::test(start_paused = true)]
async fn deletion_that_has_begun_can_be_made_quicker() {
    let fixture = fixture(
        "{terminationGracePeriodSeconds: 600, containers: [{name: app, image: x, lifecycle: {preStop: {sleep: {seconds: 500}}}}]}",
    );
    fixture.until("readiness", Fixture::ready).await;
    fixture.delete(None);
    // Virtual time: the hook is still running.
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(fixture.pod().is_some());
    fixture.delete(Some(100));
    fixture.delete(Some(200));
    let after = fixture.wait_until_deleted().await;
    assert!((70..80).contains(&after), "{after}");
}

#[tokio::test(start_paused = true)]
async fn program_whose_hook_took_all_the_time_is_still_asked_to_end() {
    let fixture = fixture(
        "{terminationGracePeriodSeconds: 5, containers: [{name: app, image: x, lifecycle: {preStop: {sleep: {seconds: 60}}}}]}",
    );
    fixture.until("readiness", Fixture::ready).await;
    let process = fixture.running().await;
    fixture.delete(None);
    fixture.wait_until_deleted().await;
    assert_eq!(Process::wait(&*process).await, 143);
}

#[tokio::test(start_paused = true)]
async fn pod_whose_worker_panics_is_removed_and_replaced() {
    let fixture = fixture(APP);
    fixture.running().await;
    fixture.delete(Some(0));
    fixture.wait_until_deleted().await;
    fixture.runtime.panic_at_starts(1);
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n  selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: web}]}}\n";
    apply_to(&fixture.cluster, &[NAMESPACE, deployment].concat());
    fixture.running().await;
    assert_eq!(fixture.cluster.objects.read(Objects::list::<Pod>).len(), 1);
    // The address of the first pod is free again, and its worker is gone.
    let workers = fixture.kubelet.running.lock().len();
    assert_eq!((fixture.runtime.sandboxes().len(), workers), (1, 1));
}
