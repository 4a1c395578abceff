use super::*;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3 as text;
use envoy_types::pb::envoy::r#type::v3::Int64Range;

fn matches(value: proto::RouteMatch, path: &str, headers: &[(&str, &str)]) -> bool {
    let compiled = Match::compile(&value).expect("valid match");
    let mut map = HeaderMap::new();
    for (name, value) in headers {
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

fn on_header(name: &str, specifier: HeaderMatchSpecifier, invert: bool) -> proto::RouteMatch {
    proto::RouteMatch {
        headers: vec![proto::HeaderMatcher {
            name: name.to_owned(),
            invert_match: invert,
            header_match_specifier: Some(specifier),
            ..Default::default()
        }],
        ..on_path(PathSpecifier::Prefix("/".to_owned()))
    }
}

#[test]
fn prefix_is_a_string_prefix_and_separated_prefix_ends_at_a_segment() {
    let prefix = || on_path(PathSpecifier::Prefix("/color".to_owned()));
    assert!(matches(prefix(), "/colors", &[]));
    let segments = || on_path(PathSpecifier::PathSeparatedPrefix("/color".to_owned()));
    assert!(matches(segments(), "/color", &[]));
    assert!(matches(segments(), "/color/red", &[]));
    assert!(!matches(segments(), "/colors", &[]));
}

#[test]
fn regular_expressions_match_the_whole_path() {
    let regex = || {
        on_path(PathSpecifier::SafeRegex(text::RegexMatcher {
            regex: "/a+".to_owned(),
            ..Default::default()
        }))
    };
    assert!(matches(regex(), "/aaa", &[]));
    assert!(!matches(regex(), "/aaa/b", &[]));
}

#[test]
fn inverted_value_match_needs_the_header() {
    let inverted = || {
        on_header(
            "x-color",
            HeaderMatchSpecifier::ExactMatch("red".to_owned()),
            true,
        )
    };
    assert!(matches(inverted(), "/", &[("x-color", "blue")]));
    assert!(!matches(inverted(), "/", &[("x-color", "red")]));
    assert!(!matches(inverted(), "/", &[]));
    assert!(matches(
        on_header("x-color", HeaderMatchSpecifier::PresentMatch(true), true),
        "/",
        &[]
    ));
}

#[test]
fn ranges_are_half_open() {
    let range = || {
        on_header(
            "x-age",
            HeaderMatchSpecifier::RangeMatch(Int64Range { start: 1, end: 10 }),
            false,
        )
    };
    assert!(matches(range(), "/", &[("x-age", "1")]));
    assert!(!matches(range(), "/", &[("x-age", "10")]));
    assert!(!matches(range(), "/", &[("x-age", "five")]));
}

#[test]
fn repeated_headers_are_compared_joined() {
    let exact = || {
        on_header(
            "x-list",
            HeaderMatchSpecifier::ExactMatch("a,b".to_owned()),
            false,
        )
    };
    assert!(matches(exact(), "/", &[("x-list", "a"), ("x-list", "b")]));
}

#[test]
fn query_parameters_must_all_match() {
    use proto::query_parameter_matcher::QueryParameterMatchSpecifier as Spec;
    let exact = text::StringMatcher {
        match_pattern: Some(text::string_matcher::MatchPattern::Exact("1".to_owned())),
        ..Default::default()
    };
    let value = || proto::RouteMatch {
        query_parameters: vec![
            proto::QueryParameterMatcher {
                name: "v".to_owned(),
                query_parameter_match_specifier: Some(Spec::StringMatch(exact.clone())),
            },
            proto::QueryParameterMatcher {
                name: "flag".to_owned(),
                query_parameter_match_specifier: None,
            },
        ],
        ..on_path(PathSpecifier::Prefix("/".to_owned()))
    };
    assert!(matches(value(), "/?v=1&flag", &[]));
    assert!(!matches(value(), "/?v=1", &[]));
    assert!(!matches(value(), "/?v=2&flag", &[]));
}

#[test]
fn grpc_is_told_by_content_type() {
    let grpc = || proto::RouteMatch {
        grpc: Some(Default::default()),
        ..on_path(PathSpecifier::Prefix("/".to_owned()))
    };
    assert!(matches(
        grpc(),
        "/",
        &[("content-type", "application/grpc+proto")]
    ));
    assert!(!matches(
        grpc(),
        "/",
        &[("content-type", "application/grpc-web")]
    ));
}
