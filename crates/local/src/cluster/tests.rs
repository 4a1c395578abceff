//! Reconcilers over objects alone: what users ask for becomes pods, whatever happens on the way.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use proptest::prelude::*;

use super::testkit::{apply_to, cluster_of, pod_is_ready};
use super::workload::owner;
use super::*;

fn deployment(name: &str, replicas: u32, version: u32) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: shop}}
---
apiVersion: apps/v1
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

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap()
}

/// Takes every pod one step on: new ones become ready, terminating ones go.
fn live(cluster: &Cluster, limit: usize) {
    for (index, pod) in pods(cluster).into_iter().take(limit).enumerate() {
        if pod.metadata.deletion_timestamp.is_some() {
            cluster
                .objects
                .write(|objects| objects.remove(&Key::new(Kind::Pod, "shop", &name(&pod))));
        } else {
            pod_is_ready(
                cluster,
                "shop",
                &name(&pod),
                &format!("10.0.0.{}", 20 + index % 200),
            );
        }
    }
    cluster.reconcile(Timestamp::UNIX_EPOCH);
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
    let set_name = set.metadata.name.clone().unwrap();
    assert!(set_name.starts_with("web-"));
    for pod in &pods {
        assert!(
            name(pod).starts_with(&format!("{set_name}-")),
            "{}",
            name(pod)
        );
        assert_eq!(owner(&pod.metadata), set.metadata.uid.as_deref());
        assert_eq!(
            pod.metadata.labels.as_ref().unwrap()["pod-template-hash"],
            set_name["web-".len()..]
        );
    }
}

#[test]
fn changed_template_replaces_pods_one_by_one_and_keeps_serving() {
    let cluster = cluster_of("east", 0, &deployment("web", 3, 1));
    live(&cluster, usize::MAX);
    apply_to(&cluster, &deployment("web", 3, 2));
    for _ in 0..40 {
        let serving = pods(&cluster)
            .iter()
            .filter(|pod| endpoint::serves(pod))
            .count();
        assert!(serving >= 3, "only {serving} serve");
        assert!(
            pods(&cluster)
                .iter()
                .filter(|pod| pods::active(pod))
                .count()
                <= 4
        );
        live(&cluster, usize::MAX);
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
        live(&cluster, usize::MAX);
        apply_to(&cluster, &deployment("web", 1, version));
        (0..6).for_each(|_| live(&cluster, usize::MAX));
        assert_eq!(images(&cluster), [format!("web:{version}")]);
    }
    assert_eq!(cluster.objects.read(Objects::list::<ReplicaSet>).len(), 2);
}

#[test]
fn scaling_down_removes_pods_that_are_not_ready_first() {
    let cluster = cluster_of("east", 0, &deployment("web", 3, 1));
    let good = name(&pods(&cluster)[1]);
    pod_is_ready(&cluster, "shop", &good, "10.0.0.30");
    apply_to(&cluster, &deployment("web", 1, 1));
    let staying: Vec<_> = pods(&cluster)
        .into_iter()
        .filter(|pod| pods::active(pod))
        .map(|pod| name(&pod))
        .collect();
    assert_eq!(staying, [good]);
}

#[test]
fn denied_pods_show_in_the_deployment_and_are_tried_again() {
    let mut cluster = Arc::into_inner(cluster_of(
        "east",
        0,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    ))
    .unwrap();
    cluster.inject = Box::new(|_, _| Err("no virtual node selects it".to_owned()));
    apply_to(&cluster, &deployment("web", 1, 1));
    let message = |cluster: &Cluster| {
        let status = cluster.objects.read(Objects::list::<Deployment>)[0]
            .status
            .clone()
            .unwrap();
        let conditions = status.conditions.unwrap().into_iter();
        conditions
            .filter(|condition| condition.type_ == "ReplicaFailure")
            .find_map(|condition| condition.message)
    };
    assert_eq!(
        message(&cluster).as_deref(),
        Some("no virtual node selects it")
    );
    cluster.inject = Box::new(|_, pod| Ok(pod));
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    assert_eq!((message(&cluster), pods(&cluster).len()), (None, 1));
}

#[test]
fn deleting_a_deployment_ends_its_pods_and_deleting_a_namespace_all_in_it() {
    let cluster = cluster_of("east", 0, &deployment("web", 2, 1));
    cluster.objects.write(|objects| {
        collect::delete(
            objects,
            &Key::new(Kind::Deployment, "shop", "web"),
            None,
            Timestamp::UNIX_EPOCH,
        )
    });
    cluster.reconcile(Timestamp::UNIX_EPOCH);
    assert!(
        pods(&cluster)
            .iter()
            .all(|pod| pod.metadata.deletion_timestamp.is_some())
    );
    apply_to(&cluster, &deployment("other", 1, 1));
    let namespace = Key::new(Kind::Namespace, "", "shop");
    cluster
        .objects
        .write(|objects| collect::delete(objects, &namespace, None, Timestamp::UNIX_EPOCH));
    (0..4).for_each(|_| live(&cluster, usize::MAX));
    assert_eq!(cluster.objects.read(|objects| objects.all().count()), 0);
}

#[test]
fn services_get_addresses_that_stay() {
    let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: shop}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: quiet, namespace: shop}\nspec: {clusterIP: None, ports: [{port: 80}]}\n";
    let cluster = cluster_of("east", 0, text);
    let spec = |name: &str| {
        cluster
            .objects
            .read(|objects| objects.get::<Service>("shop", name))
            .unwrap()
            .spec
            .clone()
            .unwrap()
    };
    let front = spec("front");
    assert!(
        "10.100.0.0/16"
            .parse::<Ipv4Range>()
            .unwrap()
            .contains(front.cluster_ip.clone().unwrap().parse().unwrap())
    );
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
                        cluster.objects.write(|objects| objects.remove(&Key::new(Kind::Pod, "shop", &name(pod))));
                    }
                }
                Step::Live(count) => live(&cluster, count),
            }
            apply_to(&cluster, &deployment("web", replicas, version));
        }
        (0..60).for_each(|_| live(&cluster, usize::MAX));
        let wanted = usize::try_from(replicas).unwrap();
        prop_assert_eq!(images(&cluster), vec![format!("web:{version}"); wanted]);
        let revision = cluster.objects.read(Objects::revision);
        cluster.reconcile(Timestamp::UNIX_EPOCH);
        prop_assert_eq!(cluster.objects.read(Objects::revision), revision, "a settled cluster must stay as it is");
    }
}
