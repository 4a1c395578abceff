//! TLS of listeners and of clients.

use super::{
    declare::{spec, union},
    references::{References, Union, UnionOf},
};
use crate::{
    string_enum::string_enum,
    validation::{Validate, Validator},
};

spec! {
    /// The TLS settings of a listener.
    pub struct ListenerTls<R> {
        /// The server certificate.
        certificate: R::Union<ServerCertificate<R>>,
        /// Whether TLS is required.
        mode: TlsMode,
        /// The verification of client certificates; absent means that none is requested.
        validation: Option<Validation<R>>,
    }
}

impl<R: References> Validate for ListenerTls<R> {
    fn validate(&self, validator: &mut Validator) {
        validator.field("certificate", &self.certificate);
        validator.field("validation", &self.validation);
        let trust = self.validation.as_ref().and_then(|it| it.trust.get());
        // The CRD schema allows it on gateways, and the original controller dropped it: clients were not verified.
        if let Some(trust @ Trust::Acm(_)) = trust {
            let message = "is not possible on a listener; use file or sds";
            let field = format!("validation.trust.{}", trust.member());
            validator.deny_at(field, message);
        }
    }
}

string_enum! {
    /// Whether a listener requires TLS.
    pub enum TlsMode {
        /// TLS only.
        Strict = "STRICT",
        /// TLS and plaintext.
        Permissive = "PERMISSIVE",
        /// Plaintext only.
        Disabled = "DISABLED",
    }
}

union! {
    /// The source of a listener's certificate.
    pub enum ServerCertificate<R>: Validate {
        /// AWS Certificate Manager.
        Acm(R::AcmCertificate) as "acm",
        /// Files in the proxy's container.
        File(FileCertificate) as "file",
        /// A secret discovery service.
        Sds(SdsSecret) as "sds",
    }
}

union! {
    /// The source of a client's certificate.
    pub enum ClientCertificate: Validate {
        /// Files in the proxy's container.
        File(FileCertificate) as "file",
        /// A secret discovery service.
        Sds(SdsSecret) as "sds",
    }
}

spec! {
    /// A certificate of AWS Certificate Manager.
    pub struct AcmCertificate: Validate {
        /// The ARN.
        certificate_arn: String,
    }

    /// A certificate chain and its key, as files in the proxy's container.
    pub struct FileCertificate: Validate {
        /// Path of the PEM chain; 1 to 255 characters.
        certificate_chain: String [1..=255],
        /// Path of the PEM key; 1 to 255 characters.
        private_key: String [1..=255],
    }

    /// A secret by name.
    pub struct SdsSecret {
        /// The name in the request to the secret discovery service.
        secret_name: String,
    }
}

impl Validate for SdsSecret {
    fn validate(&self, validator: &mut Validator) {
        if validator.is_kubernetes() {
            validator.length("secretName", &self.secret_name, 1, usize::MAX);
        }
    }
}

spec! {
    /// The verification of a peer's certificate.
    pub struct Validation<R>: Validate {
        /// Certificate authorities that may have signed it.
        trust: R::Union<Trust<R>>,
        /// Names of which it must have one.
        subject_alternative_names: Option<SubjectAlternativeNames>,
    }
}

union! {
    /// The source of trusted CA certificates.
    pub enum Trust<R>: Validate {
        /// AWS Private CA.
        Acm(R::AcmTrust) as "acm",
        /// A file of PEM certificates.
        File(FileTrust) as "file",
        /// A secret discovery service.
        Sds(SdsSecret) as "sds",
    }
}

spec! {
    /// Certificate authorities by ARN.
    pub struct AcmTrust {
        /// 1 to 3 ARNs.
        certificate_authority_arns: Vec<String>,
    }
}

impl Validate for AcmTrust {
    fn validate(&self, validator: &mut Validator) {
        let arns = &self.certificate_authority_arns;
        validator.items("certificateAuthorityArns", Some(arns), 1, 3);
    }
}

spec! {
    /// Certificate authorities in a file in the proxy's container.
    pub struct FileTrust: Validate {
        /// Path of the PEM certificates; 1 to 255 characters.
        certificate_chain: String [1..=255],
    }

    /// The names of which a certificate must have one.
    pub struct SubjectAlternativeNames: Validate {
        /// The comparison of the names.
        matcher as "match": SubjectAlternativeNameMatch,
    }

    /// Names of which one must be in the certificate.
    pub struct SubjectAlternativeNameMatch {
        /// Exact names, 1 to 254 characters each.
        exact: Vec<String>,
    }
}

impl Validate for SubjectAlternativeNameMatch {
    fn validate(&self, validator: &mut Validator) {
        validator.each("exact", &self.exact, |validator, name| {
            validator.length_here(name, 1, 254);
        });
    }
}

spec! {
    /// The policy of a client for the servers that it calls.
    pub struct ClientPolicy<R>: Validate {
        /// The use of TLS.
        tls: Option<ClientPolicyTls<R>>,
    }

    /// The TLS settings of a client.
    pub struct ClientPolicyTls<R> {
        /// The client certificate.
        certificate: Option<R::Union<ClientCertificate>>,
        /// Absent means true.
        enforce: Option<bool>,
        /// The ports that the policy applies to; empty means all.
        ports: Option<Vec<u16>>,
        /// The verification of the server's certificate.
        validation: Validation<R>,
    }
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

spec! {
    /// The defaults of backends without their own client policy.
    pub struct BackendDefaults<R>: Validate {
        /// The client policy.
        client_policy: Option<ClientPolicy<R>>,
    }
}
