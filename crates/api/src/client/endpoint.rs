//! The address of a server, and connections to it.

use super::Error;
use http::{Uri, uri::Authority};
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use std::{
    env, fmt,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// The address of a server: `http://host:port`, `https://host:port`, or `host:port`, which means HTTP.
#[derive(Clone)]
pub struct Endpoint {
    authority: Authority,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The files of trusted CA certificates in Linux distributions.
const CA_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

impl FromStr for Endpoint {
    type Err = Error;

    /// Parses an address. For HTTPS this reads the trusted CA certificates: those in `AWS_CA_BUNDLE`, as in AWS
    /// clients, or the system's.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::with_authorities(text, None)
    }
}

impl Endpoint {
    /// As the endpoint of this text, with the certificate authorities of a PEM file in place of the usual ones.
    ///
    /// # Errors
    /// [`Error::Endpoint`]: the text is none, or the file holds no authority.
    pub(crate) fn with_authorities(text: &str, authorities: Option<&Path>) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Endpoint(format!("endpoint {text:?} {why}")));
        let url = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let Ok(uri) = url.parse::<Uri>() else {
            return refuse("is not a URL");
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return refuse("has a path; it is a host and a port alone");
        }
        let Some(authority) = uri.authority() else {
            return refuse("names no host");
        };
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let host = authority.host().trim_matches(['[', ']']).to_owned();
                let Ok(name) = ServerName::try_from(host) else {
                    return refuse("has a host that no certificate can have");
                };
                Some((TlsConnector::from(Arc::new(config(authorities)?)), name))
            }
            _ => return refuse("does not start with http:// or https://"),
        };
        Ok(Self {
            authority: authority.clone(),
            tls,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Endpoint {
    /// Host and port, as in the header `Host`.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Opens a connection, with a timeout of 5 seconds, TLS handshake included.
    pub async fn connect(&self) -> io::Result<Stream> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection within 5 s");
        timeout(CONNECT_TIMEOUT, self.connect_without_deadline())
            .await
            .map_err(late)?
    }

    async fn connect_without_deadline(&self) -> io::Result<Stream> {
        let default_port = if self.tls.is_some() { 443 } else { 80 };
        let port = self.authority.port_u16().unwrap_or(default_port);
        let host = self.authority.host().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((tls, name)) => Box::new(tls.connect(name.clone(), stream).await?),
        })
    }
}

fn config(authorities: Option<&Path>) -> Result<ClientConfig, Error> {
    let given = env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let mut paths = CA_BUNDLES.iter().map(Path::new);
    let path = match authorities.or(given.as_deref().map(Path::new)) {
        Some(path) => path,
        None => paths.find(|path| path.exists()).ok_or_else(|| {
            let why =
                "this system has no file with certificate authorities: name one in AWS_CA_BUNDLE";
            Error::Endpoint(why.into())
        })?,
    };
    let wrong = |why: &dyn fmt::Display| Error::Endpoint(format!("{}: {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let mut authorities = RootCertStore::empty();
    // Certificates in the system's bundle that cannot be parsed are skipped.
    authorities.add_parsable_certificates(certificates.filter_map(Result::ok));
    if authorities.is_empty() {
        return Err(wrong(&"there is no certificate authority in it (PEM)"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Error::Endpoint(error.to_string()))?;
    let mut config = builder
        .with_root_certificates(authorities)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A connection, with or without TLS.
pub type Stream = Box<dyn Io>;

/// The traits of a connection.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// The connector of the connection pool, which has this one endpoint.
#[derive(Clone)]
pub(super) struct Connector(pub(super) Endpoint);

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Connecting {
        let endpoint = self.0.clone();
        Box::pin(async move { endpoint.connect().await.map(TokioIo::new) })
    }
}
