//! One member of an etcd cluster, over one connection.

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

/// Deadline of opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member may take to answer. Electing a leader takes one to two seconds; a member that is
/// stopped responses never.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2500);
/// etcd refuses pings that come more often than every five seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The largest answer that is taken: a page of records, or what a watch has to catch up.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// etcd refused it: nothing happened.
    #[error("{why}")]
    Refused { code: Code, why: String },
    /// The response is missing: it may have happened.
    #[error("{0}")]
    Lost(String),
}

impl CallError {
    pub(super) fn is_compacted(&self) -> bool {
        self.is_out_of_range("compacted")
    }

    /// The response had more bytes than are taken.
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
    pub(super) at: String,
    grpc: Grpc<Channel>,
    token: Option<MetadataValue<Ascii>>,
}

impl Member {
    /// Connects to a member and authenticates, where a user is configured.
    pub(super) async fn connect(options: &Options, at: &str) -> Result<Self, CallError> {
        let channel = timeout(CONNECT_TIMEOUT, endpoint(options, at)?.connect())
            .await
            .map_err(|_| CallError::Lost("does not answer".into()))??;
        let mut member = Self {
            at: at.to_owned(),
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

    /// A lease of so many seconds.
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

    /// Makes a lease last for its whole time again. `false`: it is gone.
    pub(super) async fn keep_alive(&self, id: i64) -> Result<bool, CallError> {
        let (requests, outbound) = mpsc::channel(1);
        let _ = requests.send(LeaseRequest { id }).await;
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let exchange = async {
            let mut responses: Streaming<LeaseResponse> = self.stream(path, outbound).await?;
            let answer = responses.message().await?;
            Ok(answer.is_some_and(|answer| answer.ttl > 0))
        };
        within(exchange).await
    }

    /// Follows a range of keys from a revision on.
    pub(super) async fn watch(&self, create: WatchCreateRequest) -> Result<Watching, CallError> {
        let (requests, outbound) = mpsc::channel(4);
        let request = Some(WatchRequestUnion::Create(create));
        let _ = requests.send(WatchRequest { request }).await;
        let responses = within(self.stream("/etcdserverpb.Watch/Watch", outbound)).await?;
        Ok(Watching {
            requests,
            responses,
            heard: Instant::now(),
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
        within(exchange).await
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
        // A member without a leader ends the stream instead of staying silent.
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
    heard: Instant,
}

impl Watching {
    /// The next message of the watch.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, CallError> {
        match self.responses.message().await {
            Ok(Some(answer)) => {
                self.heard = Instant::now();
                Ok(answer)
            }
            Ok(None) => Err(CallError::Lost("the member ended the watch".into())),
            Err(status) => Err(status.into()),
        }
    }

    /// Requests a progress notification; fails when the last ones were not answered in time.
    pub(super) fn probe(&self) -> Result<(), CallError> {
        if self.heard.elapsed() > CALL_TIMEOUT {
            return Err(slow());
        }
        let request = Some(WatchRequestUnion::Progress(Empty {}));
        // When the queue is full, the ones before are still on their way.
        let _ = self.requests.try_send(WatchRequest { request });
        Ok(())
    }
}

/// Bounds a call.
async fn within<T>(call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(slow()))
}

fn slow() -> CallError {
    CallError::Lost(format!("no answer within {} ms", CALL_TIMEOUT.as_millis()))
}

fn endpoint(options: &Options, at: &str) -> Result<Endpoint, CallError> {
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{at}"))?
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
