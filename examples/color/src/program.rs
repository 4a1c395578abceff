//! Starting a program from its environment, and ending it on SIGTERM.

use crate::{color::Color, front::Front, listen};
use hyper::{Uri, header::HeaderValue};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// What [`run`] knows.
pub const PROGRAMS: &[&str] = &["front", "color"];

/// How long requests may go on after the signal to stop.
const GRACE: Duration = Duration::from_millis(800);

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not one of [`PROGRAMS`].
    #[error("there is no program {name:?}; there are: {}", PROGRAMS.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// An environment variable that cannot be used.
    #[error("{name}={value:?}: {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value; empty if it is not set.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The port is taken, or not for us.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system refuses what every program needs.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// A program that knows all it needs.
pub(crate) enum Program {
    Front(Box<Front>),
    Color(Color),
}

impl Program {
    /// Reads the program's environment.
    pub(crate) fn new(name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        match name {
            "front" => {
                let value = env("COLOR_HOST").unwrap_or_default();
                let color_host = format!("http://{value}/").parse().ok().filter(is_host);
                match color_host {
                    Some(uri) => Ok(Self::Front(Box::new(Front::new(uri)))),
                    None => Err(Error::Variable {
                        name: "COLOR_HOST",
                        value,
                        reason: "must be HOST or HOST:PORT, whom to ask for a color",
                    }),
                }
            }
            "color" => {
                let color = env("COLOR").unwrap_or_else(|| "black".into());
                // A pod's name always is a header value; where it is not, nobody misses it.
                let pod = env("HOSTNAME").and_then(|name| HeaderValue::try_from(name).ok());
                Ok(Self::Color(Color::new(color, pod)))
            }
            _ => Err(Error::Unknown { name: name.into() }),
        }
    }
}

/// Whether this is a host, with a port or without, and nothing else.
fn is_host(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else {
        return false;
    };
    let host_and_port = match authority.port_u16() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    authority.as_str() == host_and_port && uri.path() == "/" && uri.query().is_none()
}

fn port(env: &dyn Fn(&str) -> Option<String>) -> Result<u16, Error> {
    for name in ["PORT", "SERVER_PORT"] {
        if let Some(value) = env(name) {
            return value.parse().map_err(|_| Error::Variable {
                name,
                value,
                reason: "must be a port number",
            });
        }
    }
    Ok(8080)
}

/// Runs a program until it gets SIGTERM or SIGINT, then ends the requests under way and returns within a
/// second. `env` gives the environment: `PORT` or `SERVER_PORT` (8080 if neither is set); `COLOR_HOST` for
/// `front`; `COLOR` and `HOSTNAME` for `color`.
///
/// # Errors
/// If the program is not known, its environment is wrong, or its port cannot be opened.
pub fn run(program: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port(env)?));
    let state = Program::new(program, env)?;
    // One thread: the programs do little, and there are many of them on one machine.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Start)?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Start)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Start)?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address, source })?;
        let address = listener.local_addr().map_err(Error::Start)?;
        println!("{program} listens on {address}");
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        listen::serve(listener, state, stop, GRACE).await;
        Ok(())
    });
    // A lookup that hangs in the system's resolver must not hold up the exit.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests;
