//! A client of one member of an etcd cluster, over one connection.

use super::{
    options::Options,
    proto::{
        AuthenticateRequest, AuthenticateResponse, CompactionRequest, Empty, LeaseGrantRequest,
        LeaseRequest, LeaseResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
        WatchCreateRequest, WatchRequest, WatchRequestUnion, WatchResponse,
    },
};
use prost::Message;
use std::time::{Duration, Instant};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_telemetry::ErrorChain;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

/// The timeout of opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout of a call. Longer than the election of a leader in etcd, which takes one to two seconds; a
/// member that is stopped never answers.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2500);
/// The interval of HTTP/2 pings; etcd refuses less than five seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The largest accepted message: a page of records, or the events that a watch has missed.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// An error of a call.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// etcd refused the call, which has no effect.
    #[error("{why}")]
    Refused { code: Code, why: String },
    /// There is no answer: the call may have taken effect.
    #[error("{0}")]
    Lost(String),
}

impl CallError {
    pub(super) fn is_compacted(&self) -> bool {
        self.is_out_of_range("compacted")
    }

    /// Whether the answer exceeds the limit of a message.
    pub(super) fn is_too_large(&self) -> bool {
        self.is_out_of_range("too large")
    }

    fn is_out_of_range(&self, part: &str) -> bool {
        matches!(self, CallError::Refused { code: Code::OutOfRange, why } if why.contains(part))
    }
}

impl From<tonic::transport::Error> for CallError {
    fn from(error: tonic::transport::Error) -> Self {
        CallError::Lost(ErrorChain(&error).to_string())
    }
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match status.code() {
            code @ (Code::InvalidArgument
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::OutOfRange) => CallError::Refused {
                code,
                why: status.message().to_owned(),
            },
            _ => CallError::Lost(status.message().to_owned()),
        }
    }
}

/// A connection to a member. Clones share it.
#[derive(Clone)]
pub(super) struct Member {
    /// `host:port`.
    pub(super) endpoint: String,
    grpc: Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

impl Member {
    /// Connects to a member, and authenticates if a user is configured.
    pub(super) async fn connect(options: &Options, endpoint: &str) -> Result<Self, CallError> {
        let channel = timeout(
            CONNECT_TIMEOUT,
            tonic_endpoint(options, endpoint)?.connect(),
        )
        .await
        .map_err(|_| CallError::Lost("does not answer".into()))??;
        let mut member = Self {
            endpoint: endpoint.to_owned(),
            grpc: Grpc::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            token: None,
        };
        if let Some((name, password)) = options.user.clone() {
            let request = AuthenticateRequest { name, password };
            let answer: AuthenticateResponse = member
                .call("/etcdserverpb.Auth/Authenticate", request)
                .await?;
            let token = answer.token.parse();
            member.token = Some(token.map_err(|_| CallError::Lost("its token is no text".into()))?);
        }
        Ok(member)
    }

    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, CallError> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, CallError> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    pub(super) async fn compact(&self, revision: i64) -> Result<(), CallError> {
        let request = CompactionRequest { revision };
        let Empty {} = self.call("/etcdserverpb.KV/Compact", request).await?;
        Ok(())
    }

    /// Grants a lease of `ttl` seconds; returns its id.
    pub(super) async fn grant(&self, ttl: i64) -> Result<i64, CallError> {
        let request = LeaseGrantRequest { ttl };
        let answer: LeaseResponse = self.call("/etcdserverpb.Lease/LeaseGrant", request).await?;
        Ok(answer.id)
    }

    pub(super) async fn revoke(&self, id: i64) -> Result<(), CallError> {
        let request = LeaseRequest { id };
        let Empty {} = self
            .call("/etcdserverpb.Lease/LeaseRevoke", request)
            .await?;
        Ok(())
    }

    /// Renews a lease for its full TTL. Returns `false` if it has expired.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, CallError> {
        let (requests, outbound) = mpsc::channel(1);
        let _ = requests.send(LeaseRequest { id }).await;
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let exchange = async {
            let mut responses: Streaming<LeaseResponse> = self.stream(path, outbound).await?;
            let answer = responses.message().await?;
            Ok(answer.is_some_and(|answer| answer.ttl > 0))
        };
        with_timeout(exchange).await
    }

    /// Watches a range of keys from a revision on.
    pub(super) async fn watch(&self, create: WatchCreateRequest) -> Result<Watching, CallError> {
        let (requests, outbound) = mpsc::channel(4);
        let request = Some(WatchRequestUnion::Create(create));
        let _ = requests.send(WatchRequest { request }).await;
        let responses = with_timeout(self.stream("/etcdserverpb.Watch/Watch", outbound)).await?;
        Ok(Watching {
            requests,
            responses,
            last_response: Instant::now(),
        })
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        let request = self.request(message);
        let exchange = async {
            grpc.ready().await?;
            Ok(grpc.unary(request, path, codec).await?.into_inner())
        };
        with_timeout(exchange).await
    }

    async fn stream<Q, A>(
        &self,
        path: &'static str,
        outbound: mpsc::Receiver<Q>,
    ) -> Result<Streaming<A>, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        grpc.ready().await?;
        let mut request = self.request(ReceiverStream::new(outbound));
        // With this header, a member that loses its leader ends the stream.
        let require = MetadataValue::from_static("true");
        request.metadata_mut().insert("hasleader", require);
        let codec = ProstCodec::<Q, A>::default();
        let path = PathAndQuery::from_static(path);
        Ok(grpc.streaming(request, path, codec).await?.into_inner())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = self.token.clone() {
            request.metadata_mut().insert("token", token);
        }
        request
    }
}

/// An open watch.
pub(super) struct Watching {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    last_response: Instant,
}

impl Watching {
    /// The next message of the watch.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, CallError> {
        match self.responses.message().await {
            Ok(Some(answer)) => {
                self.last_response = Instant::now();
                Ok(answer)
            }
            Ok(None) => Err(CallError::Lost("the member ended the watch".into())),
            Err(status) => Err(status.into()),
        }
    }

    /// Requests a progress notification.
    ///
    /// # Errors
    ///
    /// If there was no message for [`CALL_TIMEOUT`].
    pub(super) fn request_progress(&self) -> Result<(), CallError> {
        if self.last_response.elapsed() > CALL_TIMEOUT {
            return Err(no_answer());
        }
        let request = Some(WatchRequestUnion::Progress(Empty {}));
        // If the queue is full, earlier requests are not sent yet.
        let _ = self.requests.try_send(WatchRequest { request });
        Ok(())
    }
}

/// Limits a call to [`CALL_TIMEOUT`].
async fn with_timeout<T>(call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(no_answer()))
}

fn no_answer() -> CallError {
    CallError::Lost(format!("no answer within {} ms", CALL_TIMEOUT.as_millis()))
}

fn tonic_endpoint(options: &Options, endpoint: &str) -> Result<Endpoint, CallError> {
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{endpoint}"))?
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(CALL_TIMEOUT);
    let Some(tls) = &options.tls else {
        return Ok(endpoint);
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some((certificate, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    Ok(endpoint.tls_config(config)?)
}
