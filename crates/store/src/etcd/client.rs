//! One member of an etcd cluster, over one connection.

use super::{
    options::Options,
    proto::{
        AuthenticateRequest, AuthenticateResponse, CompactionRequest, Empty, LeaseGrantRequest,
        LeaseRequest, LeaseResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
        WatchAsk, WatchCreateRequest, WatchRequest, WatchResponse,
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

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a member may take to answer. Electing a leader takes one to two seconds; a member that is
/// stopped answers never.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(2500);
/// etcd refuses pings that come more often than every five seconds.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// The largest answer that is taken: a page of records, or what a watch has to catch up.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum CallError {
    /// etcd refused it: nothing happened.
    Refused { code: Code, why: String },
    /// The answer is missing: it may have happened.
    Lost(String),
}

impl CallError {
    pub(super) fn is_compacted(&self) -> bool {
        matches!(self, CallError::Refused { code: Code::OutOfRange, why } if why.contains("compacted"))
    }

    /// The answer had more bytes than are taken.
    pub(super) fn is_too_large(&self) -> bool {
        matches!(self, CallError::Refused { code: Code::OutOfRange, why } if why.contains("too large"))
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CallError::Refused { why, .. } | CallError::Lost(why) => f.write_str(why),
        }
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
    /// Connects to a member, and says who we are where that is asked for.
    pub(super) async fn connect(options: &Options, at: &str) -> Result<Self, CallError> {
        let opened = timeout(CONNECT_TIMEOUT, endpoint(options, at)?.connect()).await;
        let channel = match opened {
            Ok(Ok(channel)) => channel,
            Ok(Err(error)) => return Err(CallError::Lost(ErrorChain(&error).to_string())),
            Err(_) => return Err(CallError::Lost("does not answer".into())),
        };
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
        let (asks, outbound) = mpsc::channel(1);
        let _ = asks.send(LeaseRequest { id }).await;
        let path = "/etcdserverpb.Lease/LeaseKeepAlive";
        let exchange = async {
            let mut answers: Streaming<LeaseResponse> = self.stream(path, outbound).await?;
            let answer = answers.message().await?;
            Ok(answer.is_some_and(|answer| answer.ttl > 0))
        };
        timeout(CALL_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| slow())
    }

    /// Follows a range of keys from a revision on.
    pub(super) async fn watch(&self, create: WatchCreateRequest) -> Result<Watching, CallError> {
        let (asks, outbound) = mpsc::channel(4);
        let ask = Some(WatchAsk::Create(create));
        let _ = asks.send(WatchRequest { ask }).await;
        let opened = timeout(
            CALL_TIMEOUT,
            self.stream("/etcdserverpb.Watch/Watch", outbound),
        )
        .await;
        Ok(Watching {
            asks,
            answers: opened.unwrap_or_else(|_| slow())?,
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
            let ready = grpc.ready().await;
            ready.map_err(|error| CallError::Lost(ErrorChain(&error).to_string()))?;
            Ok(grpc.unary(request, path, codec).await?.into_inner())
        };
        timeout(CALL_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| slow())
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
        let ready = grpc.ready().await;
        ready.map_err(|error| CallError::Lost(ErrorChain(&error).to_string()))?;
        let mut request = self.request(ReceiverStream::new(outbound));
        // A member that has no leader ends the stream instead of saying nothing for ever.
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
    asks: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    heard: Instant,
}

impl Watching {
    /// What the member tells next.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, CallError> {
        match self.answers.message().await {
            Ok(Some(answer)) => {
                self.heard = Instant::now();
                Ok(answer)
            }
            Ok(None) => Err(CallError::Lost("the member ended the watch".into())),
            Err(status) => Err(status.into()),
        }
    }

    /// Asks for a sign of life, and fails when the last ones were not answered.
    pub(super) fn probe(&self) -> Result<(), CallError> {
        if self.heard.elapsed() > CALL_TIMEOUT {
            return slow();
        }
        let ask = Some(WatchAsk::Progress(Empty {}));
        // When the queue is full, the ones before are still on their way.
        let _ = self.asks.try_send(WatchRequest { ask });
        Ok(())
    }
}

fn slow<T>() -> Result<T, CallError> {
    Err(CallError::Lost(format!(
        "no answer within {} ms",
        CALL_TIMEOUT.as_millis()
    )))
}

fn endpoint(options: &Options, at: &str) -> Result<Endpoint, CallError> {
    let scheme = if options.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let wrong = |error: tonic::transport::Error| CallError::Lost(ErrorChain(&error).to_string());
    let endpoint = Endpoint::from_shared(format!("{scheme}://{at}"))
        .map_err(wrong)?
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
    endpoint.tls_config(config).map_err(wrong)
}
