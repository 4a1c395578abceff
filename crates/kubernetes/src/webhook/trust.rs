//! The Secret that replicas share: the authority that signs now, and the one before, which is trusted until every replica
//! has a certificate of the new one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::certificate::{
    self, Authority, CertificateError, certificate_from_pem, certificate_to_pem, key_to_pem,
};

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const NOT_AFTER: &str = "ca.not-after";
const PREVIOUS: &str = "previous.crt";
const PREVIOUS_NOT_AFTER: &str = "previous.not-after";

/// Who is trusted, and who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    pub(super) authority: Authority,
    /// Certificate (DER) and end of the authority before.
    previous: Option<(Vec<u8>, Timestamp)>,
}

impl Trust {
    /// The content of the Secret; `None` if it is empty or not ours to read: it is replaced then.
    pub(super) fn read(secret: &Secret) -> Option<Self> {
        let data = secret.data.as_ref()?;
        let bytes = |key: &str| data.get(key).map(|value| value.0.as_slice());
        let time = |key: &str| std::str::from_utf8(bytes(key)?).ok()?.parse().ok();
        let previous = || {
            let certificate = certificate_from_pem(bytes(PREVIOUS)?).ok()?;
            Some((certificate, time(PREVIOUS_NOT_AFTER)?))
        };
        Some(Self {
            authority: Authority {
                certificate: certificate_from_pem(bytes(CERTIFICATE)?).ok()?,
                key: certificate::key_from_pem(bytes(KEY)?).ok()?,
                not_after: time(NOT_AFTER)?,
            },
            previous: previous(),
        })
    }

    /// This, but also trusting the authority of `known` if it signs no longer: a Secret that was lost does not make
    /// certificates of the authority before worthless at once.
    pub(super) fn remembering(mut self, known: Option<&Self>) -> Self {
        if self.previous.is_none()
            && let Some(known) = known
            && known.authority != self.authority
        {
            let Authority {
                certificate,
                not_after,
                ..
            } = &known.authority;
            self.previous = Some((certificate.clone(), *not_after));
        }
        self
    }

    /// What the Secret should hold instead; `None` if it may stay.
    pub(super) fn renewed(
        current: Option<&Self>,
        now: Timestamp,
    ) -> Result<Option<Self>, CertificateError> {
        let previous = match current {
            Some(current) if !current.authority.is_due(now) => return Ok(None),
            Some(Self { authority, .. }) if !authority.is_expired(now) => {
                Some((authority.certificate.clone(), authority.not_after))
            }
            _ => None,
        };
        let authority = Authority::generate(now)?;
        Ok(Some(Self {
            authority,
            previous,
        }))
    }

    /// The Secret's data.
    pub(super) fn to_data(&self) -> BTreeMap<String, ByteString> {
        let Authority {
            certificate,
            key,
            not_after,
        } = &self.authority;
        let mut data = vec![
            (CERTIFICATE, certificate_to_pem(certificate)),
            (KEY, key_to_pem(key)),
            (NOT_AFTER, not_after.to_string()),
        ];
        if let Some((certificate, not_after)) = &self.previous {
            data.push((PREVIOUS, certificate_to_pem(certificate)));
            data.push((PREVIOUS_NOT_AFTER, not_after.to_string()));
        }
        let data = data.into_iter();
        data.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())))
            .collect()
    }

    /// The `caBundle`: PEM of everyone who is trusted.
    pub(super) fn bundle(&self, now: Timestamp) -> String {
        let mut bundle = certificate_to_pem(&self.authority.certificate);
        if let Some((certificate, not_after)) = &self.previous
            && *not_after > now
        {
            bundle.push_str(&certificate_to_pem(certificate));
        }
        bundle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn stored(trust: &Trust) -> Option<Trust> {
        Trust::read(&Secret {
            data: Some(trust.to_data()),
            ..Secret::default()
        })
    }

    #[test]
    fn renewal_keeps_the_authority_before_until_it_ends() {
        let start = at("2026-01-01T00:00:00Z");
        let renew = |trust: Option<&Trust>, now| Trust::renewed(trust, now).expect("renewed");
        let first = renew(None, start).expect("there was none");
        assert_eq!(stored(&first), Some(first.clone()));
        assert_eq!(renew(Some(&first), at("2026-08-30T00:00:00Z")), None);

        let due = at("2026-10-01T00:00:00Z");
        let second = renew(Some(&first), due).expect("two thirds are over");
        assert_eq!(stored(&second), Some(second.clone()));
        let bundle = second.bundle(due);
        for authority in [&first.authority, &second.authority] {
            assert!(bundle.contains(&certificate_to_pem(&authority.certificate)));
        }
        let ended = at("2027-01-02T00:00:00Z");
        assert_eq!(
            second.bundle(ended),
            certificate_to_pem(&second.authority.certificate)
        );

        let after_a_long_sleep = at("2030-01-01T00:00:00Z");
        let third = renew(Some(&second), after_a_long_sleep).expect("it has ended");
        assert_eq!(third.previous, None);

        let lost = renew(None, due)
            .expect("there was none")
            .remembering(Some(&first));
        assert!(
            lost.bundle(due)
                .contains(&certificate_to_pem(&first.authority.certificate))
        );
    }

    #[test]
    fn a_secret_that_holds_something_else_is_none_of_ours() {
        assert_eq!(Trust::read(&Secret::default()), None);
        let mut data = Trust::renewed(None, at("2026-01-01T00:00:00Z"))
            .expect("made")
            .expect("there was none")
            .to_data();
        data.insert(KEY.to_owned(), ByteString(b"no key".to_vec()));
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        assert_eq!(Trust::read(&secret), None);
    }
}
