//! TLS from files that operators renew.

use crate::watch::{FileError, Watched};
use std::{path::Path, sync::Arc};
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
pub struct Tls(Watched<ServerConfig, 2>);

impl Tls {
    /// Reads a certificate (with the chain that leads to its authority) and its private key, both PEM.
    ///
    /// # Errors
    /// A file cannot be read or holds something else, or the two do not belong together.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, FileError> {
        Watched::open([cert, key], config).map(Self)
    }

    /// Reads the files again whenever one changes, and never ends; new connections get the new certificate.
    /// Files that are wrong or do not belong together (the second is perhaps about to change) change nothing;
    /// the log says what is wrong.
    pub async fn follow(self) {
        self.0.follow().await;
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load())
    }
}

fn config(
    [(cert_path, cert), (key_path, key)]: [(&Path, &[u8]); 2],
) -> Result<ServerConfig, FileError> {
    let (cert_path, key_path) = (cert_path.display(), key_path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain =
        chain.map_err(|error| FileError::invalid(&cert_path, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        let message = "there is no certificate in it (PEM)";
        return Err(FileError::invalid(&cert_path, message));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let message = format!("there is no private key in it (PEM): {error}");
        FileError::invalid(&key_path, message)
    })?;
    let both = format!("{cert_path} and {key_path}");
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| FileError::invalid(both, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
