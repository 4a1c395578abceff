//! The same resources and requests on Envoy and on this proxy give the same status, body, headers and upstream
//! request.

mod rig;

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::r#type::matcher::v3 as text;
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use envoy_types::pb::google::protobuf::BoolValue;

use rig::pair::Pair;
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{client, closed_port, envoy};

fn with_header_match(
    name: &str,
    specifier: route::header_matcher::HeaderMatchSpecifier,
    invert: bool,
) -> route::RouteMatch {
    route::RouteMatch {
        headers: vec![route::HeaderMatcher {
            name: name.to_owned(),
            header_match_specifier: Some(specifier),
            invert_match: invert,
            ..Default::default()
        }],
        ..prefix("/match")
    }
}

#[test]
fn routes_headers_and_rewrites_agree() {
    let (red, blue) = (Upstream::start("red"), Upstream::start("blue"));
    use route::header_matcher::HeaderMatchSpecifier as Header;
    let regex = |regex: &str| text::RegexMatcher {
        regex: regex.to_owned(),
        ..Default::default()
    };
    let routes = vec![
        forward(
            with_header_match("x-color", Header::StringMatch(exact("blue")), false),
            to_cluster("blue"),
        ),
        forward(
            with_header_match(
                "x-age",
                Header::RangeMatch(Int64Range { start: 10, end: 20 }),
                false,
            ),
            to_cluster("blue"),
        ),
        forward(
            with_header_match("x-not", Header::StringMatch(exact("red")), true),
            to_cluster("blue"),
        ),
        forward(
            with_header_match(":method", Header::StringMatch(exact("POST")), false),
            to_cluster("blue"),
        ),
        forward(
            route::RouteMatch {
                query_parameters: vec![route::QueryParameterMatcher {
                    name: "q".to_owned(),
                    query_parameter_match_specifier: Some(
                        route::query_parameter_matcher::QueryParameterMatchSpecifier::StringMatch(
                            exact("1"),
                        ),
                    ),
                }],
                ..prefix("/match")
            },
            to_cluster("blue"),
        ),
        forward(
            prefix("/rewrite/"),
            route::RouteAction {
                prefix_rewrite: "/".to_owned(),
                ..to_cluster("red")
            },
        ),
        forward(
            path("/whole"),
            route::RouteAction {
                prefix_rewrite: "/new".to_owned(),
                ..to_cluster("red")
            },
        ),
        forward(
            prefix("/regex"),
            route::RouteAction {
                regex_rewrite: Some(text::RegexMatchAndSubstitute {
                    pattern: Some(regex("^/regex/([a-z]+)/([0-9]+)")),
                    substitution: r"/\2/\1".to_owned(),
                }),
                ..to_cluster("red")
            },
        ),
        forward(
            prefix("/host"),
            route::RouteAction {
                host_rewrite_specifier: Some(
                    route::route_action::HostRewriteSpecifier::HostRewriteLiteral(
                        "other.test".to_owned(),
                    ),
                ),
                ..to_cluster("red")
            },
        ),
        route::Route {
            request_headers_to_add: vec![add("x-added", "one"), add("x-method", "%REQ(:METHOD)%")],
            request_headers_to_remove: vec!["x-secret".to_owned()],
            response_headers_to_add: vec![add("x-answer", "yes")],
            response_headers_to_remove: vec!["x-upstream".to_owned()],
            ..forward(prefix("/headers"), to_cluster("red"))
        },
        route::Route {
            r#match: Some(path("/direct")),
            action: Some(route::route::Action::DirectResponse(
                route::DirectResponseAction {
                    status: 418,
                    body: Some(DataSource {
                        specifier: Some(Specifier::InlineString("short and stout".to_owned())),
                        ..Default::default()
                    }),
                    ..Default::default()
                },
            )),
            ..Default::default()
        },
        route::Route {
            r#match: Some(prefix("/moved")),
            action: Some(route::route::Action::Redirect(route::RedirectAction {
                host_redirect: "new.test".to_owned(),
                path_rewrite_specifier: Some(
                    route::redirect_action::PathRewriteSpecifier::PrefixRewrite("/here".to_owned()),
                ),
                response_code: route::redirect_action::RedirectResponseCode::TemporaryRedirect
                    as i32,
                ..Default::default()
            })),
            ..Default::default()
        },
        forward(path("/exact"), to_cluster("red")),
        forward(
            route::RouteMatch {
                path_specifier: Some(route::route_match::PathSpecifier::PathSeparatedPrefix(
                    "/segment".to_owned(),
                )),
                ..Default::default()
            },
            to_cluster("red"),
        ),
        forward(prefix("/missing-cluster"), to_cluster("nowhere")),
        forward(prefix("/echo"), to_cluster("red")),
        forward(prefix("/status"), to_cluster("red")),
        forward(prefix("/http10"), to_cluster("red")),
        forward(prefix("/chunked"), to_cluster("red")),
    ];
    let named = host(
        "named",
        &["only.test", "*.wild.test", "pre.*"],
        vec![forward(prefix("/"), to_cluster("blue"))],
    );
    let mut table = table("routes", vec![named, host("all", &["*"], routes)]);
    table.validate_clusters = Some(BoolValue { value: false });
    let clusters = [red.cluster(), blue.cluster()];
    let Some(pair) = Pair::start(&http_ingress(&manager(table)), &clusters) else {
        return;
    };

    let gets = [
        "/echo",
        "/echo?a=b&c=%20d",
        "/match",
        "/match?q=1",
        "/match?q=2&q=1",
        "/rewrite/a/b?x=y",
        "/rewrite/",
        "/whole?q",
        "/regex/abc/42?z=1",
        "/regex/none",
        "/host/x",
        "/headers/x",
        "/direct",
        "/moved/a?b=c",
        "/exact",
        "/exact/no",
        "/segment",
        "/segment/x",
        "/segments",
        "/none",
        "/missing-cluster",
        "/status/404",
        "/status/500",
        "/status/204",
        "/http10",
        "/chunked",
        "/echo/%2e%2e/x",
        "/echo//double",
    ];
    for path in gets {
        pair.compare_get(path);
    }
    let raws = [
        "GET /match HTTP/1.1\r\nhost: app.test\r\nx-color: blue\r\n\r\n",
        "GET /match HTTP/1.1\r\nhost: app.test\r\nX-Color: red\r\n\r\n",
        "GET /match HTTP/1.1\r\nhost: app.test\r\nx-age: 19\r\n\r\n",
        "GET /match HTTP/1.1\r\nhost: app.test\r\nx-age: 20\r\n\r\n",
        "GET /match HTTP/1.1\r\nhost: app.test\r\nx-not: green\r\n\r\n",
        "GET /match HTTP/1.1\r\nhost: app.test\r\nx-not: red\r\n\r\n",
        "POST /match HTTP/1.1\r\nhost: app.test\r\ncontent-length: 5\r\n\r\nhello",
        "POST /echo HTTP/1.1\r\nhost: app.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: app.test\r\ncontent-length: 0\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: only.test\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: ONLY.test\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: only.test:80\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: a.wild.test\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: pre.fix\r\n\r\n",
        "GET http://only.test/echo HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nx_under_score: kept\r\nx-dup: a\r\nx-dup: b\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nx-request-id: mine\r\nx-forwarded-for: 1.2.3.4\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nx-forwarded-proto: https\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nte: trailers\r\nconnection: keep-alive\r\nkeep-alive: 5\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nproxy-connection: x\r\n\r\n",
        "GET /headers HTTP/1.1\r\nhost: app.test\r\nx-secret: 1\r\n\r\n",
        "HEAD /echo HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "DELETE /echo HTTP/1.1\r\nhost: app.test\r\n\r\n",
        "GET /echo HTTP/1.0\r\nhost: app.test\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nconnection: close\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: app.test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
        "POST /none HTTP/1.1\r\nhost: app.test\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
        "GET /echo HTTP/1.1\r\nhost: app.test\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ];
    for raw in raws {
        pair.compare(raw);
    }
    pair.agree();
}

#[test]
fn failures_agree() {
    let up = Upstream::start("up");
    let full = cluster::Cluster {
        circuit_breakers: breakers(Thresholds {
            max_requests: number(0),
            max_pending_requests: number(0),
            ..Default::default()
        }),
        ..static_cluster("full", &[up.address])
    };
    let clusters = [
        up.cluster(),
        static_cluster("closed", &[closed_port()]),
        static_cluster("empty", &[]),
        full,
    ];
    let retrying = |cluster: &str, on: &str| route::RouteAction {
        retry_policy: Some(retries(on, 2)),
        ..to_cluster(cluster)
    };
    let within = |action: route::RouteAction, time: u64| route::RouteAction {
        timeout: millis(time),
        ..action
    };
    let table = routes(vec![
        forward(prefix("/refused"), to_cluster("closed")),
        forward(
            prefix("/refused-retried"),
            retrying("closed", "connect-failure"),
        ),
        forward(prefix("/empty"), to_cluster("empty")),
        forward(prefix("/full"), to_cluster("full")),
        forward(prefix("/close"), to_cluster("up")),
        forward(prefix("/slow"), within(to_cluster("up"), 150)),
        forward(prefix("/stall"), within(to_cluster("up"), 150)),
        forward(prefix("/flaky"), retrying("up", "retriable-status-codes")),
        forward(prefix("/status"), retrying("up", "5xx")),
        forward(
            prefix("/"),
            route::RouteAction {
                retry_policy: Some(route::RetryPolicy {
                    per_try_timeout: millis(100),
                    ..retries("reset", 1)
                }),
                prefix_rewrite: "/stall".to_owned(),
                ..to_cluster("up")
            },
        ),
    ]);
    let Some(pair) = Pair::start(&http_ingress(&manager(table)), &clusters) else {
        return;
    };
    for path in [
        "/refused",
        "/empty",
        "/full",
        "/close",
        "/slow/1000",
        "/slow/0",
        "/stall",
        "/status/500",
        "/status/503",
        "/status/404",
        "/per-try",
    ] {
        pair.compare_get(path);
    }
    let grpc = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: app.test\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n"
        )
    };
    for path in ["/empty", "/refused", "/full", "/slow/1000"] {
        pair.compare(&grpc(path));
    }
    pair.agree();
    // The number of attempts: one and two retries.
    for (proxy, address) in [("envoy", pair.envoy.address), ("ours", pair.ours.address)] {
        for (path, attempts) in [("/status/500?n", 3), ("/status/404?n", 1)] {
            let before = up.requests();
            client::get(address, path);
            assert_eq!(up.requests() - before, attempts, "{proxy} at {path}");
        }
        for (path, status) in [("/flaky/2", 200), ("/flaky/3", 503)] {
            let response = client::get(address, &format!("{path}?{proxy}"));
            assert_eq!(response.status, status, "{proxy} at {path}");
        }
    }
}

#[test]
fn normalization_and_server_names_agree() {
    let up = Upstream::start("up");
    let mut config = manager(routes(vec![forward(prefix("/a"), to_cluster("up"))]));
    config.normalize_path = yes();
    config.merge_slashes = true;
    config.server_name = "mesh".to_owned();
    config.always_set_request_id_in_response = false;
    let Some(pair) = Pair::start(&http_ingress(&config), &[up.cluster()]) else {
        return;
    };
    for path in [
        "/a/../a/b",
        "/a//b",
        "/x/../a",
        "/a/./b?q=/../",
        "/%61/b",
        "/a%2Fb",
        "/a/%2e%2e/a",
        "/b",
    ] {
        pair.compare_get(path);
    }
    pair.compare("GET /a HTTP/1.1\r\nhost: app.test\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n\r\n");
    pair.agree();
}

#[test]
fn weighted_clusters_split_alike() {
    let (red, blue) = (Upstream::start("red"), Upstream::start("blue"));
    let action = to_weighted(&[("red", 1), ("blue", 3)]);
    let table = routes(vec![forward(prefix("/"), action)]);
    let clusters = [red.cluster(), blue.cluster()];
    let Some(pair) = Pair::start(&http_ingress(&manager(table)), &clusters) else {
        return;
    };
    for address in [pair.envoy.address, pair.ours.address] {
        let (red_before, blue_before) = (red.requests(), blue.requests());
        let mut connection = client::Connection::open(address);
        for _ in 0..800 {
            assert_eq!(connection.get("/x").status, 200);
        }
        let (red, blue) = (red.requests() - red_before, blue.requests() - blue_before);
        assert_eq!(red + blue, 800);
        // 200 expected, standard deviation 12: six of them to either side.
        assert!((128..=272).contains(&red), "{red} of 800");
    }
}

#[test]
fn generated_bootstrap_is_valid_for_envoy() {
    let Some(binary) = envoy::binary() else {
        return;
    };
    let options = tombolo_proxy::Options {
        node_id: "mesh/m/virtualNode/n".to_owned(),
        node_cluster: "n".to_owned(),
        node_metadata: [("tombolo.io/pod".to_owned(), "p".to_owned())].into(),
        xds_address: Some("127.0.0.1:18000".to_owned()),
        admin: Some("127.0.0.1:9901".parse().expect("address")),
        metrics: Some("[::]:9902".parse().expect("address")),
        socket_mark: Some(1337),
        drain: Duration::from_secs(1),
        ..tombolo_proxy::Options::default()
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("bootstrap.json");
    std::fs::write(
        &file,
        tombolo_proxy::bootstrap_for_envoy::generate(&options).to_string(),
    )
    .expect("written");
    let mut command = std::process::Command::new(binary);
    command.args(["--mode", "validate", "--log-level", "error"]);
    let output = command.arg("--config-path").arg(file).output();
    let output = output.expect("envoy runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
