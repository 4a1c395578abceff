//! Where the schema of a kind is not that of its types.
//!
//! Types are shared between kinds and with the App Mesh API, and their rules are in places stricter than AWS's schema.
//! The schema decides which stored objects can be written again, so it is AWS's; the webhook has the stricter rules.

use std::ops::RangeInclusive;

use tombolo_model::appmesh::spec::retry::HTTP_RETRY_EVENTS;
use tombolo_model::schema::Schema;

use super::super::Kind;

enum Change {
    /// The map does not have this member, or the text is not this word.
    Without(&'static str),
    /// The map must have these members.
    Required(&'static [&'static str]),
    /// The map need not have this member.
    Optional(&'static str),
    /// The text is one of these words.
    Words(&'static [&'static str]),
    /// Other bounds.
    Within(RangeInclusive<i64>),
    /// A text of any length.
    AnyLength,
}

/// Kind (or all), the end of the path below `spec`, and what is different there.
const CHANGES: &[(Option<Kind>, &str, Change)] = {
    use Change::{AnyLength, Optional, Required, Within, Without, Words};
    use Kind::{Mesh, VirtualGateway, VirtualNode, VirtualRouter};
    const DURATION: Change = Required(&["unit", "value"]);
    const AT_LEAST_ONE: Change = Within(1..=i64::MAX);
    &[
        // Members and words that exist in the API, or in another kind.
        (
            Some(Mesh),
            "ipPreference",
            Words(&["IPv6_ONLY", "IPv4_ONLY"]),
        ),
        (Some(VirtualGateway), "portMapping.protocol", Without("tcp")),
        (Some(VirtualGateway), "healthCheck.protocol", Without("tcp")),
        (Some(VirtualGateway), "connectionPool", Without("tcp")),
        (
            Some(VirtualNode),
            "listeners[].tls.validation.trust",
            Without("acm"),
        ),
        (
            Some(VirtualRouter),
            "httpRoute.retryPolicy",
            Without("grpcRetryEvents"),
        ),
        (
            Some(VirtualRouter),
            "http2Route.retryPolicy",
            Without("grpcRetryEvents"),
        ),
        (
            Some(VirtualRouter),
            "httpRetryEvents[]",
            Words(&HTTP_RETRY_EVENTS),
        ),
        // Optional in the API, or a union with one member.
        (
            Some(VirtualNode),
            "backends[]",
            Required(&["virtualService"]),
        ),
        (None, "perRetryTimeout", DURATION),
        (None, "perRequest", DURATION),
        (None, "idle", DURATION),
        (None, "interval", DURATION),
        (None, "baseEjectionDuration", DURATION),
        // Looser than the API, which refuses the object later.
        (
            Some(VirtualGateway),
            "healthCheck",
            Optional("healthyThreshold"),
        ),
        (None, "maxConnections", AT_LEAST_ONE),
        (None, "maxPendingRequests", AT_LEAST_ONE),
        (None, "maxRequests", AT_LEAST_ONE),
        (None, "json[].key", AT_LEAST_ONE),
        (None, "json[].value", AT_LEAST_ONE),
        (None, "dns.hostname", AnyLength),
        (None, "target.port", Within(0..=i64::MAX)),
        (None, "tcpRoute.match.port", Within(0..=i64::MAX)),
        // An item of a list whose type has no bounds.
        (None, "tls.ports[]", Within(1..=65535)),
    ]
};

/// Applies to the schema of a kind's spec what is different.
pub(super) fn apply(kind: Kind, spec: &mut Schema) {
    walk(kind, &mut String::from("spec"), spec);
}

fn walk(kind: Kind, path: &mut String, schema: &mut Schema) {
    for (of, end, change) in CHANGES {
        let is_here = path
            .strip_suffix(end)
            .is_some_and(|head| head.ends_with('.'));
        if is_here && of.is_none_or(|of| of == kind) {
            change.apply(schema);
        }
    }
    let length = path.len();
    match schema {
        Schema::Object(members) => {
            for member in members {
                path.push('.');
                path.push_str(&member.key);
                walk(kind, path, &mut member.schema);
                path.truncate(length);
            }
        }
        Schema::List { items, .. } => {
            path.push_str("[]");
            walk(kind, path, items);
            path.truncate(length);
        }
        _ => {}
    }
}

impl Change {
    fn apply(&self, schema: &mut Schema) {
        match (self, schema) {
            (Self::Without(name), Schema::Object(members)) => {
                members.retain(|member| member.key != *name);
            }
            (Self::Without(word), Schema::Text { values, .. }) => values.retain(|it| it != word),
            (Self::Required(names), Schema::Object(members)) => {
                for member in members {
                    member.is_required |= names.contains(&member.key.as_str());
                }
            }
            (Self::Optional(name), Schema::Object(members)) => {
                for member in members {
                    member.is_required &= member.key != *name;
                }
            }
            (Self::Words(words), Schema::Text { values, .. }) => *values = words.to_vec(),
            (Self::Within(bounds), schema) => *schema = schema.clone().within(bounds.clone()),
            (Self::AnyLength, Schema::Text { length, .. }) => *length = None,
            _ => unreachable!("a change of the table fits the type at its path"),
        }
    }
}
