//! `tombolo proxy`, `tombolo envoy`, `tombolo init` and `tombolo ready`: what runs inside a pod.

use crate::logging::{self, Level};
use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::PathBuf,
    time::{Duration, Instant},
};
use tombolo_proxy::Options;

/// Run the sidecar. It is configured by the environment variables of App Mesh's Envoy image.
#[derive(clap::Args)]
pub(crate) struct Proxy {
    #[command(flatten)]
    control_plane: ControlPlane,
}

/// How a proxy reaches its control plane, beside `APPMESH_XDS_ENDPOINT`.
#[derive(clap::Args)]
pub(super) struct ControlPlane {
    /// PEM file of the authorities of the control plane's certificate, where APPMESH_XDS_ENDPOINT is
    /// https://HOST:PORT; in place of TOMBOLO_XDS_CA. The system's when absent.
    #[arg(long, value_name = "FILE")]
    xds_ca: Option<PathBuf>,
    /// File with the token of the pod's service account for the audience tombolo/RESOURCE, by which the control plane
    /// knows the proxy; in place of TOMBOLO_XDS_TOKEN_FILE. Read at each connection.
    #[arg(long, value_name = "FILE")]
    xds_token_file: Option<PathBuf>,
}

impl ControlPlane {
    /// The options of a proxy, from the environment and the command line.
    fn options(self) -> Result<Options, super::Error> {
        let options = Options::from_env(&environment)?;
        Ok(Options {
            xds_authorities: self.ca(),
            xds_token_file: self.token_file(),
            ..options
        })
    }

    /// The file with the authorities of the control plane.
    pub(super) fn ca(&self) -> Option<PathBuf> {
        self.xds_ca.clone().or_else(|| path("TOMBOLO_XDS_CA"))
    }

    /// The file with the token.
    pub(super) fn token_file(&self) -> Option<PathBuf> {
        let given = self.xds_token_file.clone();
        given.or_else(|| path("TOMBOLO_XDS_TOKEN_FILE"))
    }
}

impl Proxy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = self.control_plane.options()?;
        logging::start(log_level());
        tombolo_proxy::run(options)?;
        Ok(0)
    }
}

/// Run a real Envoy as the sidecar, from the same environment variables.
#[derive(clap::Args)]
pub(crate) struct Envoy {
    /// The Envoy program.
    #[arg(long, env = "TOMBOLO_ENVOY", default_value = "envoy")]
    program: PathBuf,
    #[command(flatten)]
    control_plane: ControlPlane,
}

impl Envoy {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let options = self.control_plane.options()?;
        let bootstrap = tombolo_proxy::bootstrap_for_envoy::generate(&options);
        let error = std::process::Command::new(&self.program)
            .args(["--config-yaml", &bootstrap.to_string()])
            .args([
                "--log-level",
                &logging::envoy_level(log_level()),
                "--use-dynamic-base-id",
            ])
            .args(["--concurrency", &options.worker_count().to_string()])
            .args(["--drain-time-s", "5", "--parent-shutdown-time-s", "10"])
            .exec();
        Err(format!("cannot start {}: {error}", self.program.display()).into())
    }
}

/// Redirect a pod's traffic to its sidecar: the program of the init container. It is configured by the
/// environment variables of App Mesh's proxy-route-manager image.
#[derive(clap::Args)]
pub(crate) struct Init {}

impl Init {
    pub(crate) fn run(self) -> Result<i32, super::Error> {
        use tombolo_linux::intercept::{self, InterceptConfig};
        match InterceptConfig::from_env(&environment)? {
            Some(config) => intercept::apply(&config)?,
            None => println!("APPMESH_START_ENABLED is not 1: nothing is redirected"),
        }
        Ok(0)
    }
}

/// Wait until the sidecar of this pod is ready: the hook that holds an application back where sidecars are not native.
#[derive(clap::Args)]
pub(crate) struct Ready {
    /// Seconds after which it fails.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    timeout: u32,
    /// The sidecar's admin port.
    #[arg(long, env = "ENVOY_ADMIN_ACCESS_PORT", default_value_t = 9901)]
    admin_port: u16,
}

impl Ready {
    /// How long one look may take, and the pause between two.
    const LOOK: Duration = Duration::from_secs(1);
    const PAUSE: Duration = Duration::from_millis(200);

    pub(crate) fn run(self) -> Result<i32, super::Error> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.admin_port));
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        loop {
            let state = match Self::look(address) {
                Ok(true) => return Ok(0),
                Ok(false) => "it has no configuration yet".to_owned(),
                Err(error) => error.to_string(),
            };
            if Instant::now() >= deadline {
                return Err(format!("the sidecar at {address} is not ready: {state}").into());
            }
            std::thread::sleep(Self::PAUSE);
        }
    }

    fn look(address: SocketAddr) -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Self::LOOK)?;
        stream.set_read_timeout(Some(Self::LOOK))?;
        stream.set_write_timeout(Some(Self::LOOK))?;
        stream.write_all(b"GET /ready HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(status.ends_with(b" 200"))
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The path in a variable; an empty one counts as unset.
fn path(variable: &str) -> Option<PathBuf> {
    let path = environment(variable).filter(|path| !path.trim().is_empty());
    path.map(|path| PathBuf::from(path.trim()))
}

/// The level in `ENVOY_LOG_LEVEL`; warnings where it names none.
pub(super) fn log_level() -> Level {
    let word = environment("ENVOY_LOG_LEVEL").unwrap_or_default();
    logging::level(&word).unwrap_or(Level::WARN)
}
