//! TLS of listeners and of clients.

use super::problem::{Checked, list, number, text};
use serde::{Deserialize, Serialize};

/// How a listener uses TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerTls {
    /// The certificate it shows.
    pub certificate: ServerCertificate,
    /// Whether TLS is demanded.
    pub mode: TlsMode,
    /// How client certificates are checked; absent means they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
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
#[serde(rename_all = "camelCase")]
pub enum ServerCertificate {
    /// From a certificate manager.
    #[serde(rename_all = "camelCase")]
    Acm {
        /// Its ARN.
        certificate_arn: String,
    },
    /// From files of the proxy.
    File(FileCertificate),
    /// From a secret discovery service.
    Sds(SdsSecret),
}

/// Where a client's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClientCertificate {
    /// From files of the proxy.
    File(FileCertificate),
    /// From a secret discovery service.
    Sds(SdsSecret),
}

/// A certificate in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileCertificate {
    /// Path of the PEM chain; 1 to 255 characters.
    pub certificate_chain: String,
    /// Path of the PEM key; 1 to 255 characters.
    pub private_key: String,
}

/// A secret by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SdsSecret {
    /// The name asked for.
    pub secret_name: String,
}

/// How a peer's certificate is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Who may have signed it.
    pub trust: Trust,
    /// Whose it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_alternative_names: Option<SubjectAlternativeNames>,
}

/// Which authorities are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trust {
    /// Authorities of a certificate manager.
    #[serde(rename_all = "camelCase")]
    Acm {
        /// 1 to 3 ARNs.
        certificate_authority_arns: Vec<String>,
    },
    /// A file of PEM certificates.
    #[serde(rename_all = "camelCase")]
    File {
        /// Its path; 1 to 255 characters.
        certificate_chain: String,
    },
    /// A secret discovery service.
    Sds(SdsSecret),
}

/// Whose a certificate may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAlternativeNames {
    /// The matcher.
    #[serde(rename = "match")]
    pub matcher: SubjectAlternativeNameMatch,
}

/// Names of which one must be in the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectAlternativeNameMatch {
    /// Exact names, 1 to 254 characters each.
    pub exact: Vec<String>,
}

/// What a client demands of the servers it calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPolicy {
    /// TLS demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientPolicyTls>,
}

/// TLS demands of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPolicyTls {
    /// The certificate it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ClientCertificate>,
    /// Absent means true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce: Option<bool>,
    /// For which ports; empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// How the server's certificate is checked.
    pub validation: Validation,
}

impl FileCertificate {
    fn check(&self, at: &str) -> Checked {
        text(
            &format!("{at}.certificateChain"),
            &self.certificate_chain,
            1..=255,
        )?;
        text(&format!("{at}.privateKey"), &self.private_key, 1..=255)
    }
}

impl Validation {
    fn check(&self, at: &str) -> Checked {
        let trust = format!("{at}.trust");
        match &self.trust {
            Trust::Acm {
                certificate_authority_arns: arns,
            } => {
                list(
                    &format!("{trust}.acm.certificateAuthorityArns"),
                    arns,
                    1..=3,
                )?;
            }
            Trust::File { certificate_chain } => {
                text(
                    &format!("{trust}.file.certificateChain"),
                    certificate_chain,
                    1..=255,
                )?;
            }
            Trust::Sds(_) => {}
        }
        let Some(names) = &self.subject_alternative_names else {
            return Ok(());
        };
        for (i, name) in names.matcher.exact.iter().enumerate() {
            text(
                &format!("{at}.subjectAlternativeNames.match.exact[{i}]"),
                name,
                1..=254,
            )?;
        }
        Ok(())
    }
}

impl ListenerTls {
    pub(crate) fn check(&self, at: &str) -> Checked {
        if let ServerCertificate::File(file) = &self.certificate {
            file.check(&format!("{at}.certificate.file"))?;
        }
        self.validation
            .as_ref()
            .map_or(Ok(()), |v| v.check(&format!("{at}.validation")))
    }
}

impl ClientPolicy {
    pub(crate) fn check(&self, at: &str) -> Checked {
        let Some(tls) = &self.tls else { return Ok(()) };
        let at = format!("{at}.tls");
        if let Some(ClientCertificate::File(file)) = &tls.certificate {
            file.check(&format!("{at}.certificate.file"))?;
        }
        for (i, port) in tls.ports.iter().flatten().enumerate() {
            number(&format!("{at}.ports[{i}]"), *port, 1..=u16::MAX)?;
        }
        tls.validation.check(&format!("{at}.validation"))
    }
}
