//! Requests that are refused, normalized or stripped of fields with the planner's configuration, compared with Envoy.

mod rig;

use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;

use rig::Running;
use rig::client::{self, Connection};
use rig::pair::Pair;
use rig::resources::*;
use rig::upstream::Upstream;

fn pair(
    up: &Upstream,
    change: impl FnOnce(hcm::HttpConnectionManager) -> hcm::HttpConnectionManager,
) -> Option<Pair> {
    let manager = change(planned(manager(everything_to("up"))));
    Pair::start(&http_ingress(&manager), &[up.cluster()])
}

fn ours(up: &Upstream) -> Running {
    let manager = planned(manager(everything_to("up")));
    Running::start(&http_ingress(&manager), &[up.cluster()])
}

#[test]
fn request_targets_agree() {
    let up = Upstream::start("up");
    let Some(pair) = pair(&up, |manager| manager) else {
        return;
    };
    for target in [
        "/a%2fb",
        "/a%2Fb",
        "/%7euser",
        "/a%00b",
        "/a%zz",
        "/a%",
        "/a%2",
        "/a#b",
        "/a?x#b",
        "#",
        "/a?%00",
        "/a?b=%2f",
        "/a\\b",
        "/a%5cb",
        "/./a/../b",
        "/%2e%2e/a",
        "/a/%2E./b",
        "/a//b",
        "/a|b",
        "/a\"b",
        "/a<b>",
        "/a{b}",
        "/a^b",
        "/a`b",
        "/a'b",
        "/a[b]",
        "/a;b",
        "/a:b@c",
        "/a%41",
        "/a%20b",
        "/a%7f",
        "/a%1f",
        "/a\x7f",
        "/a\tb",
        "/a\x01b",
        "/\u{e9}",
        "/a?\u{e9}",
        "*",
        "a",
        "?x",
        "//a",
        "/a?",
        "/a??b",
        "http://b/x",
        "http://u:p@b/x",
        "http://u@b/x",
        "http:///x",
        "http://",
        "http://b",
        "http://b:99999/x",
        "http://b:80/x",
        "ftp://b/x",
        "HTTP://b/x",
        "http:/x",
        "https://b/x",
        "//b/x",
        "/%c3%a9",
        "/..",
        "/.",
        "/%2f..%2f",
        "/a/..%2fb",
        "/a%252fb",
    ] {
        pair.compare_get(target);
    }
    pair.compare("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    pair.agree();
}

#[test]
fn hosts_and_methods_agree() {
    let up = Upstream::start("up");
    let Some(pair) = pair(&up, |manager| manager) else {
        return;
    };
    for host in [
        "a b",
        "x/evil",
        "x?y",
        "x#y",
        "x\\y",
        "",
        "u@x",
        "u:p@x",
        "x:80",
        "x:",
        "x:a",
        "[::1]:80",
        "x_y",
        "x%41",
        "x|y",
        "x\"y",
        "x<y>",
        "x,y",
        "x;y",
        "x'y",
        "\u{e9}",
        "x!$&()*+=~",
        "x^y",
        "x`y",
        "x{y}",
        "X.COM",
        "x.",
    ] {
        pair.compare(&format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    }
    for method in [
        "get", "FOO", "PROPFIND", "M-SEARCH", "PURGE", "TRACE", "OPTIONS", "LINK", "BREW", "PATCH",
        "GET$", "ACL", "MSEARCH", "UPDATE", "POST", "PUT", "DELETE",
    ] {
        pair.compare(&format!("{method} /a HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    pair.agree();
}

#[test]
fn two_hosts_are_refused() {
    let up = Upstream::start("up");
    let proxy = ours(&up);
    let raw = "GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n";
    // Envoy joins them to the host `a,b`; RFC 9112 section 3.2 requires this.
    assert_eq!(client::send(proxy.address, raw).status, 400);
    assert_eq!(up.requests(), 0);
}

#[test]
fn fields_that_connection_names_agree() {
    let up = Upstream::start("up");
    let Some(pair) = pair(&up, |manager| manager) else {
        return;
    };
    let fields = "x-forwarded-for: 1.1.1.1\r\nx-foo: f\r\nx-request-id: 12345678-1234-1234-1234-123456789012\r\n";
    for tokens in [
        "x-forwarded-for",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "x-foo",
        "keep-alive, x-foo",
        ":path",
        ":foo",
        "x:y",
        "x-request-id",
        "x-envoy-internal",
        "te",
        "connection",
        "a,b,c,d,e,f,g,h,i",
        "a,b,c,d,e,f,g,h,i,j",
        ",,,",
        "x-foo x-bar",
        "upgrade",
        "x-foo\r\nconnection: x-forwarded-for",
    ] {
        pair.compare(&format!(
            "GET /a HTTP/1.1\r\nhost: a\r\n{fields}connection: {tokens}\r\n\r\n"
        ));
    }
    for te in [
        "trailers",
        "gzip, trailers",
        "gzip",
        "t".repeat(300).as_str(),
    ] {
        for connection in ["te", "keep-alive"] {
            pair.compare(&format!(
                "GET /a HTTP/1.1\r\nhost: a\r\nte: {te}\r\nconnection: {connection}\r\n\r\n"
            ));
        }
    }
    pair.agree();
}

const CLAIMS: [&str; 34] = [
    "x-forwarded-client-cert",
    "x-envoy-internal",
    "x-envoy-external-address",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
    "x-envoy-original-host",
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-attempt-count",
    "x-envoy-overloaded",
    "x-envoy-upstream-service-time",
    "x-envoy-is-timeout-retry",
    "x-envoy-degraded",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-original-dst-host",
    "x-client-trace-id",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-forwarded-client-cert-chain",
];

#[test]
fn untrusted_headers_of_clients_are_removed_as_by_envoy() {
    let up = Upstream::start("up");
    let claims: String = CLAIMS.map(|name| format!("{name}: 1\r\n")).concat();
    for edge in [false, true] {
        let change = |manager| hcm::HttpConnectionManager {
            use_remote_address: edge.then(|| yes().expect("set")),
            // Envoy writes an address other than the loopback one.
            skip_xff_append: true,
            ..manager
        };
        let Some(pair) = pair(&up, change) else {
            return;
        };
        for forwarded in [
            "",
            "x-forwarded-for: 10.1.2.3\r\n",
            "x-forwarded-for: 8.8.8.8, 127.0.0.1\r\n",
        ] {
            pair.compare(&format!(
                "GET /a HTTP/1.1\r\nhost: a\r\n{forwarded}{claims}\r\n"
            ));
        }
        pair.agree();
    }
}

#[test]
fn offers_to_upgrade_agree() {
    let up = Upstream::start("up");
    let Some(pair) = pair(&up, |manager| manager) else {
        return;
    };
    let h2c = "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    for raw in [
        format!("GET /a HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n{h2c}\r\n"),
        format!(
            "POST /a HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n{h2c}content-length: 2\r\n\r\nhi"
        ),
        "GET /a HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n".to_owned(),
        "GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\n\r\n".to_owned(),
    ] {
        pair.compare(&raw);
    }
    pair.agree();
}

#[test]
fn unknown_offers_to_upgrade_are_ignored() {
    let up = Upstream::start("up");
    let proxy = ours(&up);
    let mut connection = Connection::open(proxy.address);
    // Apache HttpClient 5.4 offers this on each request. Envoy refuses with 403 unless told otherwise.
    for offer in ["TLS/1.2", "foo", "h2c, websocket"] {
        let response = connection.request(&format!(
            "GET /a HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: {offer}\r\n\r\n"
        ));
        assert_eq!(response.status, 200, "{offer}");
        assert!(
            !response.text().to_ascii_lowercase().contains("upgrade"),
            "{offer}"
        );
    }
}

#[test]
fn upgrades_agree_when_the_application_refuses_them() {
    let up = Upstream::start("up");
    up.force_status(400);
    let proxy = ours(&up);
    let mut connection = Connection::open(proxy.address);
    let raw = "GET /a HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    // Envoy answers with the status alone and closes; here the application's reason is kept
    // (docs/reference/envoy.md).
    for _ in 0..2 {
        let response = connection.request(raw);
        assert_eq!((response.status, response.text().as_str()), (400, "forced"));
    }
}
