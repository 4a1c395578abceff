//! Real AWS clients against a real server: only endpoints are set.

mod app_mesh;
mod cloud_map;
mod command_line;
mod health;
mod metrics;
mod request_id;
mod tagging;

use tombolo_tests::{Server, boto::Boto};

/// A server and a boto3 that calls it; `None`, after a message, when something is missing.
fn server_and_boto() -> Option<(Server, Boto)> {
    let server = Server::start()?;
    let boto = Boto::start(&server.aws())?;
    Some((server, boto))
}
