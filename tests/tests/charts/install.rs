//! Releases of the charts.

use crate::{Tools, chart};

/// A release of its own name and namespace, which nobody else notices: it injects nowhere.
struct Release<'a> {
    tools: &'a Tools,
    name: String,
}

impl<'a> Release<'a> {
    fn new(tools: &'a Tools, test: &str) -> Self {
        let name = format!("{test}-{}-appmesh-controller", std::process::id());
        tools.kubectl(&["create", "namespace", &name]);
        Self { tools, name }
    }

    #[track_caller]
    fn upgrade(&self, chart: &str, words: &[&str]) {
        let base = ["upgrade", "-i", &self.name, chart, "-n", &self.name];
        self.tools.helm(&[&base, words].concat());
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        // What is left goes with the cluster.
        let _ = self
            .tools
            .try_helm(&["uninstall", &self.name, "-n", &self.name]);
        self.tools
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// The parts of AWS's release that cannot be changed, or that Helm takes away.
const AWS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
  labels: {control-plane: {{ .Release.Name }}}
spec:
  replicas: 1
  selector: {matchLabels: {control-plane: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {control-plane: {{ .Release.Name }}, app.kubernetes.io/name: {{ .Release.Name }}}
    spec:
      volumes: [{name: cert, secret: {secretName: {{ .Release.Name }}-webhook-server-cert}}]
      containers:
        - {name: controller, image: example.com/controller:v1.13.3, command: [/controller], args: [--log-level=info],
           volumeMounts: [{name: cert, mountPath: /certs}]}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}-webhook-server-cert, namespace: {{ .Release.Namespace }}}
type: kubernetes.io/tls
data: {tls.crt: eA==, tls.key: eA==}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}-webhook-service, namespace: {{ .Release.Namespace }}}
spec:
  ports: [{port: 443, targetPort: 9443}]
  selector: {control-plane: {{ .Release.Name }}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: {{ .Release.Name }}-validating-webhook-configuration}
webhooks:
  - name: vmesh.appmesh.k8s.aws
    failurePolicy: Ignore
    sideEffects: None
    admissionReviewVersions: [v1beta1]
    clientConfig:
      caBundle: Cg==
      service: {name: {{ .Release.Name }}-webhook-service, namespace: {{ .Release.Namespace }}, path: /validate}
    rules: [{apiGroups: [appmesh.k8s.aws], apiVersions: [v1beta2], operations: [CREATE], resources: [meshes]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: {{ .Release.Name }}-role}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
"#;

#[test]
fn a_release_of_aws_is_upgraded_in_place_and_nothing_drifts() {
    let Some(tools) = Tools::find() else { return };
    let release = Release::new(&tools, "moved");
    let name = release.name.as_str();
    let about = "apiVersion: v2\nname: appmesh-controller\nversion: 1.13.3\nappVersion: v1.13.3\n";
    let aws = tools.file("aws/Chart.yaml", about);
    tools.file("aws/templates/all.yaml", AWS);
    let aws = aws.parent().expect("a folder").display().to_string();
    release.upgrade(&aws, &[]);

    let quiet = ["--set", "webhook.injectPods=false", "--skip-crds"];
    release.upgrade(&chart("appmesh-controller"), &quiet);
    let deployment = tools.get(name, &format!("deployment/{name}"));
    assert_eq!(
        deployment["spec"]["selector"]["matchLabels"],
        serde_json::json!({"control-plane": name})
    );
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["args"][0],
        "controller"
    );
    let server = tools.get(name, &format!("deployment/{name}-server"));
    assert_eq!(server["spec"]["strategy"]["type"], "Recreate");
    let service = tools.get(name, &format!("service/{name}-webhook-service"));
    assert_eq!(
        service["spec"]["selector"]["control-plane"],
        format!("{name}-webhook")
    );
    let role = tools.get(name, &format!("clusterrole/{name}-role"));
    assert!(!role.to_string().contains("secrets"), "{role}");

    // What Argo CD compares: what was rendered, and what there is.
    let manifest = tools.helm(&["get", "manifest", name, "-n", name]);
    let manifest = tools.file("manifest.yaml", &manifest).display().to_string();
    tools.kubectl(&[
        "diff",
        "--server-side",
        "--force-conflicts",
        "-f",
        &manifest,
    ]);
}

#[test]
fn replicas_over_one_volume_are_refused_with_advice() {
    let Some(tools) = Tools::find() else { return };
    let chart = chart("appmesh-controller");
    let template = [
        "template",
        "appmesh-controller",
        &chart,
        "--kube-version",
        "1.34",
    ];
    let two = ["--set", "server.replicas=2"];
    let error = tools.try_helm(&[&template[..], &two].concat());
    let error = error.expect_err("two processes cannot open one file");
    assert!(
        error.contains("set server.storage.type to etcd, or server.url"),
        "{error}"
    );
    let etcd = [
        "--set",
        "server.storage.type=etcd,server.storage.etcd=etcd://etcd:2379",
    ];
    tools.helm(&[&template[..], &two, &etcd].concat());
    tools.helm(&[&template[..], &["--set", "replicaCount=2"]].concat());
}

#[test]
fn definitions_are_applied_by_folder_and_refuse_the_version_before_with_advice() {
    let Some(tools) = Tools::of("a") else {
        return;
    };
    tools.apply_definitions();
    let old = "{apiVersion: appmesh.k8s.aws/v1beta1, kind: Mesh, metadata: {name: old}, spec: {}}";
    let old = tools.file("old.yaml", old).display().to_string();
    let refused = tools.try_kubectl(&["create", "--dry-run=server", "-f", &old]);
    let refused = refused.expect_err("no object of it is accepted");
    assert!(
        refused.contains("`tombolo convert` rewrites the manifest"),
        "{refused}"
    );
}
