//! The container runtime of Linux namespaces, by `tombolo-linux`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rustix::process::Signal;
use tokio::net::{TcpSocket, TcpStream};
use tombolo_linux::Result;
use tombolo_linux::container::{self, Container, ContainerSpec, ExecSpec};
use tombolo_linux::fabric::{Fabric, FabricRules, PodNet, Refusal};

use super::{ContainerRuntime, PodSandbox, Process};

/// Pods as network namespaces of one fabric.
pub(crate) struct LinuxRuntime(pub(crate) Arc<Fabric>);

impl ContainerRuntime for LinuxRuntime {
    fn create_sandbox(&self, name: &str, address: Ipv4Addr) -> Result<Arc<dyn PodSandbox>> {
        Ok(Arc::new(LinuxSandbox {
            net: self.0.add_pod(name, address)?,
            fabric: self.0.clone(),
        }))
    }

    fn apply_rules(&self, rules: &FabricRules) -> Result<()> {
        self.0.apply(rules)
    }

    fn refusals(&self) -> Result<Vec<Refusal>> {
        self.0.refusals()
    }
}

struct LinuxSandbox {
    fabric: Arc<Fabric>,
    net: PodNet,
}

impl PodSandbox for LinuxSandbox {
    fn start(&self, spec: ContainerSpec) -> BoxFuture<'_, Result<Arc<dyn Process>>> {
        let netns = Some(self.net.netns.clone());
        async move {
            let container = Container::spawn(ContainerSpec { netns, ..spec }).await?;
            Ok(Arc::new(container) as Arc<dyn Process>)
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, io::Result<TcpStream>> {
        async move {
            // A socket stays in the namespace in which it was created, so only the creation runs there.
            let socket = self.net.netns.run(TcpSocket::new_v4);
            let socket = socket.map_err(io::Error::other)??;
            socket.connect(SocketAddr::V4(address)).await
        }
        .boxed()
    }

    fn remove(&self) {
        if let Err(error) = self.fabric.remove_pod(&self.net) {
            tracing::warn!(pod = self.net.name, %error, "pod network left behind");
        }
    }
}

impl Process for Container {
    fn id(&self) -> u32 {
        self.pid()
    }

    fn terminate(&self) {
        container::Process::signal(self, Signal::TERM);
    }

    fn kill(&self) {
        container::Process::kill(self);
    }

    fn wait(&self) -> BoxFuture<'_, i32> {
        container::Process::wait(self).boxed()
    }

    fn exec(&self, spec: ExecSpec) -> BoxFuture<'_, Result<container::Process>> {
        Container::exec(self, spec).boxed()
    }
}
