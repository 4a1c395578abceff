//! Nodes, and what kubectl does with pods.

use tombolo_tests::kubernetes::{Namespace, kubernetes};

#[test]
fn both_clusters_are_ready() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    for cluster in [&kubernetes.a, &kubernetes.b] {
        let namespace = Namespace::create(&kubernetes, cluster, "ready");
        let nodes = namespace.run(&["wait", "--for=condition=Ready", "nodes", "--all"]);
        assert_eq!(nodes.lines().count(), 1, "{nodes}");
        let version = namespace.run(&["version", "--output", "json"]);
        let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
        for side in ["clientVersion", "serverVersion"] {
            assert_eq!(version[side]["minor"], "34", "{version}");
        }
    }
}

#[test]
fn programs_run_in_pods_and_their_exit_codes_and_logs_are_told() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.a, "exec");
    let pod = namespace.pod("app", "curl", &["sh", "-c", "echo started; sleep 3600"]);
    assert_eq!(pod.exec(&["echo", "two words"]), Ok("two words\n".into()));
    let error = pod.exec(&["sh", "-c", "exit 7"]).expect_err("it fails");
    assert!(error.contains("exit status: 7"), "{error}");
    assert_eq!(pod.logs(), "started\n");
}

#[test]
fn an_image_that_nobody_knows_is_refused_with_where_to_look() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.a, "unknown-image");
    namespace.run(&["run", "app", "--image=example/unknown:1"]);
    let message = tombolo_tests::until("the image is refused", || {
        let pod = namespace.get("pod/app");
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let is_refused = waiting["reason"] == "ErrImagePull";
        is_refused.then(|| waiting["message"].as_str().unwrap_or_default().to_owned())
    });
    assert!(message.contains("example/unknown:1"), "{message}");
}

#[test]
fn helm_installs_and_removes_a_chart() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.b, "helm");
    let chart = tempfile::tempdir().expect("there is room");
    let file = |name: &str, text: &str| {
        let path = chart.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("there is room");
        std::fs::write(path, text).expect("there is room");
    };
    file(
        "Chart.yaml",
        "{ apiVersion: v2, name: example, version: 1.0.0 }",
    );
    file(
        "templates/map.yaml",
        "{ apiVersion: v1, kind: ConfigMap, metadata: { name: example }, data: { color: '{{ .Values.color }}' } }",
    );
    let helm = |words: &[&str]| {
        let mut command = std::process::Command::new(kubernetes.helm());
        command.args(words).args(["--namespace", namespace.name()]);
        command.env("KUBECONFIG", kubernetes.b.kubeconfig());
        command.env("HOME", chart.path());
        let output = command.output().expect("helm starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {told}");
    };
    let path = chart.path().display().to_string();
    helm(&["install", "example", &path, "--set", "color=blue"]);
    assert_eq!(namespace.get("configmap/example")["data"]["color"], "blue");
    helm(&["uninstall", "example"]);
    let error = namespace.attempt(&["get", "configmap/example"]);
    assert!(error.is_err_and(|why| why.contains("NotFound")));
}
