//! What is written back into an object (`facts/controller.md` §1): ARNs, one condition, and the generation they are about.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tombolo_kube::crd::{Condition, Kind};

use crate::ApiError;

/// The state of an object in the mesh API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `metadata.generation` of the object that was reconciled.
    pub generation: Option<i64>,
    /// The ARN of its resource, once that exists.
    pub arn: Option<String>,
    /// The ARN of each route of a virtual router, by route name.
    pub routes: BTreeMap<String, String>,
    /// Why it is not active. Without one, and with an ARN, it is.
    pub problem: Option<Problem>,
}

/// Why an object is not active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One word for machines.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
}

/// The reasons of a condition that is not `True`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was not tried yet.
    Pending,
    /// The object refers to one that is not there, or cannot be converted for another reason.
    InvalidReference,
    /// Another cluster, or another controller, has a different resource of the same name.
    Conflict,
    /// The API refused the call.
    Refused,
    /// The API does not answer.
    Unreachable,
    /// The controller failed.
    InternalError,
}

impl Reason {
    /// The word in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::InvalidReference => "InvalidReference",
            Self::Conflict => "Conflict",
            Self::Refused => "Refused",
            Self::Unreachable => "Unreachable",
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
            _ => Reason::Refused,
        };
        Self {
            reason,
            message: error.to_string(),
        }
    }
}

impl Status {
    /// Whether the object is in the mesh as it asks to be.
    pub fn is_active(&self) -> bool {
        self.problem.is_none() && self.arn.is_some()
    }

    /// The `status` of an object of this kind. `old` is the status that the object has: the time of the last transition
    /// is kept where the condition did not change.
    pub fn to_json(&self, kind: Kind, old: Option<&Value>, now: Timestamp) -> Value {
        let name = kind.name();
        let word = if self.is_active() { "True" } else { "False" };
        let old = old.and_then(|old| old.pointer("/conditions/0"));
        let unchanged = old.filter(|old| old.get("status").and_then(Value::as_str) == Some(word));
        let since = unchanged
            .and_then(|old| serde_json::from_value(old.get("lastTransitionTime")?.clone()).ok())
            .unwrap_or(Time(now));
        let pending = || Problem {
            reason: Reason::Pending,
            message: "waiting for the mesh API".to_owned(),
        };
        let problem = (!self.is_active()).then(|| self.problem.clone().unwrap_or_else(pending));
        let condition = Condition {
            condition_type: format!("{name}Active"),
            status: word.to_owned(),
            last_transition_time: Some(since),
            reason: problem
                .as_ref()
                .map(|problem| problem.reason.as_str().to_owned()),
            message: problem.map(|problem| problem.message),
        };
        let mut status = json!({ "conditions": [condition] });
        if let Some(generation) = self.generation {
            status["observedGeneration"] = generation.into();
        }
        if let Some(arn) = &self.arn {
            let mut field = name[..1].to_ascii_lowercase();
            field.push_str(&name[1..]);
            field.push_str("ARN");
            status[field] = arn.as_str().into();
        }
        if !self.routes.is_empty() {
            status["routeARNs"] = json!(self.routes);
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_kube::crd;

    fn active() -> Status {
        Status {
            generation: Some(3),
            arn: Some("arn:x".to_owned()),
            ..Status::default()
        }
    }

    /// The fields are those of the typed status: nothing that is written is lost when it is read.
    #[test]
    fn each_kind_reads_back_what_is_written() {
        fn read_back<T: serde::Serialize + serde::de::DeserializeOwned>(written: &Value) -> Value {
            let typed: T = serde_json::from_value(written.clone()).unwrap();
            serde_json::to_value(typed).unwrap()
        }
        let now = Timestamp::UNIX_EPOCH;
        type ReadBack = fn(&Value) -> Value;
        let cases: [(Kind, ReadBack); 6] = [
            (Kind::Mesh, read_back::<crd::MeshStatus>),
            (Kind::VirtualNode, read_back::<crd::VirtualNodeStatus>),
            (Kind::VirtualRouter, read_back::<crd::VirtualRouterStatus>),
            (Kind::VirtualService, read_back::<crd::VirtualServiceStatus>),
            (Kind::VirtualGateway, read_back::<crd::VirtualGatewayStatus>),
            (Kind::GatewayRoute, read_back::<crd::GatewayRouteStatus>),
        ];
        for (kind, read_back) in cases {
            let written = active().to_json(kind, None, now);
            assert_eq!(read_back(&written), written, "{kind}");
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
