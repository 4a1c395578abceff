//! Envoy and this proxy on the same resources.

use std::net::SocketAddr;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;

use super::client::{self, Response};
use super::{Running, envoy};

pub struct Pair {
    pub envoy: envoy::Envoy,
    pub ours: Running,
    differences: std::cell::RefCell<Vec<String>>,
}

impl Pair {
    /// `None` after a message that Envoy is not installed; the test is then skipped.
    pub fn start(listener: &Listener, clusters: &[cluster::Cluster]) -> Option<Self> {
        Some(Self {
            envoy: envoy::Envoy::start(listener, clusters)?,
            ours: Running::with_one_worker(listener, clusters),
            differences: std::cell::RefCell::default(),
        })
    }

    /// Sends the same bytes to both and records differences between the responses.
    pub fn compare(&self, raw: &str) {
        let answer = |address: SocketAddr| {
            comparable(client::send(address, raw), &address.port().to_string())
        };
        let (ours, theirs) = (answer(self.ours.address), answer(self.envoy.address));
        if ours != theirs {
            let start: String = raw.chars().take(300).collect();
            self.differences
                .borrow_mut()
                .push(format!("{start}\n  ours:  {ours:?}\n  Envoy: {theirs:?}\n"));
        }
    }

    pub fn agree(&self) {
        let differences = self.differences.borrow();
        assert!(
            differences.is_empty(),
            "{} differences\n\n{}",
            differences.len(),
            differences.join("\n")
        );
    }

    pub fn compare_get(&self, path: &str) {
        self.compare(&format!("GET {path} HTTP/1.1\r\nhost: app.test\r\n\r\n"));
    }
}

/// Removes the parts that differ between runs: times, identifiers, ports.
fn comparable(mut response: Response, port: &str) -> (u16, Vec<(String, String)>, String) {
    response.headers.retain(|(name, _)| name != "date");
    for (name, value) in &mut response.headers {
        if name == "x-envoy-upstream-service-time" {
            *value = "T".to_owned();
        }
        *value = value.replace(port, "PORT");
    }
    // An echoed body has another length when the port has.
    response.headers.sort();
    let text = response.text();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(": ") {
            Some(("x-request-id", id)) if id.len() == 36 && id.matches('-').count() == 4 => {
                "x-request-id: UUID".to_owned()
            }
            _ => line.replace(port, "PORT"),
        })
        .collect();
    if text.contains("x-request-id") {
        response
            .headers
            .retain(|(name, _)| name != "content-length");
    }
    (response.status, response.headers, lines.join("\n"))
}
