//! x
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use crate::generation::Generation;
use crate::metrics::Registry;
use crate::options::Options;
use crate::worker::Phase;
pub(crate) struct State {
    pub(crate) options: Arc<Options>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    pub(crate) phase: Arc<watch::Sender<Phase>>,
    pub(crate) started: Instant,
}
pub(crate) async fn serve(_bound: Option<std::net::TcpListener>, _state: State) { std::future::pending().await }
