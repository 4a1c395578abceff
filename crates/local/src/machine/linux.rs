//! The real machine: `tombolo-linux` behind the [`Machine`] trait.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::{TcpSocket, TcpStream};
use tombolo_linux::container::{self, Container, ContainerSpec, Mount, MountSource};
use tombolo_linux::fabric::{Fabric, FabricRules, PodNet, Refusal};

use super::{
    ExecSpec, Executed, Machine, MountSpec, Place, Process, ProcessSpec, StartError, VolumeSource,
};

/// Pods as network namespaces of one fabric.
pub struct LinuxMachine {
    fabric: Arc<Fabric>,
}

impl LinuxMachine {
    /// A machine whose pods hang on `fabric`.
    pub fn new(fabric: Arc<Fabric>) -> Self {
        Self { fabric }
    }
}

impl Machine for LinuxMachine {
    fn open(&self, name: &str, address: Ipv4Addr) -> tombolo_linux::Result<Arc<dyn Place>> {
        let net = self.fabric.add_pod(name, address)?;
        Ok(Arc::new(LinuxPlace {
            fabric: self.fabric.clone(),
            net,
        }))
    }

    fn apply(&self, rules: &FabricRules) -> tombolo_linux::Result<()> {
        self.fabric.apply(rules)
    }

    fn refusals(&self) -> tombolo_linux::Result<Vec<Refusal>> {
        self.fabric.refusals()
    }
}

struct LinuxPlace {
    fabric: Arc<Fabric>,
    net: PodNet,
}

impl Place for LinuxPlace {
    fn start(&self, spec: ProcessSpec) -> BoxFuture<'_, Result<Arc<dyn Process>, StartError>> {
        async move {
            let spec = ContainerSpec {
                argv: spec.argv.into_iter().map(OsString::from).collect(),
                env: environment(spec.env),
                cwd: spec.workdir,
                hostname: Some(spec.hostname),
                netns: Some(self.net.netns.clone()),
                user: user(spec.user),
                resolv_conf: Some(spec.resolv_conf.into_bytes()),
                hosts: Some(spec.hosts.into_bytes()),
                privileges: spec.privileges,
                mounts: spec.mounts.into_iter().map(mount).collect(),
                stdout: spec.stdout,
                stderr: spec.stderr,
                ..ContainerSpec::default()
            };
            match Container::spawn(spec).await {
                Ok(container) => Ok(Arc::new(LinuxProcess(container)) as Arc<dyn Process>),
                Err(error) => Err(not_started(&error)),
            }
        }
        .boxed()
    }

    fn connect(&self, address: SocketAddrV4) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        async move {
            // A socket belongs for life to the namespace it was made in, so only its making happens there.
            let socket = self
                .net
                .netns
                .run(TcpSocket::new_v4)
                .map_err(std::io::Error::other)??;
            socket.connect(SocketAddr::V4(address)).await
        }
        .boxed()
    }

    fn close(&self) {
        if let Err(error) = self.fabric.remove_pod(&self.net) {
            tracing::warn!(pod = self.net.name, %error, "pod network left behind");
        }
    }
}

struct LinuxProcess(Container);

impl Process for LinuxProcess {
    fn id(&self) -> u32 {
        self.0.pid()
    }

    fn terminate(&self) {
        self.0.signal(rustix::process::Signal::TERM);
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn wait(&self) -> BoxFuture<'_, i32> {
        self.0.wait().boxed()
    }

    fn exec(&self, spec: ExecSpec) -> BoxFuture<'_, Result<Arc<dyn Executed>, StartError>> {
        async move {
            let [stdin, stdout, stderr] = spec.stdio;
            let spec = container::ExecSpec {
                argv: spec.argv.into_iter().map(OsString::from).collect(),
                env: environment(spec.env),
                cwd: spec.workdir,
                user: user(spec.user),
                stdin,
                stdout,
                stderr,
                terminal: spec.terminal,
            };
            match self.0.exec(spec).await {
                Ok(executed) => Ok(Arc::new(LinuxExecuted(executed)) as Arc<dyn Executed>),
                Err(error) => Err(not_started(&error)),
            }
        }
        .boxed()
    }
}

struct LinuxExecuted(container::Process);

impl Executed for LinuxExecuted {
    fn wait(&self) -> BoxFuture<'_, i32> {
        self.0.wait().boxed()
    }

    fn signal(&self, number: i32) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(number) {
            self.0.signal(signal);
        }
    }

    fn kill(&self) {
        self.0.kill();
    }
}

fn not_started(error: &tombolo_linux::Error) -> StartError {
    StartError {
        message: error.to_string(),
        code: match error.kind() {
            std::io::ErrorKind::NotFound => 127,
            _ => 126,
        },
    }
}

fn environment(env: BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
    env.into_iter()
        .map(|(key, value)| (key.into(), value.into()))
        .collect()
}

fn user(user: Option<(u32, u32)>) -> Option<container::User> {
    user.map(|(uid, gid)| container::User { uid, gid })
}

fn mount(spec: MountSpec) -> Mount {
    let source = match spec.source {
        VolumeSource::Files(files) => MountSource::Files(files),
        VolumeSource::File(file) => MountSource::File(file),
        VolumeSource::Path(path) => MountSource::Path(path),
        VolumeSource::Scratch => MountSource::Scratch,
    };
    Mount {
        at: spec.at,
        source,
        read_only: spec.read_only,
    }
}
