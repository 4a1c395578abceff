//! Certificates, and whom to trust.

use serde::{Deserialize, Serialize};

use super::check::{Check, Checker};

/// A certificate chain and its key, as files in the proxy's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileCertificate {
    /// Path of the chain, 1 to 255 characters.
    pub certificate_chain: String,
    /// Path of the key, 1 to 255 characters.
    pub private_key: String,
}

impl Check for FileCertificate {
    fn check(&self, checker: &mut Checker) {
        checker.length("certificateChain", &self.certificate_chain, 1, 255);
        checker.length("privateKey", &self.private_key, 1, 255);
    }
}

/// A secret served to the proxy by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdsSecret {
    /// Name of the secret.
    pub secret_name: String,
}

impl Check for SdsSecret {
    fn check(&self, checker: &mut Checker) {
        checker.length("secretName", &self.secret_name, 1, usize::MAX);
    }
}

/// A certificate of the certificate manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmCertificate {
    /// Its ARN.
    #[serde(rename = "certificateARN")]
    pub certificate_arn: String,
}

/// Where a certificate comes from. A client policy takes `file` or `sds` only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The certificate manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acm: Option<AcmCertificate>,
    /// Files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileCertificate>,
    /// A served secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sds: Option<SdsSecret>,
}

impl Check for Certificate {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("acm", self.acm.is_some()),
            ("file", self.file.is_some()),
            ("sds", self.sds.is_some()),
        ]);
        checker.field("file", &self.file);
        checker.field("sds", &self.sds);
    }
}

/// Certificate authorities of the certificate manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcmTrust {
    /// Their ARNs, 1 to 3.
    #[serde(rename = "certificateAuthorityARNs")]
    pub certificate_authority_arns: Vec<String>,
}

/// Certificate authorities in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileTrust {
    /// Path, 1 to 255 characters.
    pub certificate_chain: String,
}

/// Whom to trust. A listener takes `file` or `sds` only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The certificate manager's authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acm: Option<AcmTrust>,
    /// Authorities in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileTrust>,
    /// A served secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sds: Option<SdsSecret>,
}

impl Check for Trust {
    fn check(&self, checker: &mut Checker) {
        checker.exactly_one(&[
            ("acm", self.acm.is_some()),
            ("file", self.file.is_some()),
            ("sds", self.sds.is_some()),
        ]);
        if let Some(acm) = &self.acm {
            checker.within("acm", |checker| {
                checker.items(
                    "certificateAuthorityARNs",
                    Some(&acm.certificate_authority_arns),
                    1,
                    3,
                );
            });
        }
        if let Some(file) = &self.file {
            checker.within("file", |checker| {
                checker.length("certificateChain", &file.certificate_chain, 1, 255)
            });
        }
        checker.field("sds", &self.sds);
    }
}

/// The names a peer's certificate may carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAlternativeNames {
    /// How they are compared.
    #[serde(rename = "match")]
    pub name_match: NameMatch,
}

/// How names are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameMatch {
    /// Letter for letter; one of these.
    pub exact: Vec<String>,
}

/// How a peer's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whom to trust.
    pub trust: Trust,
    /// The names it may carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_alternative_names: Option<SubjectAlternativeNames>,
}

impl Check for Validation {
    fn check(&self, checker: &mut Checker) {
        checker.field("trust", &self.trust);
    }
}

/// How clients talk to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPolicy {
    /// With TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
}

impl Check for ClientPolicy {
    fn check(&self, checker: &mut Checker) {
        checker.field("tls", &self.tls);
    }
}

/// The TLS side of a client policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientTls {
    /// Whether plain text is refused; absent means yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce: Option<bool>,
    /// The ports this holds for; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// The client's own certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// How the server's certificate is checked.
    pub validation: Validation,
}

impl Check for ClientTls {
    fn check(&self, checker: &mut Checker) {
        for (index, port) in self.ports.iter().flatten().enumerate() {
            checker.within("ports", |checker| {
                if *port == 0 {
                    checker.deny_here(format!("item {index} is 0; ports run from 1 to 65535"));
                }
            });
        }
        if let Some(certificate) = &self.certificate {
            checker.field("certificate", certificate);
            if certificate.acm.is_some() {
                checker.within("certificate", |checker| {
                    checker.deny("acm", "is not possible for a client; use file or sds");
                });
            }
        }
        checker.field("validation", &self.validation);
    }
}

/// The client policy for backends that name none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendDefaults {
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_policy: Option<ClientPolicy>,
}

impl Check for BackendDefaults {
    fn check(&self, checker: &mut Checker) {
        checker.field("clientPolicy", &self.client_policy);
    }
}

/// Whether a listener takes plain text, TLS or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TlsMode {
    /// Plain text only.
    Disabled,
    /// Both.
    Permissive,
    /// TLS only.
    Strict,
}

/// The TLS side of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// Plain text, TLS or both.
    pub mode: TlsMode,
    /// The server's certificate.
    pub certificate: Certificate,
    /// How a client's certificate is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
}

impl Check for ListenerTls {
    fn check(&self, checker: &mut Checker) {
        checker.field("certificate", &self.certificate);
        checker.field("validation", &self.validation);
        // The original schema took it on gateways and then dropped it, which left clients unchecked.
        if self
            .validation
            .as_ref()
            .is_some_and(|validation| validation.trust.acm.is_some())
        {
            checker.within("validation", |checker| {
                checker.within("trust", |checker| {
                    checker.deny("acm", "is not possible on a listener; use file or sds");
                });
            });
        }
    }
}
