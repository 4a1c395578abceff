//! The images of the product, as nodes run them.

use tombolo_tests::{
    kubernetes::{Namespace, kubernetes},
    until,
};

#[test]
fn the_program_runs_in_its_image_as_an_ordinary_user_and_without_a_shell() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.a, "image");
    namespace.apply(
        "
apiVersion: v1
kind: Pod
metadata: { name: server }
spec:
  terminationGracePeriodSeconds: 1
  # The kubelet refuses an image whose user is root or has a name alone.
  securityContext: { runAsNonRoot: true }
  containers:
  - name: server
    image: example/tombolo:any
    args: [server, --account, '111122223333', --region, us-west-2, --data-dir, /tmp/data]
    readinessProbe: { exec: { command: [tombolo, status] }, periodSeconds: 1 }
",
    );
    namespace.wait("pod/server", "Ready");
    let error = namespace.attempt(&["exec", "server", "--", "sh", "-c", "true"]);
    let error = error.expect_err("there is no shell");
    assert!(error.contains("executable file not found"), "{error}");
}

#[test]
fn a_sidecar_answers_the_probe_of_app_meshs_own_injector() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.a, "probe");
    namespace.apply(
        "
apiVersion: v1
kind: Pod
metadata: { name: app }
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: envoy
    image: example.test/appmesh/aws-appmesh-envoy:v1.34.13.3-prod
    securityContext: { runAsUser: 1337 }
    env: [{ name: APPMESH_RESOURCE_ARN, value: 'arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualNode/n' }]
",
    );
    namespace.wait("pod/app", "Ready");
    // There is no control plane, so that it is not live; the state is there to be asked for.
    let probe = "curl -s http://localhost:9901/server_info | grep state";
    let told = until("the sidecar tells its state", || {
        namespace
            .attempt(&["exec", "app", "--", "sh", "-c", probe])
            .ok()
    });
    assert!(told.contains("INITIALIZING"), "{told}");
}
