//! A real Envoy on the same resources, where one is installed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use envoy_types::pb::envoy::config::bootstrap::v3 as bootstrap;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message;

use super::{resources, wait_for};

/// The Envoy binary; `None` after a message that the test is skipped. In CI a skip is a failure.
pub fn binary() -> Option<PathBuf> {
    tombolo_need::variable("TOMBOLO_ENVOY")
}

pub struct Envoy {
    child: Child,
    directory: PathBuf,
    pub address: SocketAddr,
}

impl Envoy {
    /// Starts Envoy with these resources; the listener is moved to a free port. `None` after a message that Envoy is
    /// not installed.
    pub fn start(listener: &Listener, clusters: &[Cluster]) -> Option<Self> {
        let binary = binary()?;
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut listener = listener.clone();
        listener.address = Some(resources::address(address));
        let config = bootstrap::Bootstrap {
            static_resources: Some(bootstrap::bootstrap::StaticResources {
                listeners: vec![listener],
                clusters: clusters.to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let directory =
            std::env::temp_dir().join(format!("tombolo-envoy-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let file = directory.join("bootstrap.pb");
        std::fs::write(&file, config.encode_to_vec()).expect("bootstrap written");
        let log = std::fs::File::create(directory.join("log")).expect("log");
        let child = Command::new(binary)
            .args([
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "--disable-hot-restart",
                "--config-path",
            ])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("envoy starts");
        let mut envoy = Self {
            child,
            directory,
            address,
        };
        wait_for("envoy to listen", || {
            if let Ok(Some(status)) = envoy.child.try_wait() {
                let log = std::fs::read_to_string(envoy.directory.join("log")).unwrap_or_default();
                panic!("envoy ended with {status}:\n{log}");
            }
            TcpStream::connect(address).ok()
        });
        Some(envoy)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("binds");
    socket.local_addr().expect("bound").port()
}
