//! The webhook's own authority and certificate: made, judged and renewed by pure functions of the time.

use jiff::{SignedDuration, Timestamp, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{Error as PemError, PemObject as _},
};

/// How long an authority is valid.
const AUTHORITY_DAYS: i64 = 365;
/// How long a certificate of it is.
const LEAF_DAYS: i64 = 30;

/// An authority: what is kept in the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    /// The certificate, DER.
    pub(super) certificate: Vec<u8>,
    /// The private key, PKCS #8 DER.
    pub(super) key: Vec<u8>,
    pub(super) not_after: Timestamp,
}

/// A certificate for the server.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) not_after: Timestamp,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum CertificateError {
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
}

impl Authority {
    /// A new authority.
    pub(super) fn generate(now: Timestamp) -> Result<Self, CertificateError> {
        let key = KeyPair::generate()?;
        let not_after = days_later(now, AUTHORITY_DAYS);
        let mut params = authority_params();
        set_validity(&mut params, now, not_after);
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            not_after,
        })
    }

    /// Whether a new one should follow: two thirds of its time are over.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.not_after.duration_since(now) < SignedDuration::from_hours(24 * AUTHORITY_DAYS / 3)
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after <= now
    }

    /// A certificate for these names, with a key that leaves this process never.
    pub(super) fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, CertificateError> {
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let authority = KeyPair::try_from(&key)?;
        let issuer = Issuer::new(authority_params(), authority);
        let not_after = days_later(now, LEAF_DAYS).min(self.not_after);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.to_vec())?;
        set_validity(&mut params, now, not_after);
        params.distinguished_name = common_name(names.first().map_or("webhook", String::as_str));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Leaf {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            not_after,
        })
    }
}

impl Leaf {
    /// Whether a new one should follow: two thirds of its time are over.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.not_after.duration_since(now) < SignedDuration::from_hours(24 * LEAF_DAYS / 3)
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("Tombolo webhook authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From the start of the day before `now` to the start of the last day: a certificate ends up to a day before its time.
fn set_validity(params: &mut CertificateParams, now: Timestamp, not_after: Timestamp) {
    let date = |time: Timestamp| {
        let day = Zoned::new(time, TimeZone::UTC).date();
        let part = |value: i8| u8::try_from(value).unwrap_or(1);
        date_time_ymd(day.year().into(), part(day.month()), part(day.day()))
    };
    params.not_before = date(days_later(now, -1));
    params.not_after = date(not_after);
}

fn days_later(time: Timestamp, days: i64) -> Timestamp {
    let later = time.checked_add(SignedDuration::from_hours(24 * days));
    later.unwrap_or(Timestamp::MAX)
}

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// A certificate as PEM.
pub(super) fn certificate_to_pem(der: &[u8]) -> String {
    to_pem(CERTIFICATE, der)
}

/// A PKCS #8 key as PEM.
pub(super) fn key_to_pem(der: &[u8]) -> String {
    to_pem(PRIVATE_KEY, der)
}

fn to_pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The first certificate of PEM text.
pub(super) fn certificate_from_pem(pem: &[u8]) -> Result<Vec<u8>, PemError> {
    Ok(CertificateDer::from_pem_slice(pem)?.to_vec())
}

/// The first PKCS #8 key of PEM text.
pub(super) fn key_from_pem(pem: &[u8]) -> Result<Vec<u8>, PemError> {
    Ok(PrivatePkcs8KeyDer::from_pem_slice(pem)?
        .secret_pkcs8_der()
        .to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_rustls::rustls::client::WebPkiServerVerifier;
    use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
    use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
    use tokio_rustls::rustls::{RootCertStore, crypto::aws_lc_rs};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn is_trusted(
        authorities: &[&Authority],
        leaf: &Leaf,
        name: &'static str,
        at: Timestamp,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots
                .add(authority.certificate.clone().into())
                .expect("a certificate");
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .expect("a verifier");
        let seconds = u64::try_from(at.as_second()).expect("after 1970");
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let name = ServerName::try_from(name).expect("a name");
        verifier
            .verify_server_cert(&leaf.chain[0], &[], &name, &[], time)
            .is_ok()
    }

    #[test]
    fn certificates_are_trusted_for_their_names_and_their_time() {
        let now = at("2026-11-30T16:00:00Z");
        let authority = Authority::generate(now).expect("an authority");
        let names = ["w.ns.svc".to_owned(), "w.ns.svc.cluster.local".to_owned()];
        let leaf = authority.issue(&names, now).expect("a certificate");
        assert!(is_trusted(&[&authority], &leaf, "w.ns.svc", now));
        assert!(!is_trusted(&[&authority], &leaf, "x.ns.svc", now));
        assert!(!is_trusted(
            &[&authority],
            &leaf,
            "w.ns.svc",
            days_later(now, 31)
        ));
        let other = Authority::generate(now).expect("an authority");
        assert!(!is_trusted(&[&other], &leaf, "w.ns.svc", now));
        assert!(
            is_trusted(&[&other, &authority], &leaf, "w.ns.svc", now),
            "during a renewal both are trusted"
        );
    }

    #[test]
    fn renewal_is_due_long_before_the_end() {
        let now = at("2026-11-30T16:00:00Z");
        let authority = Authority::generate(now).expect("an authority");
        assert!(!authority.is_due(days_later(now, 243)));
        assert!(authority.is_due(days_later(now, 244)));
        let leaf = authority
            .issue(&["w".to_owned()], now)
            .expect("a certificate");
        assert!(!leaf.is_due(days_later(now, 19)));
        assert!(leaf.is_due(days_later(now, 21)));
        let late = authority
            .issue(&["w".to_owned()], days_later(now, 350))
            .expect("a certificate");
        assert_eq!(
            late.not_after, authority.not_after,
            "not after its authority"
        );
    }

    #[test]
    fn pem_is_read_as_it_is_written() {
        let authority = Authority::generate(at("2026-11-30T16:00:00Z")).expect("an authority");
        let certificate = certificate_to_pem(&authority.certificate);
        assert_eq!(
            certificate_from_pem(certificate.as_bytes()).expect("PEM"),
            authority.certificate
        );
        let key = key_to_pem(&authority.key);
        assert_eq!(key_from_pem(key.as_bytes()).expect("PEM"), authority.key);
    }
}
