//! Fields that public walkthroughs carry although no type ever had them.
//!
//! Kubernetes pruned them, so those manifests worked; refusing them would break them. They are warnings
//! whatever the strictness.

/// Kind, path with `[*]` for every item, and why it means nothing.
const STRAYS: [(&str, &str, &str); 4] = [
    (
        "VirtualRouter",
        "spec.routes[*].tcpRoute.match.prefix",
        "a tcpRoute cannot match a path; the field is ignored",
    ),
    (
        "VirtualNode",
        "spec.backendDefaults.clientPolicy.tls.mode",
        "a client policy has no mode; enforce says whether TLS is required, and the field is ignored",
    ),
    (
        "VirtualNode",
        "spec.backends[*].virtualService.clientPolicy.tls.mode",
        "a client policy has no mode; enforce says whether TLS is required, and the field is ignored",
    ),
    (
        "VirtualGateway",
        "spec.backendDefaults.clientPolicy.tls.mode",
        "a client policy has no mode; enforce says whether TLS is required, and the field is ignored",
    ),
];

/// Why a known stray means nothing; `None` for any other field. `pattern` has `[*]` for every item.
pub(super) fn meaning(kind: &str, pattern: &str) -> Option<&'static str> {
    STRAYS
        .iter()
        .find(|(known, path, _)| *known == kind && *path == pattern)
        .map(|(.., meaning)| *meaning)
}
