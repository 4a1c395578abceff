//! The network between clusters.

use super::{SERVER, xtask};
use tombolo_tests::{
    kubernetes::{Namespace, Pod, kubernetes},
    until,
};

/// The status code that a request gets, or why there is none.
fn status(client: &Pod<'_>, url: &str) -> Result<String, String> {
    let options = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--max-time",
        "2",
        url,
    ];
    client.exec(&options)
}

#[test]
fn a_pod_reaches_a_pod_of_the_other_cluster_by_its_own_address() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let a = Namespace::create(&kubernetes, &kubernetes.a, "reach");
    let b = Namespace::create(&kubernetes, &kubernetes.b, "reach");
    let server = b.pod("server", "curl", &SERVER);
    let client = a.pod("client", "curl", &["sleep", "3600"]);
    let url = format!("http://{}:8080/", server.address);
    assert_eq!(status(&client, &url), Ok("404".into()));
    let seen = until("the server prints who asked", || {
        let logs = server.logs();
        logs.contains("response:404").then_some(logs)
    });
    assert!(
        seen.contains(&client.address.to_string()),
        "{}: {seen}",
        client.address
    );
}

#[test]
fn a_port_that_is_denied_is_closed_between_clusters_until_it_is_allowed() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let a = Namespace::create(&kubernetes, &kubernetes.a, "deny");
    let b = Namespace::create(&kubernetes, &kubernetes.b, "deny");
    let server = b.pod("server", "curl", &["httpd", "-f", "-p", "8099"]);
    let client = a.pod("client", "curl", &["sleep", "3600"]);
    let neighbour = b.pod("neighbour", "curl", &["sleep", "3600"]);
    let url = format!("http://{}:8099/", server.address);
    let answered = Ok("404".to_owned());
    assert_eq!(status(&client, &url), answered);
    xtask(&kubernetes, &["deny", "8099"]);
    let error = status(&client, &url).expect_err("packets are dropped");
    // curl(1): 28 is a timeout.
    assert!(error.contains("exit status: 28"), "{error}");
    assert_eq!(
        status(&neighbour, &url),
        answered,
        "in its own cluster it is open"
    );
    xtask(&kubernetes, &["allow", "8099"]);
    assert_eq!(status(&client, &url), answered);
}

#[test]
fn addresses_beyond_the_clusters_are_unreachable() {
    let Some(kubernetes) = kubernetes() else {
        return;
    };
    let namespace = Namespace::create(&kubernetes, &kubernetes.a, "beyond");
    let pod = namespace.pod("client", "curl", &["sleep", "3600"]);
    // Of the clusters' range, but nobody's; and of documentation (RFC 5737).
    for address in ["10.205.0.1", "198.51.100.1"] {
        let error = status(&pod, &format!("http://{address}/")).expect_err("nobody is there");
        // curl(1): 7 is a connection that is refused at once, 28 a timeout.
        assert!(error.contains("exit status: 7"), "{address}: {error}");
    }
}
