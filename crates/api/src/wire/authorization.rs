//! What a signature says about its caller. It is read, not checked: see the crate's documentation.

use super::{Door, Failure, percent};
use http::{StatusCode, header, request::Parts};
use std::borrow::Cow;

/// The credential scope of a signature (facts/aws-wire.md §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) access_key: String,
    pub(crate) region: String,
}

/// Why a request is not taken as from anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The signature cannot be read.
    Incomplete(String),
    /// It was made for another service.
    WrongService(&'static str),
}

impl Refusal {
    /// The door's error for it (facts/aws-wire.md §2, "Error codes by failure").
    pub(crate) fn at(self, door: Door) -> Failure {
        match (self, door) {
            (Refusal::Incomplete(why), Door::Sts) => Failure::bad("IncompleteSignature", why),
            (Refusal::Incomplete(why), _) => Failure::bad("IncompleteSignatureException", why),
            (Refusal::WrongService(service), door) => {
                let (status, code) = match door {
                    Door::CloudMap => (StatusCode::BAD_REQUEST, "InvalidSignatureException"),
                    Door::AppMesh => (StatusCode::FORBIDDEN, "InvalidSignatureException"),
                    Door::Sts => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
                };
                let message =
                    format!("Credential should be scoped to correct service: '{service}'");
                Failure::new(status, code, message)
            }
        }
    }
}

/// The credential of a request, from its `Authorization` header or from a presigned query. None when it
/// carries neither.
pub(crate) fn credential(request: &Parts, door: Door) -> Result<Option<Credential>, Refusal> {
    let incomplete = |why: &str| Refusal::Incomplete(why.to_owned());
    let scope: Cow<'_, str> = if let Some(header) = request.headers.get(header::AUTHORIZATION) {
        let header = header
            .to_str()
            .map_err(|_| incomplete("the Authorization header is not text"))?;
        Cow::Borrowed(scope_of_header(header)?)
    } else {
        let query = request.uri.query().unwrap_or_default();
        match percent::query_value(query, "X-Amz-Credential") {
            Some(scope) => scope,
            None => return Ok(None),
        }
    };
    let parts: Vec<&str> = scope.split('/').collect();
    let [access_key, date, region, service, "aws4_request"] = parts.as_slice() else {
        return Err(incomplete(
            "the credential is not <access key>/<date>/<region>/<service>/aws4_request",
        ));
    };
    if access_key.is_empty() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Err(incomplete("the credential has no access key or no date"));
    }
    if *service != door.service() {
        return Err(Refusal::WrongService(door.service()));
    }
    Ok(Some(Credential {
        access_key: (*access_key).to_owned(),
        region: (*region).to_owned(),
    }))
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`; commas with or without blanks.
fn scope_of_header(header: &str) -> Result<&str, Refusal> {
    let incomplete = |why: &str| Err(Refusal::Incomplete(why.to_owned()));
    let Some(rest) = header.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return incomplete("the Authorization header does not start with AWS4-HMAC-SHA256");
    };
    let member = |name: &str| {
        rest.split(',')
            .find_map(|item| item.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let (Some(scope), Some(headers), Some(signature)) = (
        member("Credential"),
        member("SignedHeaders"),
        member("Signature"),
    ) else {
        return incomplete(
            "the Authorization header needs Credential, SignedHeaders and Signature",
        );
    };
    if headers.is_empty() {
        return incomplete("the Authorization header signs no headers");
    }
    if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
        return incomplete("the signature is not 64 hexadecimal digits");
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(authorization: &str) -> Result<Option<Credential>, Refusal> {
        let request = Request::get("/v20190125/meshes")
            .header("Authorization", authorization)
            .body(())
            .expect("a legal request");
        credential(&request.into_parts().0, Door::AppMesh)
    }

    fn header(scope: &str) -> String {
        let signature = "0f".repeat(32);
        format!(
            "AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    #[test]
    fn region_and_key_come_from_the_scope() {
        let credential = read(&header("AKID/20260101/eu-north-1/appmesh/aws4_request"));
        let expected = Credential {
            access_key: "AKID".into(),
            region: "eu-north-1".into(),
        };
        assert_eq!(credential, Ok(Some(expected)));
    }

    #[test]
    fn a_scope_for_another_service_is_refused() {
        let refusal = read(&header("AKID/20260101/here/sts/aws4_request")).expect_err("wrong");
        let failure = refusal.at(Door::AppMesh);
        assert_eq!(failure.status, StatusCode::FORBIDDEN);
        assert!(failure.message.ends_with("'appmesh'"));
    }

    #[test]
    fn unreadable_signatures_are_refused() {
        for broken in [
            "Bearer abc",
            "AWS4-HMAC-SHA256 Credential=a/20260101/r/appmesh/aws4_request",
            &header("a/2026/r/appmesh/aws4_request"),
            &header("a/b/20260101/r/appmesh/aws4_request"),
            &header("/20260101/r/appmesh/aws4_request"),
            &header("a/20260101/r/appmesh/aws4"),
            &header("a/20260101/r/appmesh/aws4_request").replace("0f0f", "xy"),
        ] {
            assert!(
                matches!(read(broken), Err(Refusal::Incomplete(_))),
                "{broken}"
            );
        }
    }

    #[test]
    fn a_presigned_query_names_the_caller() {
        let uri = "/?Action=GetCallerIdentity&X-Amz-Credential=AKID%2F20260101%2Fhere%2Fsts%2Faws4_request";
        let request = Request::get(uri).body(()).expect("legal").into_parts().0;
        let credential = credential(&request, Door::Sts).expect("readable");
        assert_eq!(credential.map(|c| c.region).as_deref(), Some("here"));
    }
}
