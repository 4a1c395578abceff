use super::*;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3 as text;
use envoy_types::pb::envoy::r#type::v3::Int64Range;
use envoy_types::pb::google::protobuf::BoolValue;
use http::HeaderName;

/// Whether a route matches a request; the headers are written as `name: value`.
fn matches(value: &proto::RouteMatch, path: &str, headers: &[&str]) -> bool {
    let compiled = Match::compile(value).expect("valid match");
    let mut map = HeaderMap::new();
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a header");
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query)));
    compiled.matches(&RequestView {
        method: &Method::GET,
        authority: "example.test",
        path,
        query,
        scheme: "http",
        headers: &map,
    })
}

fn on_path(specifier: PathSpecifier) -> proto::RouteMatch {
    proto::RouteMatch {
        path_specifier: Some(specifier),
        ..Default::default()
    }
}

fn any_path() -> proto::RouteMatch {
    on_path(PathSpecifier::Prefix("/".to_owned()))
}

fn on_header(name: &str, specifier: HeaderMatchSpecifier, invert: bool) -> proto::RouteMatch {
    proto::RouteMatch {
        headers: vec![proto::HeaderMatcher {
            name: name.to_owned(),
            invert_match: invert,
            header_match_specifier: Some(specifier),
            ..Default::default()
        }],
        ..any_path()
    }
}

#[test]
fn paths_match_by_prefix_by_segment_in_whole_and_without_case() {
    let color = || "/color".to_owned();
    let regex = text::RegexMatcher {
        regex: "/a+".to_owned(),
        ..Default::default()
    };
    let segments = on_path(PathSpecifier::PathSeparatedPrefix(color()));
    let without_case = |specifier| proto::RouteMatch {
        case_sensitive: Some(BoolValue { value: false }),
        ..on_path(specifier)
    };
    for (route, path, expected) in [
        (&on_path(PathSpecifier::Prefix(color())), "/colors", true),
        (&on_path(PathSpecifier::Prefix(color())), "/COLOR", false),
        (&segments, "/color", true),
        (&segments, "/color/red", true),
        (&segments, "/colors", false),
        (&on_path(PathSpecifier::Path(color())), "/color/red", false),
        (&without_case(PathSpecifier::Path(color())), "/COLOR", true),
        (
            &without_case(PathSpecifier::Prefix(color())),
            "/Colors",
            true,
        ),
        (
            &without_case(PathSpecifier::PathSeparatedPrefix(color())),
            "/Colors",
            false,
        ),
        (
            &on_path(PathSpecifier::SafeRegex(regex.clone())),
            "/aaa",
            true,
        ),
        (&on_path(PathSpecifier::SafeRegex(regex)), "/aaa/b", false),
    ] {
        assert_eq!(matches(route, path, &[]), expected, "{route:?} {path}");
    }
}

#[test]
fn headers_match_by_value_by_range_and_by_presence() {
    use HeaderMatchSpecifier::{ExactMatch, PresentMatch, RangeMatch};
    let inverted = on_header("x-color", ExactMatch("red".to_owned()), true);
    let absent = on_header("x-color", PresentMatch(true), true);
    let half_open = on_header("x-age", RangeMatch(Int64Range { start: 1, end: 10 }), false);
    let joined = on_header("x-list", ExactMatch("a,b".to_owned()), false);
    for (route, headers, expected) in [
        (&inverted, &["x-color: blue"] as &[&str], true),
        (&inverted, &["x-color: red"], false),
        // Inversion does not turn a missing header into a match.
        (&inverted, &[], false),
        (&absent, &[], true),
        (&half_open, &["x-age: 1"], true),
        (&half_open, &["x-age: 10"], false),
        (&half_open, &["x-age: five"], false),
        (&joined, &["x-list: a", "x-list: b"], true),
    ] {
        let matched = matches(route, "/", headers);
        assert_eq!(matched, expected, "{:?} {headers:?}", route.headers);
    }
}

#[test]
fn query_parameters_must_all_match() {
    use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Spec;
    let exact = text::StringMatcher {
        match_pattern: Some(text::string_matcher::MatchPattern::Exact("1".to_owned())),
        ..Default::default()
    };
    let parameter = |name: &str, specifier| proto::QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: specifier,
    };
    let route = proto::RouteMatch {
        query_parameters: vec![
            parameter("v", Some(Spec::StringMatch(exact))),
            parameter("flag", None),
        ],
        ..any_path()
    };
    assert!(matches(&route, "/?v=1&flag", &[]));
    assert!(!matches(&route, "/?v=1", &[]));
    assert!(!matches(&route, "/?v=2&flag", &[]));
}

#[test]
fn grpc_is_recognised_by_the_content_type() {
    let grpc = proto::RouteMatch {
        grpc: Some(Default::default()),
        ..any_path()
    };
    assert!(matches(
        &grpc,
        "/",
        &["content-type: application/grpc+proto"]
    ));
    assert!(!matches(
        &grpc,
        "/",
        &["content-type: application/grpc-web"]
    ));
}
