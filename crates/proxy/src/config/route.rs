//! `RouteConfiguration`: selects the virtual host of a request, and one of its routes.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as proto;

use super::action::{self, Action};
use super::error::{ConfigResult, ErrorContext, ensure, reject_set};
use super::field::{Wrapped, field};
use super::matcher::{Match, RequestView};
use super::mutation::{Mutation, mutations};
use super::retry::RetryPolicy;

#[derive(Debug)]
pub(crate) struct RouteTable {
    pub(crate) name: Arc<str>,
    /// The routes of each virtual host.
    hosts: Vec<Vec<Arc<Route>>>,
    domains: Domains,
    ignore_port: bool,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) matcher: Match,
    pub(crate) action: Action,
    /// The mutations of the route, its virtual host and its table, in the order of application (most specific first).
    pub(crate) request_mutations: Vec<Arc<Mutation>>,
    pub(crate) response_mutations: Vec<Arc<Mutation>>,
    pub(crate) attempt_count_to_upstream: bool,
    pub(crate) attempt_count_to_client: bool,
}

/// Domains in Envoy's search order: exact, longest suffix wildcard, longest prefix wildcard, any.
#[derive(Debug, Default)]
struct Domains {
    exact: HashMap<String, usize>,
    /// `*.example.test`, kept without the star, longest first.
    suffix: Vec<(String, usize)>,
    /// `example.*`, kept without the star, longest first.
    prefix: Vec<(String, usize)>,
    any: Option<usize>,
}

/// Settings that routes inherit from their virtual host and their table.
struct Inherited {
    request: Vec<Arc<Mutation>>,
    response: Vec<Arc<Mutation>>,
    retry: Option<Arc<RetryPolicy>>,
    buffer_limit: Option<u64>,
    to_upstream: bool,
    to_client: bool,
    most_specific_wins: bool,
}

pub(crate) fn compile(table: &proto::RouteConfiguration) -> ConfigResult<RouteTable> {
    reject_set!(table;
        vhds, cluster_specifier_plugins, request_mirror_policies, typed_per_filter_config, vhost_header,
        ignore_path_parameters_in_path_matching, internal_only_headers, route_specifiers,
    );
    let mutations = mutations!(table);
    let outer = (Arc::new(mutations.request), Arc::new(mutations.response));
    let mut domains = Domains::default();
    let mut hosts = Vec::with_capacity(table.virtual_hosts.len());
    for (index, host) in table.virtual_hosts.iter().enumerate() {
        let location = || format!("virtual_hosts[{}]", host.name);
        for domain in &host.domains {
            domains.insert(domain, index).context(location())?;
        }
        hosts.push(virtual_host(table, host, &outer).context(location())?);
    }
    domains.sort();
    Ok(RouteTable {
        name: table.name.as_str().into(),
        hosts,
        domains,
        ignore_port: table.ignore_port_in_host_matching,
    })
}

fn virtual_host(
    table: &proto::RouteConfiguration,
    host: &proto::VirtualHost,
    (table_request, table_response): &(Arc<Mutation>, Arc<Mutation>),
) -> ConfigResult<Vec<Arc<Route>>> {
    reject_set!(host;
        matcher, require_tls, rate_limits, cors, typed_per_filter_config, hedge_policy, retry_policy_typed_config,
        request_mirror_policies, include_is_timeout_retry_header, route_specifiers,
    );
    ensure(
        !host.domains.is_empty(),
        "domains",
        "must name at least one domain",
    )?;
    let mutations = mutations!(host);
    let inherited = Inherited {
        request: vec![Arc::new(mutations.request), table_request.clone()],
        response: vec![Arc::new(mutations.response), table_response.clone()],
        retry: field!(host.retry_policy)
            .compile(RetryPolicy::compile)?
            .map(Arc::new),
        buffer_limit: buffer_limit(
            host.request_body_buffer_limit.value(),
            host.per_request_buffer_limit_bytes.value(),
        ),
        to_upstream: host.include_request_attempt_count,
        to_client: host.include_attempt_count_in_response,
        most_specific_wins: table.most_specific_header_mutations_wins,
    };
    field!(host.routes).each(|route| Ok(Arc::new(compile_route(route, &inherited)?)))
}

/// The newer of two fields takes precedence.
fn buffer_limit(newer: Option<u64>, older: Option<u32>) -> Option<u64> {
    newer.or(older.map(u64::from))
}

fn compile_route(route: &proto::Route, inherited: &Inherited) -> ConfigResult<Route> {
    reject_set!(route; typed_per_filter_config, route_specifiers);
    let matcher = field!(route.r#match).required()?;
    let mutations = mutations!(route);
    let buffer_limit = buffer_limit(
        route.request_body_buffer_limit.value(),
        route.per_request_buffer_limit_bytes.value(),
    )
    .or(inherited.buffer_limit);
    let levels = |own: Mutation, outer: &[Arc<Mutation>]| {
        let mut levels: Vec<_> = std::iter::once(Arc::new(own))
            .chain(outer.iter().cloned())
            .filter(|level| !level.is_empty())
            .collect();
        if inherited.most_specific_wins {
            levels.reverse();
        }
        levels
    };
    Ok(Route {
        name: route.name.as_str().into(),
        matcher: Match::compile(matcher).context("match")?,
        action: action::compile(
            route.action.as_ref(),
            inherited.retry.as_ref(),
            buffer_limit,
        )?,
        request_mutations: levels(mutations.request, &inherited.request),
        response_mutations: levels(mutations.response, &inherited.response),
        attempt_count_to_upstream: inherited.to_upstream,
        attempt_count_to_client: inherited.to_client,
    })
}

impl RouteTable {
    /// The first matching route of the request's virtual host.
    pub(crate) fn find(&self, request: &RequestView<'_>) -> Option<&Arc<Route>> {
        let host = self.domains.find(request.authority, self.ignore_port)?;
        let mut routes = self.hosts.get(host)?.iter();
        routes.find(|route| route.matcher.matches(request))
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.hosts.iter().flatten()
    }
}

impl Domains {
    fn insert(&mut self, domain: &str, host: usize) -> ConfigResult<()> {
        let domain = domain.to_ascii_lowercase();
        let is_new = if domain == "*" {
            self.any.replace(host).is_none()
        } else if let Some(suffix) = domain.strip_prefix('*') {
            insert_new(&mut self.suffix, suffix, host)
        } else if let Some(prefix) = domain.strip_suffix('*') {
            insert_new(&mut self.prefix, prefix, host)
        } else {
            self.exact.insert(domain.clone(), host).is_none()
        };
        ensure(
            is_new,
            "domains",
            format!("{domain:?} belongs to two virtual hosts"),
        )
    }

    /// Sorts wildcards into the order in which they are tried.
    fn sort(&mut self) {
        for wildcards in [&mut self.suffix, &mut self.prefix] {
            wildcards.sort_by_key(|(text, _)| Reverse(text.len()));
        }
    }

    fn find(&self, authority: &str, ignore_port: bool) -> Option<usize> {
        if self.exact.is_empty() && self.suffix.is_empty() && self.prefix.is_empty() {
            return self.any;
        }
        let authority = if ignore_port {
            without_port(authority)
        } else {
            authority
        };
        let authority: Cow<'_, str> = if authority.bytes().any(|b| b.is_ascii_uppercase()) {
            authority.to_ascii_lowercase().into()
        } else {
            authority.into()
        };
        let authority = &*authority;
        if let Some(host) = self.exact.get(authority) {
            return Some(*host);
        }
        // A wildcard matches at least one character.
        let longer = |text: &str| authority.len() > text.len();
        let mut suffixes = self.suffix.iter();
        let mut prefixes = self.prefix.iter();
        suffixes
            .find(|(suffix, _)| longer(suffix) && authority.ends_with(suffix.as_str()))
            .or_else(|| {
                prefixes
                    .find(|(prefix, _)| longer(prefix) && authority.starts_with(prefix.as_str()))
            })
            .map(|(_, host)| *host)
            .or(self.any)
    }
}

/// Inserts a wildcard; returns false if it exists already.
fn insert_new(wildcards: &mut Vec<(String, usize)>, text: &str, host: usize) -> bool {
    let is_new = wildcards.iter().all(|(known, _)| known != text);
    wildcards.push((text.to_owned(), host));
    is_new
}

/// The authority without `:port`; an IPv6 literal keeps its brackets.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(domains: &[&str], authority: &str, ignore_port: bool) -> Option<usize> {
        let mut compiled = Domains::default();
        for (index, domain) in domains.iter().enumerate() {
            compiled.insert(domain, index).expect("distinct");
        }
        compiled.sort();
        compiled.find(authority, ignore_port)
    }

    #[test]
    fn exact_beats_suffix_beats_prefix_beats_any() {
        let domains = ["*", "a.*", "*.test", "*.b.test", "a.b.test"];
        assert_eq!(find(&domains, "A.b.test", false), Some(4));
        assert_eq!(find(&domains, "x.b.test", false), Some(3));
        assert_eq!(find(&domains, "x.test", false), Some(2));
        assert_eq!(find(&domains, "a.example", false), Some(1));
        assert_eq!(find(&domains, "other", false), Some(0));
        assert_eq!(find(&["x"], "other", false), None);
    }

    #[test]
    fn ports_are_part_of_the_domain_unless_ignored() {
        assert_eq!(find(&["a.test"], "a.test:8080", false), None);
        assert_eq!(find(&["a.test"], "a.test:8080", true), Some(0));
        assert_eq!(find(&["a.test:8080"], "a.test:8080", false), Some(0));
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }

    #[test]
    fn one_domain_in_two_virtual_hosts_is_rejected() {
        let mut domains = Domains::default();
        domains.insert("a", 0).unwrap();
        assert!(domains.insert("A", 1).is_err());
    }
}
