//! Isolation: what pods can reach, and their privileges.

use crate::sample::{IMAGES, Sample};
use tombolo_tests::{Clusters, ProxyKind, Up, User, need};

/// Runs a script in the application's container of a red pod; its output.
fn script(clusters: &Clusters, container: &str, script: &str) -> String {
    let pod = "deploy/paint-red";
    let words = [
        "exec", pod, "-n", "shop", "-c", container, "--", "bash", "-c", script,
    ];
    clusters.tombolo(&words)
}

fn colors(user: User) -> Option<Clusters> {
    let up = Up::by(user, ProxyKind::Tombolo)?;
    let images = format!("{IMAGES}\n  \"*/hold\": {{ command: [\"sleep\", \"1000000\"] }}\n");
    let clusters = up.cluster("c", &Sample::plain().colors()).images(&images);
    Some(clusters.start())
}

#[test]
fn applications_reach_neither_the_api_nor_the_xds_server() {
    for user in User::all() {
        let Some(clusters) = colors(user) else {
            return;
        };
        let dns = clusters.info()["clusters"][0]["dns"]
            .as_str()
            .expect("an address");
        let places = format!("127.0.0.1 169.254.1.1 169.254.1.2 {dns}");
        // A successful connection proves nothing: the sidecar accepts it before it connects upstream.
        let probe = format!(
            "for host in {places}; do \
             curl -s --max-time 5 http://$host:8490/healthz; \
             curl -s --max-time 5 --http2-prior-knowledge -w '%{{http_code}}' http://$host:18000/ | grep -v 000; done; true"
        );
        assert_eq!(script(&clusters, "app", &probe), "");
        let sockets = "for file in /.tombolo-pod/*; do test -S $file && echo $file; done; true";
        assert_eq!(script(&clusters, "app", sockets), "");
        assert_eq!(
            script(&clusters, "envoy", sockets).trim(),
            "/.tombolo-pod/xds.sock"
        );
    }
}

#[test]
fn pods_have_no_privilege_that_they_did_not_ask_for() {
    for user in User::all() {
        let Some(clusters) = colors(user) else {
            return;
        };
        let told = script(
            &clusters,
            "app",
            "grep CapEff /proc/self/status; \
             for place in / /etc /usr /var /proc/sys/kernel; do (: > $place/tombolo-was-here) 2>/dev/null && echo $place; done; \
             find /dev -type b; echo x > /tmp/x && echo scratch",
        );
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines, ["CapEff:\t0000000000000000", "scratch"], "{told}");

        // Requested privileges are granted, and unsupported ones are reported.
        let pod = "
apiVersion: v1
kind: Pod
metadata: { name: asks, namespace: default }
spec:
  containers:
    - name: app
      image: registry.test/hold
      securityContext:
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: { add: [NET_ADMIN] }
        seccompProfile: { type: RuntimeDefault }
";
        let told = clusters.apply_with_warnings("c", pod);
        assert!(told.contains("seccompProfile: is ignored"), "{told}");
        let words = ["exec", "asks", "--", "bash", "-c"];
        let look = "grep -e CapEff -e NoNewPrivs /proc/self/status; (: > /tmp/x) 2>/dev/null || echo sealed";
        let seen = tombolo_tests::until("the pod runs", || {
            clusters.try_tombolo(&[&words[..], &[look]].concat()).ok()
        });
        let lines: Vec<&str> = seen.lines().collect();
        assert_eq!(
            lines,
            ["CapEff:\t0000000000001000", "NoNewPrivs:\t1", "sealed"],
            "{seen}"
        );
    }
}

#[test]
fn misspelt_names_do_not_exist() {
    let Some(clusters) = colors(User::Caller) else {
        return;
    };
    let Some(python) = need("TOMBOLO_PYTHON") else {
        return;
    };
    let look = "import socket,sys\ntry: socket.getaddrinfo(sys.argv[1], 80)\nexcept socket.gaierror as e: print(e.errno == socket.EAI_NONAME)";
    let told = script(
        &clusters,
        "app",
        &format!(
            "for name in paint.shopp misspelt.example paint.shop.svc.cluster.locall; do {} -c '{look}' $name; done",
            python.display()
        ),
    );
    assert_eq!(told.lines().collect::<Vec<_>>(), ["True"; 3], "{told}");
}
