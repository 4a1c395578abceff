//! `AdmissionReview`: what the API server asks, and what it is answered. Versions v1 and v1beta1 differ in nothing that
//! is read or written here; the answer is of the version of the question.

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::patch;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) request: Option<Request>,
}

/// What is asked about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) uid: String,
    /// Empty for objects that live in none.
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) operation: Operation,
    /// The object as it would be; absent when it is deleted.
    pub(super) object: Option<Value>,
    /// The object as it is; absent when it is created.
    pub(super) old_object: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// Why a body is no question that can be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReviewError {
    #[error("not an AdmissionReview: {0}")]
    Malformed(#[source] serde_json::Error),
    #[error("{api_version} {kind} is not an AdmissionReview of admission.k8s.io/v1 or v1beta1")]
    Version { api_version: String, kind: String },
    #[error("the AdmissionReview has no request")]
    NoRequest,
}

impl Review {
    /// Reads the body of a call.
    pub(super) fn read(body: &[u8]) -> Result<(String, Request), ReviewError> {
        let review: Self = serde_json::from_slice(body).map_err(ReviewError::Malformed)?;
        let versions = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];
        if review.kind != "AdmissionReview" || !versions.contains(&review.api_version.as_str()) {
            return Err(ReviewError::Version {
                api_version: review.api_version,
                kind: review.kind,
            });
        }
        let request = review.request.ok_or(ReviewError::NoRequest)?;
        Ok((review.api_version, request))
    }
}

/// The answer.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// What the client shows to who sent the object.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Admitted after these changes; none: as it is.
    Admitted(Vec<patch::Operation>),
    /// Refused, with an HTTP status and a reason.
    Denied { code: u16, message: String },
}

/// Bytes of a warning: the API server cuts longer ones.
const MAX_WARNING: usize = 256;

impl Answer {
    pub(super) fn admitted() -> Self {
        Self::patched(Vec::new())
    }

    pub(super) fn patched(patch: Vec<patch::Operation>) -> Self {
        Self {
            outcome: Outcome::Admitted(patch),
            warnings: Vec::new(),
        }
    }

    pub(super) fn forbidden(message: impl ToString) -> Self {
        Self {
            outcome: Outcome::Denied {
                code: 403,
                message: message.to_string(),
            },
            warnings: Vec::new(),
        }
    }

    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self {
            outcome: Outcome::Denied {
                code: 400,
                message: message.to_string(),
            },
            warnings: Vec::new(),
        }
    }

    pub(super) fn with_warnings(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// The body of the answer to the question of this version and uid.
    pub(super) fn to_json(&self, api_version: &str, uid: &str) -> Value {
        let mut response = match &self.outcome {
            Outcome::Admitted(patch) if patch.is_empty() => json!({"allowed": true}),
            Outcome::Admitted(patch) => {
                let patch = serde_json::to_vec(patch).expect("operations are plain values");
                json!({"allowed": true, "patchType": "JSONPatch", "patch": BASE64.encode(&patch)})
            }
            Outcome::Denied { code, message } => {
                let reason = if *code == 403 {
                    "Forbidden"
                } else {
                    "BadRequest"
                };
                let status = json!({"code": code, "reason": reason, "message": message});
                json!({"allowed": false, "status": status})
            }
        };
        response["uid"] = json!(uid);
        if !self.warnings.is_empty() {
            let cut = |text: &String| {
                let end = text.floor_char_boundary(MAX_WARNING);
                text[..end].to_owned()
            };
            response["warnings"] = self.warnings.iter().map(cut).collect();
        }
        json!({"apiVersion": api_version, "kind": "AdmissionReview", "response": response})
    }
}
