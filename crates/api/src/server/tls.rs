//! TLS from files that operators renew.

use crate::watch;
use arc_swap::ArcSwap;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// A certificate and its key, as the files were when they were last right. Clones share them.
#[derive(Clone)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate (with the chain that leads to its authority) and its private key, both PEM. The
    /// error says which file is wrong.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, String> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
        let config = config(cert, &read(cert)?, key, &read(key)?)?;
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            config: Arc::new(ArcSwap::from_pointee(config)),
        })
    }

    /// Reads the files again whenever one changes, and never ends. Files that are wrong or do not belong
    /// together (the second is perhaps about to change) change nothing; the log says what is wrong.
    pub async fn follow(self) {
        let paths = [self.cert.clone(), self.key.clone()];
        watch::follow(&paths, |contents| {
            let [cert, key] = contents else {
                return Err("a file is gone".into());
            };
            let config = config(&self.cert, cert, &self.key, key)?;
            self.config.store(Arc::new(config));
            Ok("new connections get the new certificate".into())
        })
        .await;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn config(
    cert_path: &Path,
    cert: &[u8],
    key_path: &Path,
    key: &[u8],
) -> Result<ServerConfig, String> {
    let (cert_path, key_path) = (cert_path.display(), key_path.display());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{cert_path}: not PEM: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{cert_path}: there is no certificate in it (PEM)"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{key_path}: there is no private key in it (PEM): {error}"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| format!("{cert_path} and {key_path}: {error}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
