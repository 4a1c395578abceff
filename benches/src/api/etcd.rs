//! The etcd server that is compared: one member on loopback, with the two calls that the benchmark makes.

use super::Load;
use crate::{Result, child::Child, http::free_port};
use prost::Message;
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tonic::{
    Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
    transport::Endpoint,
};
use tonic_prost::ProstCodec;

const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes, tag = "1")]
    key: Vec<u8>,
    #[prost(bytes, tag = "2")]
    range_end: Vec<u8>,
}

/// The records stay undecoded: the cost of the load is not measured.
#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(int64, tag = "4")]
    count: i64,
}

pub(super) struct Etcd {
    child: Child,
    at: SocketAddr,
    client: Grpc<Channel>,
    range: RangeRequest,
}

impl Etcd {
    pub(super) async fn start(program: &Path, directory: &Path) -> Result<Self> {
        let (at, peer) = (free_port()?, free_port()?);
        let (client_url, peer_url) = (format!("http://{at}"), format!("http://{peer}"));
        let mut command = Command::new(program);
        command
            .arg("--data-dir")
            .arg(directory.join("etcd"))
            .args(["--name", "bench"])
            .args(["--listen-client-urls", &client_url])
            .args(["--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url])
            .args(["--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("bench={peer_url}")]);
        let child = Child::start(&mut command, &directory.join("etcd.log"))?;
        let begin = Instant::now();
        let channel = loop {
            match Endpoint::from_shared(client_url.clone())?.connect().await {
                Ok(channel) => break channel,
                Err(error) if begin.elapsed() > TIMEOUT => {
                    return Err(format!("etcd: {error}: {}", child.printed()).into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        Ok(Self {
            child,
            at,
            client: Grpc::new(channel),
            range: RangeRequest::default(),
        })
    }

    pub(super) fn child(&self) -> &Child {
        &self.child
    }

    pub(super) async fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let request = PutRequest {
            key: key.into(),
            value: value.into(),
        };
        let _: PutResponse = call(&mut self.client, "/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    /// Sets the prefix that the load reads, which ends with a slash.
    pub(super) async fn ask_for(&mut self, prefix: &str, expected: usize) -> Result<()> {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        self.range = RangeRequest {
            key: prefix.into(),
            range_end: end,
        };
        let found: RangeResponse = call(
            &mut self.client,
            "/etcdserverpb.KV/Range",
            self.range.clone(),
        )
        .await?;
        if usize::try_from(found.count) != Ok(expected) {
            return Err(format!("etcd holds {} of {expected} instances", found.count).into());
        }
        Ok(())
    }

    /// Starts reads on this many connections.
    pub(super) async fn load(&self, connections: usize) -> Result<Load> {
        let mut load = Load::new();
        for _ in 0..connections {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.at))?;
            let mut client = Grpc::new(endpoint.connect().await?);
            let (count, stop, range) = (load.count.clone(), load.stop.clone(), self.range.clone());
            load.callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let _: RangeResponse =
                        call(&mut client, "/etcdserverpb.KV/Range", range.clone()).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Ok(load)
    }
}

async fn call<Q, A>(client: &mut Grpc<Channel>, path: &'static str, request: Q) -> Result<A>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    client.ready().await?;
    let codec = ProstCodec::<Q, A>::default();
    let path = PathAndQuery::from_static(path);
    let answer = client.unary(Request::new(request), path, codec).await?;
    Ok(answer.into_inner())
}
