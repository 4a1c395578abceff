//! HTTPS from files, also under the host that SDKs use for DiscoverInstances.

use crate::authenticated::{ADMIN, AuthenticatedServer, HERE, output, python};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tombolo_tests::{http::get, until};

/// Creates certificates for `*.mesh.test` by an authority of this name: `ca.pem`, `cert.pem` and `key.pem`. False
/// without openssl.
fn certificates(directory: &Path, authority: &str) -> bool {
    let openssl = |words: &str| {
        let mut command = Command::new("openssl");
        output(
            command
                .current_dir(directory)
                .args(words.split_whitespace()),
        )
    };
    if tombolo_need::program("openssl", "TOMBOLO_OPENSSL").is_none() {
        return false;
    }
    fs::write(
        directory.join("names"),
        "subjectAltName=DNS:*.mesh.test,IP:127.0.0.1\n",
    )
    .expect("writable");
    for words in [
        format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={authority} \
             -addext keyUsage=critical,keyCertSign -keyout ca-key.pem -out ca.pem"
        ),
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mesh -keyout key-new.pem -out csr.pem"
            .into(),
        "x509 -req -in csr.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile names \
         -out cert-new.pem"
            .into(),
    ] {
        openssl(&words).unwrap_or_else(|error| panic!("openssl {words}: {error}"));
    }
    // The certificate is replaced first and does not match the key for a moment.
    for name in ["cert", "key"] {
        let new = directory.join(format!("{name}-new.pem"));
        fs::rename(new, directory.join(format!("{name}.pem"))).expect("renamed");
    }
    true
}

/// A call over HTTPS that trusts only the authority in `ca.pem`.
fn call(
    server: &AuthenticatedServer,
    service: &str,
    operation: &str,
    params: Value,
) -> Option<Value> {
    let answers = python(&json!({
        "do": "call", "endpoint": format!("https://api.mesh.test:{}", server.api.port()),
        "key": ADMIN.0, "secret": ADMIN.1, "region": HERE, "service": service, "operation": operation,
        "params": params, "ca": server.directory().join("ca.pem"), "resolve": ".mesh.test",
    }))?;
    answers.into_iter().next()
}

#[test]
fn https_works_under_every_name_and_follows_its_files() {
    let directory = tempfile::tempdir().expect("a directory");
    if !certificates(directory.path(), "first") {
        return;
    }
    let options = ["--api-cert", "{dir}/cert.pem", "--api-key", "{dir}/key.pem"];
    let Some(server) = AuthenticatedServer::start_in(directory, &options) else {
        return;
    };
    let Some(identity) = call(&server, "sts", "get_caller_identity", json!({})) else {
        return;
    };
    assert_eq!(identity["ok"]["Account"], "111122223333", "{identity}");

    // boto3 puts `data-` before the host for this call.
    let discover = json!({"NamespaceName": "nowhere", "ServiceName": "nothing"});
    let found = call(&server, "servicediscovery", "discover_instances", discover).expect("Python");
    assert_eq!(found["code"], "NamespaceNotFound", "{found}");
    assert_eq!(found["host"], "data-api.mesh.test", "{found}");

    // The commands trust the same authority, and reject a server without its certificate.
    let api = format!("https://{}", server.api);
    let export = server.tombolo(Some(ADMIN), &["export", "--api", &api, "-"]);
    assert!(export.is_ok(), "{export:?}");
    let status = server.tombolo(Some(ADMIN), &["status", "--api", &api]);
    assert!(status.is_ok(), "{status:?}");
    let foreign = format!("https://localhost:{}", server.api.port());
    let error = server
        .tombolo(Some(ADMIN), &["status", "--api", &foreign])
        .expect_err("the certificate has another name");
    assert!(error.contains("certificate"), "{error}");

    // A client without TLS gets no answer, and does not affect the others.
    assert!(get(server.api, "/v20190125/meshes").is_err());

    assert!(certificates(server.directory(), "second"));
    until("the new certificate is shown", || {
        let identity = call(&server, "sts", "get_caller_identity", json!({})).expect("Python");
        identity["ok"].is_object().then_some(())
    });

    fs::write(server.directory().join("cert.pem"), "nothing").expect("writable");
    until("the mistake is told", || {
        server
            .log()
            .contains("cert.pem: there is no certificate in it")
            .then_some(())
    });
    let identity = call(&server, "sts", "get_caller_identity", json!({})).expect("Python");
    assert!(
        identity["ok"].is_object(),
        "the last good certificate counts: {identity}"
    );
}
