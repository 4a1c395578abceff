//! The findings of `tombolo doctor` in a running mesh.

use tombolo_tests::{ProxyKind, Up, manifests::shop, until};

const DEPLOYMENT: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: apps}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec:
      containers:
      - name: app
        image: app
        ports: [{containerPort: 8080}]
        env: [{name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
";

/// Listens on the pod's address only.
const APPLICATION: &str = "import http.server, os
http.server.HTTPServer((os.environ['ADDRESS'], 8080), http.server.SimpleHTTPRequestHandler).serve_forever()";

#[test]
fn an_application_that_its_sidecar_cannot_reach_is_named_with_its_address() {
    let Some(up) = Up::new(ProxyKind::Tombolo) else {
        return;
    };
    let Some(python) = tombolo_need::program("python3", "TOMBOLO_PYTHON") else {
        return;
    };
    let command = serde_json::json!([python, "-c", APPLICATION]);
    let images = format!("images: {{app: {{command: {command}}}}}");
    let clusters = up.cluster("one", &(shop(&["front"]) + DEPLOYMENT));
    let clusters = clusters.images(&images).start();
    until("the address is named", || {
        let problems = clusters.status()["problems"].take();
        let problems = problems.as_array().into_iter().flatten();
        let messages: Vec<String> = problems
            .filter_map(|problem| problem["message"].as_str().map(str::to_owned))
            .collect();
        let of_pod = messages
            .iter()
            .find(|it| it.contains("an application in pod front-"))?;
        assert!(of_pod.contains(":8080 alone"), "{of_pod}");
        Some(())
    });
}
