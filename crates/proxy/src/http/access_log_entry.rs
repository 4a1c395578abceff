//! The access log entry of one request, collected only where a log is configured.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

use crate::access_log::Logs;
use crate::config::format::LogFields;
use crate::config::http_connection_manager::HttpConnectionManager;

/// Written when dropped, so that every request is logged however it ends.
pub(crate) struct AccessLogEntry {
    pub(crate) logs: Rc<Logs>,
    pub(crate) manager: Arc<HttpConnectionManager>,
    pub(crate) start: SystemTime,
    pub(crate) started: Instant,
    pub(crate) protocol: &'static str,
    pub(crate) method: http::Method,
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) request: HeaderMap,
    pub(crate) response: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) status: u16,
    pub(crate) details: &'static str,
    pub(crate) flags: &'static str,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) answered: Option<Instant>,
    pub(crate) upstream_host: Option<SocketAddr>,
    pub(crate) upstream_cluster: Option<Arc<str>>,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) attempts: u32,
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let fields = LogFields {
            start: Some(self.start),
            protocol: Some(self.protocol),
            method: self.method.as_str(),
            path: &self.path,
            authority: &self.authority,
            scheme: "http",
            request: Some(&self.request),
            response: Some(&self.response),
            trailers: self.trailers.as_ref(),
            status: self.status,
            details: self.details,
            flags: if self.flags.is_empty() {
                "-"
            } else {
                self.flags
            },
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            duration: Some(self.started.elapsed()),
            request_duration: None,
            response_duration: self.answered.map(|at| at.duration_since(self.started)),
            upstream_host: self.upstream_host,
            upstream_cluster: self.upstream_cluster.as_deref().unwrap_or_default(),
            local: Some(self.local),
            remote: Some(self.remote),
            route: self.route.as_deref().unwrap_or_default(),
            attempts: self.attempts,
        };
        for log in &self.manager.access_logs {
            self.logs.write(log, &fields);
        }
    }
}
