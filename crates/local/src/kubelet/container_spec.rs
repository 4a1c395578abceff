//! The spec of a container that the runtime starts: command, environment, mounts, user.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use tombolo_kube::inject::PROXY_UID;
use tombolo_kube::{ObjectExt, PodExt};
use tombolo_linux::CapabilitySet;
use tombolo_linux::container::{ContainerSpec, Mount, MountSource, User};

use super::env::{self, Env, expand};
use super::references::ReferenceError;
use super::security_context::{self, must_not_be_root};
use super::volumes::{self, VolumeError};
use crate::cluster::Objects;
use crate::cluster::service_view::hostname;
use crate::cluster::sidecar_injector::is_proxy;
use crate::images_file::Images;

/// The variable that marks the init container that sets up interception.
const INTERCEPT: &str = "APPMESH_START_ENABLED";

/// Path of Tombolo's binary inside containers. Its path on the host may be accessible to its owner only.
const OWN_PROGRAM: &str = "/.tombolo-pod/tombolo";

/// Path of the Envoy binary inside containers, for the same reason.
const ENVOY_PROGRAM: &str = "/.tombolo-pod/envoy";

/// Path of the xDS server's socket inside proxy containers. No other container has it.
const XDS_SOCKET: &str = "/.tombolo-pod/xds.sock";

/// The socket as an xDS endpoint.
pub(crate) const XDS_ENDPOINT: &str = "unix:///.tombolo-pod/xds.sock";

/// Path of the directory where a proxy keeps its last good configuration.
const PROXY_STATE: &str = "/.tombolo-pod/state";

/// `PATH` of a container when this process has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The settings that all containers of a cluster share.
#[derive(Debug, Clone)]
pub(crate) struct ContainerConfig {
    /// The command of each image.
    pub(crate) images: Images,
    /// Tombolo's binary on the host.
    pub(crate) program: PathBuf,
    /// The Envoy binary, when Envoy is the proxy.
    pub(crate) envoy: Option<PathBuf>,
    /// The socket of the xDS server on the host.
    pub(crate) xds_socket: PathBuf,
    /// `SO_MARK` of a proxy's sockets, where only one user id exists and cannot identify the proxy.
    pub(crate) mark: Option<u32>,
    /// The name server of every container.
    pub(crate) dns: Ipv4Addr,
    /// The name of the cluster.
    pub(crate) cluster: String,
}

/// The reason why a container cannot be started; [`reason`](Self::reason) is Kubernetes' word for it.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// No image of this name is known.
    #[error("no command is known for image \"{0}\"; add to the images file:\n{suggestion}", suggestion = Images::suggestion(.0))]
    Image(String),
    /// A variable has a dangling reference.
    #[error(transparent)]
    Env(#[from] ReferenceError),
    /// A volume cannot be mounted.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The container must not run as root and would.
    #[error("container has runAsNonRoot and would run as root; set securityContext.runAsUser")]
    Root,
    /// Neither the image nor the container has a command.
    #[error("the container has no command")]
    NoCommand,
    /// The directory of the proxy's state cannot be created.
    #[error("{path}: {cause}", path = path.display())]
    State {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The log of the container cannot be created.
    #[error("cannot {what}: {cause}")]
    Output {
        what: &'static str,
        #[source]
        cause: io::Error,
    },
}

impl StartError {
    /// The reason of the container's waiting state.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Image(_) => "ErrImagePull",
            Self::Output { .. } => "CreateContainerError",
            _ => "CreateContainerConfigError",
        }
    }
}

/// The spec with which a container is started. `shared` is the pod's private directory.
///
/// # Errors
/// The image is unknown, or a reference of the container is dangling.
pub(super) fn resolve(
    config: &ContainerConfig,
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    shared: &Path,
) -> Result<ContainerSpec, StartError> {
    let image = config.images.resolve(container, OWN_PROGRAM);
    let image =
        image.ok_or_else(|| StartError::Image(container.image.clone().unwrap_or_default()))?;
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let mut env = Env::from([
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), "/".to_owned()),
    ]);
    env.extend(image.env);
    env.insert("HOSTNAME".to_owned(), short_hostname(pod).to_owned());
    env.extend(env::resolve(objects, pod, container)?);
    let user = user(config, pod, container);
    if user.is_none() && config.mark.is_none() && must_not_be_root(pod, container) {
        return Err(StartError::Root);
    }
    let mut privileges = security_context::privileges(container);
    let mut mounts = volumes::mounts(objects, pod, container, &env, shared)?;
    let mut mount = |at: &str, source, read_only| {
        mounts.push(Mount {
            at: at.into(),
            source,
            read_only,
        });
    };
    if !container
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| mount.mount_path == "/tmp")
    {
        let read_only = security_context::read_only_root(container);
        mount("/tmp", MountSource::Scratch, read_only);
    }
    mount(OWN_PROGRAM, MountSource::Path(config.program.clone()), true);
    let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
    let mark = config.mark.map(|mark| mark.to_string());
    if is_proxy(pod, container) {
        let state = proxy_state(config, &container.name, shared)?;
        mount(PROXY_STATE, MountSource::Path(state), false);
        mount(
            XDS_SOCKET,
            MountSource::Path(config.xds_socket.clone()),
            false,
        );
        set("APPMESH_XDS_ENDPOINT", XDS_ENDPOINT);
        set("TOMBOLO_CLUSTER", &config.cluster);
        set("TOMBOLO_NAMESPACE", pod.namespace());
        set("TOMBOLO_POD", pod.name());
        set("TOMBOLO_STATE_DIR", PROXY_STATE);
        if let Some(mark) = mark {
            set("TOMBOLO_SOCKET_MARK", &mark);
            // `SO_MARK` needs this capability.
            privileges.capabilities |= CapabilitySet::NET_ADMIN;
        }
        if let Some(envoy) = &config.envoy {
            set("TOMBOLO_ENVOY", ENVOY_PROGRAM);
            mount(ENVOY_PROGRAM, MountSource::Path(envoy.clone()), true);
        }
    } else if let Some(mark) = mark.filter(|_| env.contains_key(INTERCEPT)) {
        env.insert("TOMBOLO_SOCKET_MARK".to_owned(), mark);
    }
    let argv = image.argv.iter().map(|word| expand(word, &env));
    let mut argv: Vec<String> = argv.collect();
    let program = argv.first_mut().ok_or(StartError::NoCommand)?;
    let cwd = container
        .working_dir
        .as_ref()
        .map(PathBuf::from)
        .or(image.workdir);
    // A program by its path relative to the working directory, as in `command: ["./server"]`.
    if let (Some(cwd), true) = (&cwd, program.starts_with("./")) {
        *program = cwd.join(&*program).display().to_string();
    }
    let env = env.into_iter();
    Ok(ContainerSpec {
        argv: argv.into_iter().map(Into::into).collect(),
        env: env
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        cwd,
        hostname: Some(short_hostname(pod).to_owned()),
        user,
        privileges,
        resolv_conf: Some(resolv_conf(config.dns, pod).into_bytes()),
        hosts: Some(hosts(pod).into_bytes()),
        mounts,
        ..ContainerSpec::default()
    })
}

/// The directory of a proxy's state, writable by the proxy's user.
fn proxy_state(
    config: &ContainerConfig,
    container: &str,
    shared: &Path,
) -> Result<PathBuf, StartError> {
    let path = shared.join("state").join(container);
    let mut created = std::fs::create_dir_all(&path);
    if config.mark.is_none() {
        let uid = u32::try_from(PROXY_UID).ok();
        created = created.and_then(|()| std::os::unix::fs::chown(&path, uid, uid));
    }
    match created {
        Ok(()) => Ok(path),
        Err(cause) => Err(StartError::State { path, cause }),
    }
}

/// The user of a container; `None` for root, and where only one user exists.
fn user(config: &ContainerConfig, pod: &Pod, container: &Container) -> Option<User> {
    if config.mark.is_some() {
        return None;
    }
    let own = container.security_context.clone().unwrap_or_default();
    let pods = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.clone());
    let pods = pods.unwrap_or_default();
    let uid = u32::try_from(own.run_as_user.or(pods.run_as_user)?).ok()?;
    let gid = own.run_as_group.or(pods.run_as_group);
    let gid = gid.and_then(|gid| u32::try_from(gid).ok()).unwrap_or(uid);
    (uid != 0).then_some(User { uid, gid })
}

/// The first 63 bytes of the host name, the kernel's maximum.
fn short_hostname(pod: &Pod) -> &str {
    let name = hostname(pod);
    name.get(..63).unwrap_or(name)
}

fn resolv_conf(dns: Ipv4Addr, pod: &Pod) -> String {
    let namespace = Some(pod.namespace()).filter(|name| !name.is_empty());
    let namespace = namespace.unwrap_or("default");
    format!(
        "nameserver {dns}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    )
}

fn hosts(pod: &Pod) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if let Some(address) = pod.ipv4() {
        text.push_str(&format!("{address} {}\n", short_hostname(pod)));
    }
    let aliases = pod
        .spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten());
    for alias in aliases {
        let names = alias.hostnames.clone().unwrap_or_default().join(" ");
        text.push_str(&format!("{} {names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::sidecar_injector::set_proxy;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn config(mark: Option<u32>) -> ContainerConfig {
        let images = Images::read(
            &json!({"*": {"command": ["{tombolo}", "app"]}}),
            Path::new("/"),
        )
        .unwrap();
        ContainerConfig {
            images,
            program: "/root/tombolo".into(),
            envoy: None,
            xds_socket: "/state/xds.sock".into(),
            mark,
            dns: "10.100.0.10".parse().unwrap(),
            cluster: "east".into(),
        }
    }

    fn try_start(
        config: &ContainerConfig,
        container: serde_json::Value,
    ) -> Result<ContainerSpec, StartError> {
        let pod = json!({"metadata": {"name": "web-1", "namespace": "shop"}, "status": {"podIP": "10.0.0.9"}});
        let mut pod: Pod = Codec::from_json(&pod).unwrap();
        set_proxy(&mut pod, "envoy");
        let container: Container = Codec::from_json(&container).unwrap();
        let dir = tempfile::tempdir().unwrap();
        resolve(config, &Objects::default(), &pod, &container, dir.path())
    }

    fn started(mark: Option<u32>, container: serde_json::Value) -> ContainerSpec {
        try_start(&config(mark), container).unwrap()
    }

    fn variable<'a>(spec: &'a ContainerSpec, name: &str) -> Option<&'a str> {
        let (_, value) = spec.env.iter().find(|(known, _)| known == name)?;
        value.to_str()
    }

    fn tmp(spec: &ContainerSpec) -> &Mount {
        let mut mounts = spec.mounts.iter();
        mounts.find(|mount| mount.at == Path::new("/tmp")).unwrap()
    }

    #[test]
    fn container_gets_names_addresses_and_its_own_tmp() {
        let spec = started(
            None,
            json!({"name": "web", "image": "x/web", "args": ["--url=http://$(TARGET)"], "env": [{"name": "TARGET", "value": "db"}]}),
        );
        assert_eq!(spec.argv, [OWN_PROGRAM, "app", "--url=http://db"]);
        assert!(spec.resolv_conf.as_ref().unwrap().starts_with(b"nameserver 10.100.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\n"));
        let hosts = String::from_utf8(spec.hosts.clone().unwrap()).unwrap();
        assert!(hosts.contains("10.0.0.9 web-1"));
        assert_eq!(tmp(&spec).source, MountSource::Scratch);
        assert_eq!(variable(&spec, "HOSTNAME"), Some("web-1"));
    }

    #[test]
    fn without_further_users_the_proxy_is_told_apart_by_mark() {
        let envoy =
            json!({"name": "envoy", "image": "x/envoy", "securityContext": {"runAsUser": 1337}});
        let spec = started(Some(1337), envoy);
        assert_eq!(spec.user, None);
        assert_eq!(variable(&spec, "TOMBOLO_SOCKET_MARK"), Some("1337"));
        assert_eq!(variable(&spec, "APPMESH_XDS_ENDPOINT"), Some(XDS_ENDPOINT));
        assert_eq!(spec.privileges.capabilities, CapabilitySet::NET_ADMIN);
    }

    /// A manifest cannot declare a proxy: only the injector's proxy container reaches the xDS server.
    #[test]
    fn only_the_injected_proxy_reaches_the_xds_server() {
        let has_socket = |name: &str| {
            let env = json!([{"name": "APPMESH_RESOURCE_ARN", "value": "mesh/m/virtualNode/n"}]);
            let container = json!({"name": name, "image": "x/envoy", "env": env});
            let spec = started(None, container);
            let socket = MountSource::Path("/state/xds.sock".into());
            spec.mounts.iter().any(|mount| mount.source == socket)
        };
        assert_eq!((has_socket("envoy"), has_socket("web")), (true, false));
    }

    #[test]
    fn containers_have_the_privileges_that_they_ask_for() {
        let plain = started(None, json!({"name": "web", "image": "x/web"}));
        assert_eq!(plain.privileges, Default::default());
        let context =
            json!({"readOnlyRootFilesystem": true, "capabilities": {"add": ["NET_ADMIN"]}});
        let asked = json!({"name": "web", "image": "x/web", "securityContext": context});
        let asked = started(None, asked);
        assert_eq!(asked.privileges.capabilities, CapabilitySet::NET_ADMIN);
        assert!(tmp(&asked).read_only);
    }

    #[test]
    fn container_that_must_not_be_root_needs_a_user() {
        let run = |context: serde_json::Value| {
            let container = json!({"name": "web", "image": "x/web", "securityContext": context});
            try_start(&config(None), container)
        };
        let error = run(json!({"runAsNonRoot": true})).unwrap_err();
        assert_eq!(error.reason(), "CreateContainerConfigError");
        assert!(error.to_string().contains("runAsUser"), "{error}");
        let user = run(json!({"runAsNonRoot": true, "runAsUser": 1000}))
            .unwrap()
            .user;
        assert_eq!(
            user,
            Some(User {
                uid: 1000,
                gid: 1000
            })
        );
    }

    #[test]
    fn unknown_image_shows_the_line_to_add() {
        let config = ContainerConfig {
            images: Images::default(),
            ..config(None)
        };
        let error = try_start(&config, json!({"name": "web", "image": "repo/web:v1"})).unwrap_err();
        assert_eq!(error.reason(), "ErrImagePull");
        let line = "\"*/web\": { command: [\"./web\"] }";
        assert!(error.to_string().contains(line), "{error}");
    }
}
