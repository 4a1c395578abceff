//! The certificate authority of a store, for servers without certificates of their operator's.
//!
//! The key is derived from the secret of the store, so all replicas are the same authority and none of them stores
//! anything. The root that each of them shows has the same name and key, and is believed in place of any other;
//! only the signature on it, which nobody checks, differs.

use aws_lc_rs::{
    agreement, hmac,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::aws_lc_rs as provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};

const NAME: &str = "Tombolo";
/// How long a certificate of a server is valid. It is made anew at half of that.
const VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far the clock of a client may be behind.
const SKEW: Duration = Duration::from_secs(3600);

/// An authority.
pub struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A name that no certificate can have, or a key that is none.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// The certificate does not fit its key.
    #[error("a certificate cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Authority {
    /// The authority of all who have this secret.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`], which would be a bug.
    pub fn new(secret: &[u8; 32]) -> Result<Self, AuthorityError> {
        let key = key(secret)?;
        let params = root()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Self {
            root,
            issuer: Issuer::new(params, key),
        })
    }

    /// The root certificate, which clients must know, as PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The configuration of a server with a new certificate for these names and addresses, which offers HTTP/2.
    ///
    /// # Errors
    /// One of them is neither.
    pub fn server(&self, names: &[String]) -> Result<ServerConfig, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        let now = SystemTime::now();
        params.not_before = (now - SKEW).into();
        params.not_after = (now + VALIDITY).into();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name.remove(DnType::CommonName);
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer)?.into();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let builder = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let config = builder.with_no_client_auth();
        let mut config = config.with_single_cert(vec![certificate], key.into())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// The certificate of a server, made again before it ends.
pub struct OwnCertificate {
    authority: Authority,
    names: Vec<String>,
    newest: Mutex<(Instant, Arc<ServerConfig>)>,
}

impl OwnCertificate {
    /// A certificate for these names and addresses.
    ///
    /// # Errors
    /// One of them is neither.
    pub fn new(authority: Authority, names: Vec<String>) -> Result<Self, AuthorityError> {
        let first = Arc::new(authority.server(&names)?);
        Ok(Self {
            authority,
            names,
            newest: Mutex::new((Instant::now(), first)),
        })
    }

    /// The configuration of a server with the newest certificate.
    pub fn newest(&self) -> Arc<ServerConfig> {
        let mut newest = self.newest.lock();
        if newest.0.elapsed() >= VALIDITY / 2 {
            match self.authority.server(&self.names) {
                Ok(made) => *newest = (Instant::now(), Arc::new(made)),
                Err(error) => {
                    let error = tombolo_telemetry::ErrorChain(&error);
                    tracing::error!(%error, "the certificate cannot be renewed");
                }
            }
        }
        newest.1.clone()
    }
}

/// The private key. A hash that is no key of the curve has a probability of 2^-32; then the next one is.
fn key(secret: &[u8; 32]) -> Result<KeyPair, rcgen::Error> {
    let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
    for n in 0..=u8::MAX {
        let mut context = hmac::Context::with_key(&root);
        context.update(b"tombolo: authority of servers");
        context.update(&[n]);
        let private = context.sign();
        let private = private.as_ref();
        let key = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, private);
        let Some(public) = key.ok().and_then(|key| key.compute_public_key().ok()) else {
            continue;
        };
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            private,
            public.as_ref(),
        );
        let Some(document) = pair.ok().and_then(|pair| pair.to_pkcs8v1().ok()) else {
            continue;
        };
        return KeyPair::try_from(document.as_ref());
    }
    Err(rcgen::Error::CouldNotParseKeyPair)
}

/// The root without its key: the same for all replicas and versions.
fn root() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.serial_number = Some(SerialNumber::from(1));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2075, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_rustls::{
        TlsAcceptor, TlsConnector,
        rustls::{
            ClientConfig, RootCertStore,
            pki_types::{ServerName, pem::PemObject},
        },
    };

    /// Whether a client that believes `root` takes the server of `authority` for `name`.
    async fn is_believed(root: &str, authority: &Authority, name: &'static str) -> bool {
        let names = ["xds.mesh.test".to_owned(), "10.0.0.1".to_owned()];
        let server = authority.server(&names).expect("a certificate");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
        let client = builder
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 << 10);
        let name = ServerName::try_from(name).expect("a name");
        let (connected, _) = tokio::join!(
            TlsConnector::from(Arc::new(client)).connect(name, near),
            TlsAcceptor::from(Arc::new(server)).accept(far),
        );
        connected.is_ok()
    }

    #[tokio::test]
    async fn replicas_are_one_authority() {
        let one = Authority::new(&[1; 32]).expect("an authority");
        let replica = Authority::new(&[1; 32]).expect("an authority");
        let other = Authority::new(&[2; 32]).expect("an authority");
        assert!(is_believed(one.root(), &replica, "xds.mesh.test").await);
        assert!(is_believed(replica.root(), &one, "10.0.0.1").await);
        assert!(!is_believed(one.root(), &one, "other.mesh.test").await);
        assert!(!is_believed(one.root(), &other, "xds.mesh.test").await);
    }
}
