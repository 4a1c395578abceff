//! Parses the signature of a request, without verification.

use super::{ALGORITHM, AuthError, TERMINATOR};
use crate::wire::percent;
use http::{HeaderMap, header, request::Parts};
use std::borrow::Cow;

/// The parsed signature of a request, from its `Authorization` header or from its query (presigned); not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The id of the access key.
    pub(crate) access_key: String,
    /// The date of the credential scope, such as `20260101`.
    pub(super) date: String,
    /// The region of the credential scope.
    pub(crate) region: String,
    /// The service of the credential scope.
    pub(crate) service: String,
    /// The names of the signed headers, such as `host;x-amz-date`.
    pub(super) signed_headers: String,
    /// 64 hexadecimal digits.
    pub(super) signature: String,
    /// Whether the signature is in the query.
    pub(super) is_presigned: bool,
}

impl Claim {
    /// Parses the signature of a request; `None` if it has none.
    pub(crate) fn read(request: &Parts) -> Result<Option<Self>, AuthError> {
        if let Some(header) = only(&request.headers, header::AUTHORIZATION.as_str())? {
            return Self::from_header(header).map(Some);
        }
        let query = request.uri.query().unwrap_or_default();
        if percent::query_value(query, "X-Amz-Algorithm").is_none()
            && percent::query_value(query, "X-Amz-Credential").is_none()
        {
            return Ok(None);
        }
        Self::from_query(query).map(Some)
    }

    /// Parses `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`; blanks after commas are optional.
    fn from_header(header: &str) -> Result<Self, AuthError> {
        let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
        check_algorithm(algorithm)?;
        let member = |name: &'static str| {
            let found = rest
                .split(',')
                .find_map(|item| item.trim().strip_prefix(name)?.strip_prefix('='));
            found.map(Cow::Borrowed).ok_or_else(|| {
                incomplete(format!("Authorization header requires '{name}' parameter."))
            })
        };
        Self::new(
            &member("Credential")?,
            &member("SignedHeaders")?,
            &member("Signature")?,
            false,
        )
    }

    fn from_query(query: &str) -> Result<Self, AuthError> {
        let member = |name: &'static str| {
            percent::query_value(query, name).ok_or_else(|| {
                incomplete(format!(
                    "AWS query-string parameters must include '{name}'."
                ))
            })
        };
        check_algorithm(&member("X-Amz-Algorithm")?)?;
        Self::new(
            &member("X-Amz-Credential")?,
            &member("X-Amz-SignedHeaders")?,
            &member("X-Amz-Signature")?,
            true,
        )
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: &str,
        is_presigned: bool,
    ) -> Result<Self, AuthError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, TERMINATOR] = parts.as_slice() else {
            return Err(incomplete(
                "Credential must have the form <access key>/<date>/<region>/<service>/aws4_request.",
            ));
        };
        if access_key.is_empty() || date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
            return Err(incomplete(
                "Credential must have an access key and a date of eight digits.",
            ));
        }
        if signed_headers.is_empty() {
            return Err(incomplete("SignedHeaders must name at least 'host'."));
        }
        if signature.len() != 64 || !signature.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(incomplete("Signature must have 64 hexadecimal digits."));
        }
        Ok(Self {
            access_key: (*access_key).to_owned(),
            date: (*date).to_owned(),
            region: (*region).to_owned(),
            service: (*service).to_owned(),
            signed_headers: signed_headers.to_owned(),
            signature: signature.to_owned(),
            is_presigned,
        })
    }

    /// A parameter of the signature: a header, or a query parameter if the request is presigned.
    pub(super) fn parameter<'a>(
        &self,
        request: &'a Parts,
        name: &str,
    ) -> Result<Option<Cow<'a, str>>, AuthError> {
        if self.is_presigned {
            let query = request.uri.query().unwrap_or_default();
            return Ok(percent::query_value(query, name));
        }
        Ok(only(&request.headers, name)?.map(Cow::Borrowed))
    }

    /// The session token of the request.
    pub(crate) fn token<'a>(&self, request: &'a Parts) -> Result<Option<Cow<'a, str>>, AuthError> {
        self.parameter(request, "X-Amz-Security-Token")
    }

    /// The credential scope: `20260101/us-west-2/appmesh/aws4_request`.
    pub(super) fn scope(&self) -> String {
        format!(
            "{}/{}/{}/{TERMINATOR}",
            self.date, self.region, self.service
        )
    }
}

/// The value of a header that may occur only once.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(incomplete(format!(
            "Header '{name}' is given more than once."
        )));
    }
    let value = value.to_str();
    value
        .map(Some)
        .map_err(|_| incomplete(format!("Header '{name}' is not text.")))
}

pub(super) fn incomplete(why: impl Into<String>) -> AuthError {
    AuthError::Incomplete(why.into())
}

fn check_algorithm(algorithm: &str) -> Result<(), AuthError> {
    match algorithm {
        ALGORITHM => Ok(()),
        "AWS4-ECDSA-P256-SHA256" => Err(incomplete(
            "SigV4a (AWS4-ECDSA-P256-SHA256) is not supported here; sign with AWS4-HMAC-SHA256.",
        )),
        _ => Err(incomplete(format!(
            "Unsupported AWS 'algorithm': '{algorithm}'; sign with {ALGORITHM}."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(authorization: &str) -> Result<Option<Claim>, AuthError> {
        let request = Request::get("/v20190125/meshes").header("Authorization", authorization);
        Claim::read(&request.body(()).expect("a legal request").into_parts().0)
    }

    fn header(scope: &str) -> String {
        let signature = "0f".repeat(32);
        format!(
            "AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    #[test]
    fn region_and_key_come_from_the_scope() {
        let claim = read(&header("AKID/20260101/eu-north-1/appmesh/aws4_request"));
        let claim = claim.expect("readable").expect("there");
        assert_eq!(claim.access_key, "AKID");
        assert_eq!(claim.scope(), "20260101/eu-north-1/appmesh/aws4_request");
        assert_eq!(claim.signed_headers, "host;x-amz-date");
    }

    #[test]
    fn unreadable_signatures_are_refused() {
        for broken in [
            "",
            "Bearer abc",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/20260101/r/appmesh/aws4_request",
            "AWS4-HMAC-SHA256 Credential=a/20260101/r/appmesh/aws4_request, SignedHeaders=, Signature=0",
            &header("a/2026/r/appmesh/aws4_request"),
            &header("a/b/20260101/r/appmesh/aws4_request"),
            &header("/20260101/r/appmesh/aws4_request"),
            &header("a/20260101/r/appmesh/aws4"),
            &header("a/20260101/r/appmesh/aws4_request").replace("0f0f", "xy"),
        ] {
            assert!(
                matches!(read(broken), Err(AuthError::Incomplete(_))),
                "{broken}"
            );
        }
    }

    #[test]
    fn the_asymmetric_algorithm_is_refused_by_name() {
        let header = header("a/20260101/appmesh/aws4_request");
        let Err(AuthError::Incomplete(why)) =
            read(&header.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"))
        else {
            panic!("it is not supported");
        };
        assert!(why.contains("SigV4a"), "{why}");
    }

    #[test]
    fn a_presigned_query_names_the_caller() {
        let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host\
                     &X-Amz-Credential=AKID%2F20260101%2Fhere%2Fsts%2Faws4_request";
        let signature = "0f".repeat(32);
        let read = |query: &str| {
            let request = Request::get(format!("/?Action=GetCallerIdentity&{query}"));
            Claim::read(&request.body(()).expect("legal").into_parts().0)
        };
        let claim = read(&format!("{query}&X-Amz-Signature={signature}"));
        let claim = claim.expect("readable").expect("there");
        assert_eq!((claim.region.as_str(), claim.is_presigned), ("here", true));
        assert!(matches!(read(query), Err(AuthError::Incomplete(_))));
        assert_eq!(read("X-Amz-Expires=1"), Ok(None));
    }

    #[test]
    fn two_signatures_are_none() {
        let header = header("a/20260101/r/appmesh/aws4_request");
        let request = Request::get("/")
            .header("Authorization", &header)
            .header("Authorization", &header);
        let request = request.body(()).expect("legal").into_parts().0;
        assert!(matches!(
            Claim::read(&request),
            Err(AuthError::Incomplete(_))
        ));
    }
}
