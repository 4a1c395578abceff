//! Connections to a control plane over TLS, and the token that goes with a call.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::http::{HeaderValue, Uri};

/// Deadline of a connection, the handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest file with a token, in bytes.
const MAX_TOKEN: u64 = 64 << 10;
/// Files in which distributions keep the certificate authorities.
const AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Why there is no connection, or no token for it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file cannot be read.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The content of a file is not that of a header.
    #[error("{} does not hold a token", .0.display())]
    Token(PathBuf),
    /// No file with certificate authorities is known.
    #[error("this system has no file with certificate authorities: name one")]
    NoAuthorities,
    /// A file has no certificate.
    #[error("{} holds no certificate authority (PEM)", .0.display())]
    Authorities(PathBuf),
    /// The host cannot be in a certificate.
    #[error("{0:?} is a host that no certificate can have")]
    Name(String),
    /// TLS cannot be configured.
    #[error("TLS")]
    Tls(#[from] tokio_rustls::rustls::Error),
    /// The server cannot be reached, or is not the one that is meant.
    #[error("{server}")]
    Server {
        /// Host and port.
        server: String,
        /// What happened.
        source: io::Error,
    },
}

/// The content of a file as bearer token: `Bearer …`.
///
/// # Errors
///
/// [`ConnectError::File`], [`ConnectError::Token`].
pub async fn read_token(path: &Path) -> Result<HeaderValue, ConnectError> {
    let failed = |source| ConnectError::File {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut text = String::new();
    let read = file.take(MAX_TOKEN).read_to_string(&mut text).await;
    read.map_err(failed)?;
    let value = HeaderValue::from_str(&format!("Bearer {}", text.trim()));
    let mut value = value.map_err(|_| ConnectError::Token(path.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A control plane behind TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
}

impl Server {
    /// The server of `https://host:port`; `None` for other endpoints.
    pub fn encrypted(endpoint: &str) -> Option<Server> {
        let uri: Uri = endpoint.trim().parse().ok()?;
        if uri.scheme_str() != Some("https") {
            return None;
        }
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16()?;
        Some(Server { host, port })
    }

    /// `host:port`, an IPv6 host in brackets.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// A connection to it, with HTTP/2 agreed. `authorities` is the PEM file of those that are believed.
    ///
    /// # Errors
    ///
    /// All of [`ConnectError`] but those about tokens.
    pub async fn connect(
        &self,
        authorities: Option<&Path>,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let mut known = AUTHORITIES.iter().map(Path::new);
        let path = authorities.or_else(|| known.find(|path| path.exists()));
        let path = path.ok_or(ConnectError::NoAuthorities)?;
        let read = tokio::fs::read(path).await;
        let pem = read.map_err(|source| ConnectError::File {
            path: path.to_owned(),
            source,
        })?;
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        roots.add_parsable_certificates(certificates);
        if roots.is_empty() {
            return Err(ConnectError::Authorities(path.to_owned()));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| ConnectError::Name(self.host.clone()))?;
        let connected = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await
        };
        let late = |_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "no answer within 5 s",
            ))
        };
        let connected = timeout(CONNECT_TIMEOUT, connected)
            .await
            .unwrap_or_else(late);
        connected.map_err(|source| ConnectError::Server {
            server: self.authority(),
            source,
        })
    }

    /// Connects to it for tonic.
    pub fn connector(self, authorities: Option<PathBuf>) -> Connector {
        Connector {
            server: self,
            authorities,
        }
    }
}

/// Connects to a [`Server`] for tonic, whatever address it asks for.
#[derive(Clone)]
pub struct Connector {
    server: Server,
    authorities: Option<PathBuf>,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Connector {
            server,
            authorities,
        } = self.clone();
        Box::pin(async move {
            let stream = server.connect(authorities.as_deref()).await?;
            Ok(TokioIo::new(stream))
        })
    }
}
