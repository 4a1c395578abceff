//! The status that is written into an object (`facts/controller.md` §1): ARNs, one condition, and the observed
//! generation.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tombolo_kube::crd::Kind;

use crate::ApiError;

/// The condition of a virtual node that is there only while pods of it cannot be registered in Cloud Map.
const PODS_REGISTERED: &str = "PodsRegistered";

/// The state of an object in the mesh API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `metadata.generation` of the object that was reconciled.
    pub generation: Option<i64>,
    /// The ARN of its resource, once the resource exists.
    pub arn: Option<String>,
    /// The ARN of each route of a virtual router, by route name.
    pub routes: BTreeMap<String, String>,
    /// The reason why it is not active. Without one, and with an ARN, it is active.
    pub problem: Option<Problem>,
    /// Why pods of a virtual node are not registered in Cloud Map. It says nothing about the resource.
    pub registry: Option<Problem>,
}

/// The reason why an object is not active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The machine-readable reason.
    pub reason: Reason,
    /// The human-readable message.
    pub message: String,
}

/// The reasons of a condition that is not `True`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not tried yet.
    Pending,
    /// The object refers to a missing one, or cannot be converted for another reason.
    InvalidReference,
    /// Another cluster, or another controller, has a different resource of the same name.
    Conflict,
    /// The object is being deleted and waits for its members to go.
    PendingMembersDeletion,
    /// The API rejected the call.
    Refused,
    /// The controller may not make the call.
    AccessDenied,
    /// The API does not answer.
    Unreachable,
    /// The Kubernetes API server did not take the finalizers that come before the resource.
    FinalizersNotAdded,
    /// The address of a pod is registered for another virtual node or cluster.
    AddressTaken,
    /// A bug in the controller.
    InternalError,
}

impl Reason {
    /// The `reason` of the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InvalidReference => "InvalidReference",
            Self::Conflict => "Conflict",
            Self::PendingMembersDeletion => "PendingMembersDeletion",
            Self::Refused => "Refused",
            Self::AccessDenied => "AccessDenied",
            Self::Unreachable => "Unreachable",
            Self::FinalizersNotAdded => "FinalizersNotAdded",
            Self::AddressTaken => "AddressTaken",
            Self::InternalError => "InternalError",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<&ApiError> for Problem {
    fn from(error: &ApiError) -> Self {
        let reason = match error {
            ApiError::Unreachable(_) => Reason::Unreachable,
            ApiError::Denied(_) => Reason::AccessDenied,
            _ => Reason::Refused,
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }
}

impl Status {
    /// Whether the object is active: its resource exists with the desired spec.
    pub fn is_active(&self) -> bool {
        self.problem.is_none() && self.arn.is_some()
    }

    /// The `status` of an object of this kind. `old` is the present status: the time of the last transition is kept
    /// if the condition did not change.
    pub fn to_json(&self, kind: Kind, old: Option<&Value>, now: Timestamp) -> Value {
        let name = kind.name();
        let word = if self.is_active() { "True" } else { "False" };
        let old_conditions = old
            .and_then(|old| old.get("conditions")?.as_array().cloned())
            .unwrap_or_default();
        let old = old_conditions.first();
        let unchanged = old.filter(|old| old.get("status").and_then(Value::as_str) == Some(word));
        let since = unchanged.and_then(|old| old.get("lastTransitionTime").cloned());
        let pending = || Problem {
            reason: Reason::Pending,
            message: "waiting for the mesh API".to_owned(),
        };
        let problem = (!self.is_active()).then(|| self.problem.clone().unwrap_or_else(pending));
        let mut condition = json!({
            "type": format!("{name}Active"),
            "status": word,
            "lastTransitionTime": since.unwrap_or_else(|| json!(Time(now))),
        });
        if let Some(Problem { reason, message }) = problem {
            condition["reason"] = reason.as_str().into();
            condition["message"] = message.into();
        }
        let mut conditions = vec![condition];
        if let Some(Problem { reason, message }) = &self.registry {
            let old = old_conditions
                .iter()
                .find(|old| old.get("type").and_then(Value::as_str) == Some(PODS_REGISTERED));
            let since = old.and_then(|old| old.get("lastTransitionTime").cloned());
            conditions.push(json!({
                "type": PODS_REGISTERED,
                "status": "False",
                "lastTransitionTime": since.unwrap_or_else(|| json!(Time(now))),
                "reason": reason.as_str(),
                "message": message,
            }));
        }
        let mut status = json!({ "conditions": conditions });
        if let Some(generation) = self.generation {
            status["observedGeneration"] = generation.into();
        }
        if let Some(arn) = &self.arn {
            status[arn_field(kind)] = arn.as_str().into();
        }
        if !self.routes.is_empty() {
            status["routeARNs"] = json!(self.routes);
        }
        status
    }
}

/// The member of the status that holds the ARN of an object of this kind: `virtualNodeARN`.
pub(crate) fn arn_field(kind: Kind) -> String {
    let name = kind.name();
    format!("{}{}ARN", name[..1].to_ascii_lowercase(), &name[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn active() -> Status {
        Status {
            generation: Some(3),
            arn: Some("arn:x".to_owned()),
            ..Status::default()
        }
    }

    #[test]
    fn each_kind_has_its_own_name_for_the_arn() {
        for (kind, field) in [
            (Kind::Mesh, "meshARN"),
            (Kind::VirtualNode, "virtualNodeARN"),
            (Kind::VirtualRouter, "virtualRouterARN"),
            (Kind::VirtualService, "virtualServiceARN"),
            (Kind::VirtualGateway, "virtualGatewayARN"),
            (Kind::GatewayRoute, "gatewayRouteARN"),
        ] {
            let mut expected = json!({
                "conditions": [{
                    "type": format!("{kind}Active"),
                    "status": "True",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                }],
                "observedGeneration": 3,
                "routeARNs": {"r": "arn:r"},
            });
            expected[field] = "arn:x".into();
            let status = Status {
                routes: BTreeMap::from([("r".to_owned(), "arn:r".to_owned())]),
                ..active()
            };
            assert_eq!(status.to_json(kind, None, Timestamp::UNIX_EPOCH), expected);
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_condition() {
        let second = Timestamp::from_second(60).unwrap();
        let first = active().to_json(Kind::Mesh, None, Timestamp::UNIX_EPOCH);
        let same = active().to_json(Kind::Mesh, Some(&first), second);
        assert_eq!(same, first);
        let failed = Status {
            problem: Some(Problem {
                reason: Reason::Refused,
                message: "no".to_owned(),
            }),
            ..active()
        };
        let failed = failed.to_json(Kind::Mesh, Some(&first), second);
        assert_eq!(
            failed["conditions"][0]["lastTransitionTime"],
            "1970-01-01T00:01:00Z"
        );
        assert_eq!(failed["conditions"][0]["reason"], "Refused");
        assert_eq!(failed["meshARN"], "arn:x");
    }
}
