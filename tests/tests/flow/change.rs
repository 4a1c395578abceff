//! Changes under load: pods that start, stop and die, weights, a control plane that is killed.

use crate::{
    load::Load,
    sample::{IMAGES, Sample},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tombolo_tests::{Clusters, ProxyKind, Up, User, runs, until};

fn start(user: User, proxy: ProxyKind, sample: &Sample) -> Option<Clusters> {
    let clusters = Up::by(user, proxy)?
        .cluster("cluster1", &sample.front())
        .cluster("cluster2", &sample.colors())
        .images(IMAGES)
        .start();
    Some(clusters)
}

/// The pods whose names start with the prefix.
fn pods(status: &Value, prefix: &str) -> Vec<Value> {
    let pods = status["pods"].as_array().expect("a list");
    let named = pods.iter().filter(|pod| {
        pod["name"]
            .as_str()
            .is_some_and(|name| name.starts_with(prefix))
    });
    named.cloned().collect()
}

fn kill(process: &Value) {
    let pid = i32::try_from(process.as_i64().expect("a process id")).expect("a small number");
    kill_process(Pid::from_raw(pid).expect("not zero"), Signal::KILL).expect("it runs");
}

#[test]
fn scaling_up_and_down_fails_no_request() {
    for (proxy, user) in runs() {
        let Some(clusters) = start(user, proxy, &Sample::plain()) else {
            return;
        };
        let load = Load::on(clusters.balancer("front-entrance"));
        for replicas in [3, 1] {
            let number = replicas.to_string();
            clusters.tombolo(&["scale", "deployment/paint-red", "--replicas", &number]);
            until("the deployment has its pods", || {
                let status = clusters.status();
                let red = pods(&status, "paint-red");
                let done = red.len() == replicas && red.iter().all(|pod| pod["ready"] == 2);
                (done && status["controlPlane"]["synced"] == true).then_some(())
            });
            load.more(200);
        }
        load.stop_without_failure(&clusters);
    }
}

#[test]
fn a_killed_pod_fails_only_what_was_inside_it_and_gets_nothing_more() {
    for (proxy, user) in runs() {
        let sample = Sample {
            colors: vec![("red", 1, 2), ("blue", 1, 1)],
            ..Sample::plain()
        };
        let Some(clusters) = start(user, proxy, &sample) else {
            return;
        };
        let load = Load::on(clusters.balancer("front-entrance"));
        let victim = pods(&clusters.status(), "paint-red").remove(0);
        for process in victim["processes"].as_array().expect("a list") {
            kill(&process["pid"]);
        }
        load.more(400);
        let answers = load.stop();
        let failed: usize = answers
            .iter()
            .filter(|(word, _)| word.starts_with("FAILED"))
            .map(|(_, count)| count)
            .sum();
        // With four callers, at most four requests were in flight in the pod.
        assert!(failed <= 4, "{answers:?}");
        clusters.tombolo(&["delete", "pod", victim["name"].as_str().expect("a name")]);
    }
}

#[test]
fn a_killed_control_plane_fails_no_request_and_comes_back() {
    for (proxy, user) in runs() {
        let Some(clusters) = start(user, proxy, &Sample::plain()) else {
            return;
        };
        let load = Load::on(clusters.balancer("front-entrance"));
        let revision = clusters.status()["controlPlane"]["revision"].as_u64();
        let first = clusters.status()["info"]["server_pid"].clone();
        kill(&first);
        until("another control plane has taken over", || {
            let status = clusters.status();
            let pid = &status["info"]["server_pid"];
            let another = pid.is_u64() && *pid != first;
            // Acknowledged writes survive, and the proxies have reconnected.
            let same = status["controlPlane"]["revision"].as_u64() >= revision;
            let proxies = status["controlPlane"]["proxies"]
                .as_array()
                .map_or(0, Vec::len);
            (another && same && proxies == 3).then_some(())
        });
        load.more(200);
        load.stop_without_failure(&clusters);
    }
}

#[test]
fn weights_changed_by_the_aws_cli_are_followed() {
    for (proxy, user) in runs() {
        let Some(clusters) = start(user, proxy, &Sample::plain()) else {
            return;
        };
        let Some(aws) = clusters.aws().with_cli() else {
            return;
        };
        let spec = r#"{"httpRoute": {"match": {"prefix": "/"}, "action": {"weightedTargets": [
            {"virtualNode": "paint-red_shop", "weight": 90},
            {"virtualNode": "paint-blue_shop", "weight": 10}]}}}"#;
        aws.run(&[
            "appmesh",
            "update-route",
            "--mesh-name",
            "shop",
            "--virtual-router-name",
            "paint_shop",
            "--route-name",
            "all",
            "--spec",
            spec,
        ]);
        until("the proxies have it", || {
            (clusters.status()["controlPlane"]["synced"] == true).then_some(())
        });
        let tally = clusters.tally("front-entrance", "/color", 300);
        let red = tally.get("red").copied().unwrap_or(0);
        assert!((240..=295).contains(&red), "{tally:?}");
    }
}
