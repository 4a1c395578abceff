//! TLS settings in specs that proxies do not support yet.

use super::{
    Spec,
    tls::{BackendDefaults, ClientPolicy, ListenerTls, TlsMode},
};

/// A setting of a spec that requires TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsGap {
    /// The path of the setting, which starts with `spec`.
    pub field: String,
    /// The behavior without TLS.
    pub message: &'static str,
}

const LISTENER: &str = "TLS is not supported yet: the listener serves plaintext";
const ENFORCED: &str =
    "TLS is not supported yet, and this policy enforces it: calls that it covers are refused";
const NOT_ENFORCED: &str =
    "TLS is not supported yet: calls that this policy covers go in plaintext";

/// Every part of a spec that asks for TLS. A policy enforces it unless it says otherwise
/// (facts/appmesh-api.md §4).
pub fn tls_gaps(spec: &Spec) -> Vec<TlsGap> {
    let mut gaps = Vec::new();
    match spec {
        Spec::VirtualNode(spec) => {
            for (i, listener) in spec.listeners().iter().enumerate() {
                of_listener(&mut gaps, i, listener.tls.as_ref());
            }
            of_defaults(&mut gaps, spec.backend_defaults.as_ref());
            for (i, backend) in spec.backends().enumerate() {
                let at = format!("spec.backends[{i}].virtualService.clientPolicy");
                of_policy(&mut gaps, at, backend.client_policy.as_ref());
            }
        }
        Spec::VirtualGateway(spec) => {
            for (i, listener) in spec.listeners.iter().enumerate() {
                of_listener(&mut gaps, i, listener.tls.as_ref());
            }
            of_defaults(&mut gaps, spec.backend_defaults.as_ref());
        }
        _ => {}
    }
    gaps
}

fn of_listener(gaps: &mut Vec<TlsGap>, index: usize, tls: Option<&ListenerTls>) {
    if tls.is_some_and(|tls| tls.mode != TlsMode::Disabled) {
        gaps.push(TlsGap {
            field: format!("spec.listeners[{index}].tls"),
            message: LISTENER,
        });
    }
}

fn of_defaults(gaps: &mut Vec<TlsGap>, defaults: Option<&BackendDefaults>) {
    let policy = defaults.and_then(|defaults| defaults.client_policy.as_ref());
    of_policy(gaps, "spec.backendDefaults.clientPolicy".into(), policy);
}

fn of_policy(gaps: &mut Vec<TlsGap>, at: String, policy: Option<&ClientPolicy>) {
    if let Some(tls) = policy.and_then(|policy| policy.tls.as_ref()) {
        gaps.push(TlsGap {
            field: format!("{at}.tls"),
            message: match tls.enforce {
                Some(false) => NOT_ENFORCED,
                Some(true) | None => ENFORCED,
            },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appmesh::Kind;
    use serde_json::{Value, json};

    fn policy(enforce: Value) -> Value {
        json!({"clientPolicy": {"tls": {
            "enforce": enforce,
            "validation": {"trust": {"file": {"certificateChain": "/ca.pem"}}},
        }}})
    }

    #[test]
    fn every_part_that_asks_for_tls_is_told_with_what_happens_instead() {
        let certificate = json!({"file": {"certificateChain": "/c.pem", "privateKey": "/k.pem"}});
        let listener = |mode: &str| {
            json!({
                "portMapping": {"port": 80, "protocol": "http"},
                "tls": {"mode": mode, "certificate": certificate},
            })
        };
        let mut backend = policy(json!(false));
        backend["virtualServiceName"] = json!("back");
        let spec = json!({
            "listeners": [listener("DISABLED"), listener("PERMISSIVE")],
            "backendDefaults": policy(Value::Null),
            "backends": [{"virtualService": {"virtualServiceName": "plain"}}, {"virtualService": backend}],
        });
        let spec = Spec::from_json(Kind::VirtualNode, spec).expect("a spec");
        let gaps: Vec<(String, &str)> = (tls_gaps(&spec).into_iter())
            .map(|gap| (gap.field, gap.message))
            .collect();
        assert_eq!(
            gaps,
            [
                ("spec.listeners[1].tls".into(), LISTENER),
                ("spec.backendDefaults.clientPolicy.tls".into(), ENFORCED),
                (
                    "spec.backends[1].virtualService.clientPolicy.tls".into(),
                    NOT_ENFORCED
                ),
            ]
        );
    }
}
