use super::*;
use crate::{
    oidc::sample::{ISSUER, Signer, key_set},
    sigv4::{Secret, Signer as SigV4, authorize},
};
use http::{Method, Request};
use serde_json::{Value, json};
use std::{fs, path::Path};

const RED: &str = "mesh/color/virtualNode/red";
const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
const HOST: &str = "xds.mesh.test";

fn arn(resource: &str) -> String {
    format!("arn:aws:appmesh:us-west-2:111122223333:{resource}")
}

fn scope() -> Scope {
    Scope::parse("111122223333", "us-west-2").expect("a scope")
}

/// Proxies of the namespace `color` may have the mesh `color`; the key `PROXY` may have the node `red`.
fn access(directory: &Path, keys: &[Value]) -> ProxyAccess {
    let keys_file = directory.join("keys.json");
    fs::write(&keys_file, key_set(keys)).expect("written");
    let file = directory.join("credentials.yaml");
    let statement = |resource: &str| json!([{"actions": [ACTION], "resources": [arn(resource)]}]);
    let text = json!({
        "regions": ["us-west-2"],
        "policies": {"color": statement("mesh/color/*"), "red": statement(RED)},
        "providers": [{"issuer": ISSUER, "keys": keys_file.to_str()}],
        "roles": [{
            "name": "color-proxies", "account": "111122223333", "policies": ["color"],
            "trust": [{
                "issuer": ISSUER, "subject": "system:serviceaccount:color:*", "audience": "tombolo",
            }],
        }],
        "users": [{
            "name": "envoy", "account": "111122223333", "policies": ["red"],
            "keys": [{"id": "PROXY", "secret": "hers"}],
        }],
    });
    fs::write(&file, text.to_string()).expect("written");
    ProxyAccess::new(Credentials::open(&file).expect("a good file"), &[3; 32])
}

/// The claims of a projected token.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "system:serviceaccount:color:default",
        "aud": [format!("tombolo/{RED}")],
        "exp": now() + 3600, "iat": now() - 1,
        "kubernetes.io": {"namespace": "color", "pod": {"name": "red-1", "uid": "u-1"}},
    })
}

fn call() -> Parts {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{HOST}:18000{PATH}"));
    let request = request.header("content-type", "application/grpc");
    request.body(()).expect("a request").into_parts().0
}

fn bearing(token: &str) -> Parts {
    let mut call = call();
    let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("text");
    call.headers.insert(header::AUTHORIZATION, value);
    call
}

fn code(result: Result<ProxyCaller, ProxyRefusal>) -> (&'static str, String) {
    match result {
        Ok(caller) => ("known", caller.to_string()),
        Err(ProxyRefusal::Unauthenticated(why)) => ("unauthenticated", why),
        Err(ProxyRefusal::Denied(why)) => ("denied", why),
        Err(ProxyRefusal::Unavailable(why)) => ("unavailable", why),
    }
}

#[tokio::test]
async fn a_token_is_for_the_resource_in_its_audience() {
    let directory = tempfile::tempdir().expect("a directory");
    let (signer, stranger) = (Signer::p256(), Signer::p256());
    let access = access(directory.path(), &[signer.jwk("a")]);
    let caller = access
        .identify(&bearing(&signer.token("a", &claims())))
        .await;
    let caller = caller.expect("known");
    assert_eq!(caller.resource(), Some(RED));
    assert_eq!(caller.to_string(), "pod color/red-1 (u-1)");
    assert!(caller.check(&scope(), &arn(RED)).is_ok());
    let other_mesh = arn("mesh/money/virtualNode/red");
    let refused = caller
        .check(&scope(), &other_mesh)
        .expect_err("another mesh");
    assert!(refused.to_string().contains(ACTION), "{refused}");
    let other_account = Scope::parse("444455556666", "us-west-2").expect("a scope");
    assert!(caller.check(&other_account, &arn(RED)).is_err());

    let with = |member: &str, value: Value| {
        let mut claims = claims();
        claims[member] = value;
        signer.token("a", &claims)
    };
    for (token, expected, why) in [
        ("x".to_owned(), "unauthenticated", "not a valid JWT"),
        (
            stranger.token("a", &claims()),
            "unauthenticated",
            "signature",
        ),
        (with("exp", 1.into()), "unauthenticated", "Token expired"),
        (
            with("iss", "https://evil.example".into()),
            "unauthenticated",
            "not trusted",
        ),
        (
            with("aud", "sts.amazonaws.com".into()),
            "unauthenticated",
            "audience",
        ),
        (with("aud", "tombolo".into()), "unauthenticated", "audience"),
        (
            with("aud", format!("tombolox/{RED}").into()),
            "unauthenticated",
            "audience",
        ),
        (
            with("aud", json!(["tombolo/a", "tombolo/b"])),
            "unauthenticated",
            "audience",
        ),
        (
            with("kubernetes.io", Value::Null),
            "unauthenticated",
            "not bound to a pod",
        ),
        (
            with("sub", "system:serviceaccount:money:default".into()),
            "denied",
            "no role trusts",
        ),
    ] {
        let (found, message) = code(access.identify(&bearing(&token)).await);
        assert_eq!(found, expected, "{message}");
        assert!(message.contains(why), "{message}: {why}");
    }
    let (found, message) = code(access.identify(&call()).await);
    assert_eq!(
        (found, message.as_str()),
        ("unauthenticated", "Missing Authentication Token")
    );
}

/// As Envoy's `aws_iam` credentials sign: the path of the method, an empty body, and the host without the port of HTTPS.
fn signed(host: &str, secret: &str, service: &str, at: u64) -> Parts {
    let mut signed = http::HeaderMap::new();
    signed.insert(header::HOST, HeaderValue::from_str(host).expect("text"));
    let empty = crate::sigv4::sha256(b"");
    signed.insert(
        "x-amz-content-sha256",
        HeaderValue::from_str(&empty).expect("text"),
    );
    let signer = SigV4 {
        access_key: "PROXY",
        secret: &Secret::new(secret),
        token: None,
        region: "us-west-2",
        service,
        now: at,
    };
    let uri = PATH.parse().expect("a path");
    authorize(&signer, &Method::POST, &uri, &mut signed, b"").expect("signed");
    signed.remove(header::HOST);
    let mut call = call();
    call.headers.extend(signed);
    call
}

#[tokio::test]
async fn a_signature_has_what_its_policies_allow() {
    let directory = tempfile::tempdir().expect("a directory");
    let access = access(directory.path(), &[Signer::p256().jwk("a")]);
    let host = format!("{HOST}:18000");
    let caller = access
        .identify(&signed(&host, "hers", "appmesh", now()))
        .await;
    let caller = caller.expect("known");
    assert_eq!(caller.resource(), None);
    assert!(caller.check(&scope(), &arn(RED)).is_ok());
    let refused = caller.check(&scope(), &arn("mesh/color/virtualNode/blue"));
    assert!(
        refused
            .expect_err("another node")
            .to_string()
            .contains("user/envoy")
    );
    for (secret, service, at, why) in [
        ("his", "appmesh", now(), "does not match"),
        ("hers", "sts", now(), "correct service"),
        ("hers", "appmesh", now() - 3600, "expired"),
    ] {
        let (found, message) = code(access.identify(&signed(&host, secret, service, at)).await);
        assert_eq!(found, "unauthenticated", "{message}");
        assert!(
            message.contains(why) && !message.contains('\n'),
            "{message}"
        );
    }

    // The port of HTTPS is in the authority of one, and not in what it signs; or the other way round.
    for (sent, signed_host) in [("xds.mesh.test:443", HOST), (HOST, "xds.mesh.test:443")] {
        let mut call = signed(signed_host, "hers", "appmesh", now());
        call.uri = format!("https://{sent}{PATH}").parse().expect("a URI");
        assert_eq!(code(access.identify(&call).await).0, "known", "{sent}");
    }
    let mut other = signed(&host, "hers", "appmesh", now());
    other.uri = format!("https://{host}/other/Method")
        .parse()
        .expect("a URI");
    assert_eq!(code(access.identify(&other).await).0, "unauthenticated");
}
