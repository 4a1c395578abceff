//! One probe of one instance, over TCP, HTTP or HTTPS.

use crate::target::{ProbeKind, Target};
use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, pki_types::ServerName},
};

/// The timeout of a check that only connects.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of the connection for a request.
const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The timeout of the response, after connecting.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The reason why an instance is unhealthy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("{0} is not an address that is checked")]
    ForbiddenAddress(IpAddr),
    #[error("cannot connect to {to}: {source}")]
    Connect { to: SocketAddr, source: io::Error },
    #[error("no connection to {to} within {within:?}")]
    ConnectTimeout { to: SocketAddr, within: Duration },
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("{path:?} is not a path: {source}")]
    Path { path: String, source: http::Error },
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("no answer within {RESPONSE_TIMEOUT:?}")]
    ResponseTimeout,
    #[error("answered {0}")]
    Status(StatusCode),
}

/// Probes instances; shared by all checks.
pub(crate) struct Prober {
    tls: TlsConnector,
}

impl Prober {
    pub(crate) fn new() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trusting = Arc::new(tls::AcceptAnyCertificate(provider.clone()));
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the ciphers of its own versions")
            .dangerous()
            .with_custom_certificate_verifier(trusting)
            .with_no_client_auth();
        Self {
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Probes a target, with a timeout.
    ///
    /// # Errors
    /// The reason why the instance is unhealthy.
    pub(crate) async fn probe(&self, target: &Target) -> Result<(), ProbeError> {
        let address = target.address;
        match &target.kind {
            ProbeKind::Tcp => connect(address, TCP_CONNECT_TIMEOUT).await.map(drop),
            ProbeKind::Http { path, tls } => {
                let stream = connect(address, HTTP_CONNECT_TIMEOUT).await?;
                let exchange = async {
                    if *tls {
                        let name = ServerName::IpAddress(address.ip().into());
                        let stream = self.tls.connect(name, stream).await;
                        request(stream.map_err(ProbeError::Tls)?, address, path).await
                    } else {
                        request(stream, address, path).await
                    }
                };
                timeout(RESPONSE_TIMEOUT, exchange)
                    .await
                    .unwrap_or(Err(ProbeError::ResponseTimeout))
            }
        }
    }
}

async fn connect(to: SocketAddr, within: Duration) -> Result<TcpStream, ProbeError> {
    match timeout(within, TcpStream::connect(to)).await {
        Ok(connected) => connected.map_err(|source| ProbeError::Connect { to, source }),
        Err(_) => Err(ProbeError::ConnectTimeout { to, within }),
    }
}

/// Sends the request and checks the status of the response, whose body is not read.
async fn request(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    to: SocketAddr,
    path: &str,
) -> Result<(), ProbeError> {
    let request = Request::get(path)
        .header(header::HOST, to.to_string())
        .header(header::USER_AGENT, "tombolo-health-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|source| ProbeError::Path {
            path: path.to_owned(),
            source,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = pin!(sender.send_request(request));
    // The connection must be polled for progress, and may end when it delivers the response.
    let answer = match select(answered, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(error), _)) => Err(error),
        Either::Right((Ok(()), answered)) => answered.await,
    };
    match answer?.status() {
        status if (200..400).contains(&status.as_u16()) => Ok(()),
        status => Err(ProbeError::Status(status)),
    }
}

/// A TLS verifier that accepts any certificate, as in Route 53: a check tests whether the endpoint serves, and sends
/// nothing secret.
mod tls {
    use std::sync::Arc;
    use tokio_rustls::rustls::{
        self, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct AcceptAnyCertificate(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for AcceptAnyCertificate {
        fn verify_server_cert(
            &self,
            _certificate: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
