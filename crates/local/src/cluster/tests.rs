//! The controllers on objects alone: for any sequence of changes, the pods become those that the objects ask for.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use proptest::prelude::*;

use tombolo_kube::{ObjectExt, PodExt};

use super::testkit::{NAMESPACE, apply_to, cluster_of, delete, pod_is_ready};
use super::*;

fn deployment(name: &str, replicas: u32, version: u32) -> String {
    format!(
        "{NAMESPACE}apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: web, image: \"web:{version}\"}}]}}
"
    )
}

fn pods(cluster: &Cluster) -> Vec<Arc<Pod>> {
    cluster.objects.read(Objects::list::<Pod>)
}

/// Pods whose deletion has not begun.
fn active(cluster: &Cluster) -> Vec<Arc<Pod>> {
    let mut pods = pods(cluster);
    pods.retain(|pod| pod.is_active());
    pods
}

/// Advances every pod by one step: new ones become ready, terminating ones are removed.
fn advance_pods(cluster: &Cluster, limit: usize) {
    for (index, pod) in pods(cluster).into_iter().take(limit).enumerate() {
        if pod.is_terminating() {
            remove(cluster, &pod);
        } else {
            pod_is_ready(cluster, pod.name(), &format!("10.0.0.{}", 20 + index % 200));
        }
    }
    cluster.reconcile(Timestamp::UNIX_EPOCH);
}

fn remove(cluster: &Cluster, pod: &Pod) {
    let key = Key::new(Kind::Pod, "shop", pod.name());
    cluster.objects.write(|objects| objects.remove(&key));
}

fn images(cluster: &Cluster) -> Vec<String> {
    let pods = pods(cluster);
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    specs
        .map(|spec| spec.containers[0].image.clone().unwrap())
        .collect()
}

#[test]
fn deployment_makes_pods_named_after_its_revision() {
    let cluster = cluster_of("east", 0, &deployment("web", 2, 1));
    let pods = pods(&cluster);
    assert_eq!(pods.len(), 2);
    let set = cluster.objects.read(Objects::list::<ReplicaSet>)[0].clone();
    assert!(set.name().starts_with("web-"));
    for pod in &pods {
        let prefix = format!("{}-", set.name());
        assert!(pod.name().starts_with(&prefix), "{}", pod.name());
        assert_eq!(pod.controller_uid(), Some(set.uid()));
        assert_eq!(
            pod.labels()["pod-template-hash"],
            set.name()["web-".len()..]
        );
    }
}

#[test]
fn changed_template_replaces_pods_one_by_one_and_keeps_serving() {
    let cluster = cluster_of("east", 0, &deployment("web", 3, 1));
    advance_pods(&cluster, usize::MAX);
    apply_to(&cluster, &deployment("web", 3, 2));
    for _ in 0..40 {
        let serving = pods(&cluster).iter().filter(|pod| pod.is_serving()).count();
        assert!(serving >= 3, "only {serving} serve");
        assert!(active(&cluster).len() <= 4);
        advance_pods(&cluster, usize::MAX);
    }
    assert_eq!(images(&cluster), ["web:2"; 3]);
    let status = cluster.objects.read(Objects::list::<Deployment>)[0]
        .status
        .clone()
        .unwrap();
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.ready_replicas
        ),
        (Some(3), Some(3), Some(3))
    );
}

#[test]
fn rolling_back_reuses_the_old_revision() {
    let cluster = cluster_of("east", 0, &deployment("web", 1, 1));
    for version in [2, 1] {
        advance_pods(&cluster, usize::MAX);
        apply_to(&cluster, &deployment("web", 1, version));
        (0..6).for_each(|_| advance_pods(&cluster, usize::MAX));
        assert_eq!(images(&cluster), [format!("web:{version}")]);
    }
    assert_eq!(cluster.objects.read(Objects::list::<ReplicaSet>).len(), 2);
}

#[test]
fn scaling_down_removes_pods_that_are_not_ready_first() {
    let cluster = cluster_of("east", 0, &deployment("web", 3, 1));
    let good = pods(&cluster)[1].name().to_owned();
    pod_is_ready(&cluster, &good, "10.0.0.30");
    apply_to(&cluster, &deployment("web", 1, 1));
    let staying = active(&cluster);
    assert_eq!((staying.len(), staying[0].name()), (1, &*good));
}

#[test]
fn denied_pods_show_in_the_deployment_and_are_tried_again() {
    let mut cluster = Arc::into_inner(cluster_of("east", 0, NAMESPACE)).unwrap();
    cluster.inject = Box::new(|_, _| Err(Violation::new("", "no virtual node selects it")));
    apply_to(&cluster, &deployment("web", 1, 1));
    let message = |cluster: &Cluster| {
        let deployments = cluster.objects.read(Objects::list::<Deployment>);
        deployment::failure(&deployments[0]).map(str::to_owned)
    };
    let expected = Some("no virtual node selects it");
    assert_eq!(message(&cluster).as_deref(), expected);
    cluster.inject = Box::new(|_, pod| Ok(pod));
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    assert_eq!((message(&cluster), pods(&cluster).len()), (None, 1));
}

#[test]
fn deleting_a_deployment_ends_its_pods_and_deleting_a_namespace_all_in_it() {
    let cluster = cluster_of("east", 0, &deployment("web", 2, 1));
    delete(&cluster, Kind::Deployment, "web", None);
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    assert!(pods(&cluster).iter().all(|pod| pod.is_terminating()));
    apply_to(&cluster, &deployment("other", 1, 1));
    delete(&cluster, Kind::Namespace, "shop", None);
    (0..4).for_each(|_| advance_pods(&cluster, usize::MAX));
    assert_eq!(cluster.objects.read(|objects| objects.all().count()), 0);
}

#[test]
fn services_get_addresses_that_stay() {
    let text = &format!(
        "{NAMESPACE}apiVersion: v1\nkind: Service\nmetadata: {{name: front, namespace: shop}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: quiet, namespace: shop}}\nspec: {{clusterIP: None, ports: [{{port: 80}}]}}\n"
    );
    let cluster = cluster_of("east", 0, text);
    let spec = |name: &str| {
        let service = cluster
            .objects
            .read(|objects| objects.get::<Service>("shop", name));
        service.unwrap().spec.clone().unwrap()
    };
    let front = spec("front");
    let address = front.cluster_ip.clone().unwrap().parse().unwrap();
    assert!(cluster.services.contains(address));
    assert!((30_000..=32_767).contains(&front.ports.clone().unwrap()[0].node_port.unwrap()));
    assert_eq!(spec("quiet").cluster_ip.as_deref(), Some("None"));
    apply_to(&cluster, text);
    assert_eq!(spec("front"), front);
}

#[derive(Debug, Clone)]
enum Step {
    Scale(u32),
    Version(u32),
    Kill(usize),
    Live(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u32..7).prop_map(Step::Scale),
        (1_u32..4).prop_map(Step::Version),
        (0_usize..8).prop_map(Step::Kill),
        (0_usize..8).prop_map(Step::Live),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_scaling_killing_and_applying_converges(steps in prop::collection::vec(step(), 0..25)) {
        let (mut replicas, mut version) = (1, 1);
        let cluster = cluster_of("east", 0, &deployment("web", replicas, version));
        for step in steps {
            match step {
                Step::Scale(count) => replicas = count,
                Step::Version(number) => version = number,
                Step::Kill(index) => {
                    if let Some(pod) = pods(&cluster).get(index) {
                        remove(&cluster, pod);
                    }
                }
                Step::Live(count) => advance_pods(&cluster, count),
            }
            apply_to(&cluster, &deployment("web", replicas, version));
        }
        (0..60).for_each(|_| advance_pods(&cluster, usize::MAX));
        let wanted = usize::try_from(replicas).unwrap();
        prop_assert_eq!(images(&cluster), vec![format!("web:{version}"); wanted]);
        let revision = cluster.objects.read(Objects::revision);
        cluster.reconcile(Timestamp::UNIX_EPOCH);
        prop_assert_eq!(cluster.objects.read(Objects::revision), revision, "a settled cluster must stay as it is");
    }
}
