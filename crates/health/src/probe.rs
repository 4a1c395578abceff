//! Asking one instance.

use crate::target::{ProbeKind, Target};
use bytes::Bytes;
use futures::future::{Either, select};
use http::{Request, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{self, ClientConfig, pki_types::ServerName},
};

/// How long a connection alone may take to be accepted.
const TCP_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take that is to carry a request.
const HTTP_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the answer to the request may take from then on.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks instances; made once.
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

    /// `Err` says why the instance is not well.
    pub(crate) async fn probe(&self, target: &Target) -> Result<(), String> {
        let address = target.address;
        match &target.kind {
            ProbeKind::Tcp => connect(address, TCP_CONNECT_TIMEOUT).await.map(drop),
            ProbeKind::Http { path, tls } => {
                let stream = connect(address, HTTP_CONNECT_TIMEOUT).await?;
                let exchange = async {
                    if *tls {
                        let name = ServerName::IpAddress(address.ip().into());
                        let stream = self.tls.connect(name, stream).await;
                        request(stream.map_err(|e| format!("TLS: {e}"))?, address, path).await
                    } else {
                        request(stream, address, path).await
                    }
                };
                timeout(RESPONSE_TIMEOUT, exchange)
                    .await
                    .map_err(|_| format!("no answer within {RESPONSE_TIMEOUT:?}"))?
            }
        }
    }
}

async fn connect(to: SocketAddr, within: Duration) -> Result<TcpStream, String> {
    match timeout(within, TcpStream::connect(to)).await {
        Ok(connected) => connected.map_err(|error| format!("cannot connect to {to}: {error}")),
        Err(_) => Err(format!("no connection to {to} within {within:?}")),
    }
}

/// Sends the request and looks at the head of the answer; its body does not matter.
async fn request(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    to: SocketAddr,
    path: &str,
) -> Result<(), String> {
    let request = Request::get(path)
        .header(header::HOST, to.to_string())
        .header(header::USER_AGENT, "tombolo-health-check")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{path:?} is not a path: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answered = pin!(sender.send_request(request));
    // The connection does the work, and may end in the moment in which it hands over the answer.
    let answer = match select(answered, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(error), _)) => Err(error),
        Either::Right((Ok(()), answered)) => answered.await,
    };
    let status = answer.map_err(|error| error.to_string())?.status();
    match status.as_u16() {
        200..=399 => Ok(()),
        _ => Err(format!("answered {status}")),
    }
}

/// Route 53 does not look at certificates, and neither is identity the question here: whether the endpoint
/// serves is. Nothing secret is sent.
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
