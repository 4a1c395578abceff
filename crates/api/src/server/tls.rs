//! TLS certificates from files, which are reloaded when they change.

use crate::hot_reload::{FileError, HotReload};
use std::{path::Path, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The last valid certificate and key. Clones share them.
#[derive(Clone)]
pub struct Tls(HotReload<ServerConfig, 2>);

impl Tls {
    /// Reads a certificate (with the chain to its CA) and its private key, both PEM.
    ///
    /// # Errors
    /// A file cannot be read or is not valid, or the key is not the certificate's.
    pub fn open(cert: &Path, key: &Path) -> Result<Self, FileError> {
        HotReload::open([cert, key], |files| config(files, b"http/1.1")).map(Self)
    }

    /// As [`Tls::open`], for a server that speaks HTTP/2.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn open_http2(cert: &Path, key: &Path) -> Result<Self, FileError> {
        HotReload::open([cert, key], |files| config(files, b"h2")).map(Self)
    }

    /// The configuration of a server with the newest certificate.
    pub fn newest(&self) -> Arc<ServerConfig> {
        self.0.load()
    }

    /// Reloads the files whenever one changes, and never returns; new connections use the new certificate.
    /// If the new version is not valid, for example because only one of the files was replaced so far, the
    /// error is logged and the certificate stays the same.
    pub async fn reload_on_change(self) {
        self.0.reload_on_change().await;
    }

    /// Accepts connections with the certificate as it is now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load())
    }
}

fn config(
    [(cert_path, cert), (key_path, key)]: [(&Path, &[u8]); 2],
    protocol: &[u8],
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
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}
