//! etcd that wants to know who we are.

use crate::{
    create_mesh,
    etcd::{Etcd, ask, until},
    scope,
};
use serde_json::json;
use std::{path::Path, process::Command};
use tombolo_store::{
    OpenError, Store,
    etcd::{Options, Tls},
};

#[tokio::test]
async fn a_user_and_a_password() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let mut options: Options = format!("etcd://{}", etcd.at).parse().expect("legal");
    // Serves by now.
    drop(Store::connect(options.clone()).await.expect("open to all"));
    for (path, body) in [
        ("user/add", json!({"name": "root", "password": "secret"})),
        ("role/add", json!({"name": "root"})),
        ("user/grant", json!({"user": "root", "role": "root"})),
        ("enable", json!({})),
    ] {
        ask(etcd.at, &format!("/v3/auth/{path}"), &body);
    }
    let refused = Store::connect(options.clone()).await.err();
    assert!(
        matches!(&refused, Some(OpenError::Cluster { reason, .. }) if reason.contains("user name")),
        "{refused:?}"
    );
    options.user = Some(("root".into(), "wrong".into()));
    let refused = Store::connect(options.clone()).await.err();
    assert!(
        matches!(&refused, Some(OpenError::Cluster { reason, .. }) if reason.contains("password")),
        "{refused:?}"
    );
    options.user = Some(("root".into(), "secret".into()));
    let store = Store::connect(options).await.expect("known");
    store.commit(scope(), create_mesh("a")).await.expect("new");
}

#[tokio::test]
async fn certificates_on_both_sides() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = make_certificates(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let Some(etcd) = Etcd::start_with(
        "https",
        &[
            &format!("--cert-file={}", path("own.pem")),
            &format!("--key-file={}", path("own.key")),
            &format!("--trusted-ca-file={}", path("ca.pem")),
            "--client-cert-auth",
        ],
    ) else {
        return;
    };
    assert!(made, "openssl makes certificates");
    let read = |name: &str| std::fs::read(directory.path().join(name)).expect("a file");
    until("etcd listens", || {
        std::net::TcpStream::connect(etcd.at).ok()
    })
    .await;
    let mut options: Options = format!("etcd://{}", etcd.at).parse().expect("legal");
    options.tls = Some(Tls {
        ca: read("ca.pem"),
        identity: None,
    });
    assert!(Store::connect(options.clone()).await.is_err());
    options.tls = Some(Tls {
        ca: read("ca.pem"),
        identity: Some((read("own.pem"), read("own.key"))),
    });
    let store = Store::connect(options.clone())
        .await
        .unwrap_or_else(|error| panic!("{error}: {}", etcd.log()));
    store.commit(scope(), create_mesh("a")).await.expect("new");
    options.tls = Some(Tls {
        // Of somebody else.
        ca: read("other.pem"),
        identity: Some((read("own.pem"), read("own.key"))),
    });
    let refused = Store::connect(options).await.err();
    assert!(
        matches!(&refused, Some(OpenError::Cluster { reason, .. }) if reason.contains("certificate")),
        "{refused:?}"
    );
}

/// A certificate authority, another one, and a certificate of the first for loopback.
fn make_certificates(directory: &Path) -> bool {
    let script = "
        set -e
        for ca in ca other; do
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                -subj /CN=$ca -keyout $ca.key -out $ca.pem \
                -addext basicConstraints=critical,CA:TRUE
        done
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=own \
            -keyout own.key -out own.csr
        echo subjectAltName=IP:127.0.0.1 > own.ext
        openssl x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
            -extfile own.ext -out own.pem
    ";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .output();
    made.is_ok_and(|output| output.status.success())
}
