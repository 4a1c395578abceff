//! The public walkthroughs, unchanged, and with other names.

use crate::sample::{IMAGES, Sample, balancer};
use std::collections::BTreeMap;
use tombolo_tests::{Up, corpus, runs};

/// Checks that 200 requests are split evenly, within more than four standard deviations.
#[track_caller]
fn assert_even(tally: &BTreeMap<String, usize>) {
    for color in ["red", "blue"] {
        let count = tally.get(color).copied().unwrap_or(0);
        assert!((70..=130).contains(&count), "{color}: {tally:?}");
    }
    assert_eq!(tally.len(), 2, "{tally:?}");
}

#[test]
fn cross_cluster_walkthrough_runs_unchanged() {
    for (proxy, user) in runs() {
        let Some(walkthrough) = corpus::walkthrough("howto-k8s-cross-cluster") else {
            return;
        };
        let manifests = walkthrough.manifests();
        let Some(up) = Up::by(user, proxy) else {
            return;
        };
        // The script that comes with it applies the colors first.
        let clusters = up
            .cluster_file("cluster2", &manifests[0])
            .cluster_file("cluster1", &manifests[1])
            .images(IMAGES)
            .start();
        assert_even(&clusters.tally("front", "/color", 200));

        let table = clusters.tombolo(&["get", "pods", "-n", "howto-k8s-cross-cluster"]);
        assert_eq!(table.matches("2/2").count(), 3, "{table}");
        // The walkthrough's script takes the ARN as the second word of the second line.
        let table = clusters.tombolo(&["get", "virtualservice"]);
        let arn = table
            .lines()
            .nth(1)
            .and_then(|line| line.split_whitespace().nth(1));
        let arn = arn.unwrap_or_default();
        assert!(arn.starts_with("arn:aws:appmesh:"), "{table}");

        let Some(aws) = clusters.aws().with_cli() else {
            return;
        };
        let found = aws.run(&[
            "servicediscovery",
            "discover-instances",
            "--namespace-name",
            "howto-k8s-cross-cluster.pvt.aws.local",
            "--service-name",
            "colorapp",
            "--query-parameters",
            "version=blue",
        ]);
        let instances = found["Instances"].as_array().expect("a list");
        assert_eq!(instances.len(), 1, "{found}");
        let attributes = instances[0]["Attributes"].as_object().expect("an object");
        for key in [
            "AWS_INSTANCE_IPV4",
            "app",
            "appmesh.k8s.aws/mesh",
            "appmesh.k8s.aws/virtualNode",
            "k8s.io/namespace",
            "k8s.io/pod",
            "pod-template-hash",
            "version",
        ] {
            assert!(attributes.contains_key(key), "{key}: {found}");
        }
        assert_eq!(attributes["version"], "blue");
    }
}

#[test]
fn cloudmap_walkthrough_runs_unchanged() {
    for (proxy, user) in runs() {
        let Some(walkthrough) = corpus::walkthrough("howto-k8s-cloudmap") else {
            return;
        };
        let Some(up) = Up::by(user, proxy) else {
            return;
        };
        let clusters = up
            .cluster_file("only", &walkthrough.manifests()[0])
            .images(IMAGES)
            .start();
        // It has no load balancer; one is added while it runs.
        let way_in = balancer("howto-k8s-cloudmap", "front", 8080);
        clusters.apply("only", &way_in);
        assert_even(&clusters.tally("front-entrance", "/color", 200));
    }
}

#[test]
fn other_names_ports_colors_weights_and_numbers_work_the_same() {
    for (proxy, user) in runs() {
        let sample = Sample {
            namespace: "atelier-7",
            service: "pigments",
            port: 9443,
            front_port: 3000,
            colors: vec![("ochre", 3, 2), ("umber", 1, 1), ("never", 0, 1)],
        };
        let Some(up) = Up::by(user, proxy) else {
            return;
        };
        let clusters = up
            .cluster("west", &sample.front())
            .cluster("east", &sample.colors())
            .images(IMAGES)
            .start();
        let tally = clusters.tally("front-entrance", "/color", 400);
        let ochre = tally.get("ochre").copied().unwrap_or(0);
        assert!((250..=350).contains(&ochre), "{tally:?}");
        assert_eq!(
            tally.keys().collect::<Vec<_>>(),
            ["ochre", "umber"],
            "{tally:?}"
        );
    }
}
