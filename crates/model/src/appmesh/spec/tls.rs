//! TLS of listeners and of clients.

use super::references::{Names, References, Union, UnionOf, union};
use crate::validation::{Validate, Validator};
use serde::{Deserialize, Serialize};

/// How a listener uses TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ListenerTls<R: References = Names> {
    /// The certificate it presents.
    pub certificate: R::Union<ServerCertificate<R>>,
    /// Whether TLS is demanded.
    pub mode: TlsMode,
    /// How client certificates are checked; absent means they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation<R>>,
}

impl<R: References> Validate for ListenerTls<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("certificate", &self.certificate);
        validator.field("validation", &self.validation);
        let trust = self.validation.as_ref().and_then(|it| it.trust.get());
        // The schema takes it on gateways, and the original controller dropped it: clients went unchecked.
        if let Some(trust @ Trust::Acm(_)) = trust {
            validator.within("validation", |validator| {
                validator.within("trust", |validator| {
                    let message = "is not possible on a listener; use file or sds";
                    validator.deny(trust.member(), message);
                });
            });
        }
    }
}

/// Whether a listener demands TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// TLS only.
    Strict,
    /// TLS and plaintext.
    Permissive,
    /// Plaintext only.
    Disabled,
}

/// Where a listener's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum ServerCertificate<R: References = Names> {
    /// From a certificate manager.
    Acm(R::AcmCertificate),
    /// From files of the proxy.
    File(FileCertificate),
    /// From a secret discovery service.
    Sds(SdsSecret),
}

union!(ServerCertificate<R> { Acm: "acm", File: "file", Sds: "sds" });

/// Where a client's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCertificate {
    /// From files of the proxy.
    File(FileCertificate),
    /// From a secret discovery service.
    Sds(SdsSecret),
}

union!(ClientCertificate {
    File: "file",
    Sds: "sds"
});

/// A certificate of a certificate manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcmCertificate {
    /// Its ARN.
    pub certificate_arn: String,
}

impl Validate for AcmCertificate {
    fn validate(&self, _: &mut Validator) {}
}

/// A certificate chain and its key, as files in the proxy's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileCertificate {
    /// Path of the PEM chain; 1 to 255 characters.
    pub certificate_chain: String,
    /// Path of the PEM key; 1 to 255 characters.
    pub private_key: String,
}

impl Validate for FileCertificate {
    fn validate(&self, validator: &mut Validator) {
        validator.length("certificateChain", &self.certificate_chain, 1, 255);
        validator.length("privateKey", &self.private_key, 1, 255);
    }
}

/// A secret by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdsSecret {
    /// The name in the request to the secret discovery service.
    pub secret_name: String,
}

impl Validate for SdsSecret {
    fn validate(&self, validator: &mut Validator) {
        if validator.is_kubernetes() {
            validator.length("secretName", &self.secret_name, 1, usize::MAX);
        }
    }
}

/// How a peer's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct Validation<R: References = Names> {
    /// Authorities that may have signed it.
    pub trust: R::Union<Trust<R>>,
    /// Names of which it must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_alternative_names: Option<SubjectAlternativeNames>,
}

impl<R: References> Validate for Validation<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("trust", &self.trust);
        validator.field("subjectAlternativeNames", &self.subject_alternative_names);
    }
}

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub enum Trust<R: References = Names> {
    /// Authorities of a certificate manager.
    Acm(R::AcmTrust),
    /// A file of PEM certificates.
    File(FileTrust),
    /// A secret discovery service.
    Sds(SdsSecret),
}

union!(Trust<R> { Acm: "acm", File: "file", Sds: "sds" });

/// Authorities of a certificate manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcmTrust {
    /// 1 to 3 ARNs.
    pub certificate_authority_arns: Vec<String>,
}

impl Validate for AcmTrust {
    fn validate(&self, validator: &mut Validator) {
        let arns = &self.certificate_authority_arns;
        validator.items("certificateAuthorityArns", Some(arns), 1, 3);
    }
}

/// Authorities in a file of the proxy's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileTrust {
    /// Path of the PEM certificates; 1 to 255 characters.
    pub certificate_chain: String,
}

impl Validate for FileTrust {
    fn validate(&self, validator: &mut Validator) {
        validator.length("certificateChain", &self.certificate_chain, 1, 255);
    }
}

/// Whose a certificate may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAlternativeNames {
    /// How the names are compared.
    #[serde(rename = "match")]
    pub matcher: SubjectAlternativeNameMatch,
}

impl Validate for SubjectAlternativeNames {
    fn validate(&self, validator: &mut Validator) {
        validator.within("match", |validator| {
            validator.each("exact", &self.matcher.exact, |validator, name| {
                validator.length_here(name, 1, 254);
            });
        });
    }
}

/// Names of which one must be in the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAlternativeNameMatch {
    /// Exact names, 1 to 254 characters each.
    pub exact: Vec<String>,
}

/// What a client demands of the servers it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ClientPolicy<R: References = Names> {
    /// TLS demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientPolicyTls<R>>,
}

impl<R: References> Validate for ClientPolicy<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("tls", &self.tls);
    }
}

/// TLS demands of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct ClientPolicyTls<R: References = Names> {
    /// The certificate it presents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<R::Union<ClientCertificate>>,
    /// Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce: Option<bool>,
    /// For which ports; empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// How the server's certificate is checked.
    pub validation: Validation<R>,
}

impl<R: References> Validate for ClientPolicyTls<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("certificate", &self.certificate);
        let ports = self.ports.as_deref().unwrap_or_default();
        validator.each("ports", ports, |validator, port| {
            validator.range_here(*port, 1, 65535);
        });
        validator.field("validation", &self.validation);
    }
}

/// What applies to each backend without a policy of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", rename_all = "camelCase")]
pub struct BackendDefaults<R: References = Names> {
    /// The client policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_policy: Option<ClientPolicy<R>>,
}

impl<R: References> Validate for BackendDefaults<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("clientPolicy", &self.client_policy);
    }
}
