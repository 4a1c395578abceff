//! A container of a pod as a process of the machine: command, environment, volumes, user.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use tombolo_linux::CapabilitySet;

use super::security::{self, must_not_be_root};
use super::volume;
use crate::cluster::Objects;
use crate::cluster::environment::{self, expand};
use crate::images::Images;
use crate::machine::{MountSpec, ProcessSpec, VolumeSource};

/// The variable that makes a container the proxy of its pod.
const PROXY: &str = "APPMESH_RESOURCE_ARN";

/// The variable that makes a container the one that sets up interception.
const INTERCEPT: &str = "APPMESH_START_ENABLED";

/// Where a container finds our own binary. Its real place may be one that only its owner can enter.
const OWN_PROGRAM: &str = "/.tombolo-pod/tombolo";

/// Where a container finds the Envoy binary, for the same reason.
const ENVOY_PROGRAM: &str = "/.tombolo-pod/envoy";

/// Where a proxy finds the socket of the xDS server. No other container has it.
const XDS_SOCKET: &str = "/.tombolo-pod/xds.sock";

/// The same as an endpoint.
pub const XDS_ENDPOINT: &str = "unix:///.tombolo-pod/xds.sock";

/// Where a proxy keeps its last good configuration.
const PROXY_STATE: &str = "/.tombolo-pod/state";

/// What is the same for every container of a runtime.
#[derive(Debug, Clone)]
pub struct Common {
    /// Which command stands for which image.
    pub images: Images,
    /// Our own binary.
    pub program: PathBuf,
    /// The Envoy binary, when Envoy is the proxy.
    pub envoy: Option<PathBuf>,
    /// The socket of the xDS server on this machine.
    pub xds_socket: PathBuf,
    /// Whether only one user id exists, so that proxies are told apart by this socket mark.
    pub mark: Option<u32>,
    /// Contents of every `resolv.conf`, but for the namespace.
    pub dns: std::net::Ipv4Addr,
    /// The name of the cluster.
    pub cluster: String,
}

/// Why a container cannot be started, as Kubernetes would say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unstartable {
    /// A word: `ErrImagePull`, `CreateContainerConfigError`.
    pub reason: &'static str,
    /// The details.
    pub message: String,
}

/// What to start for a container. `shared` is the pod's private directory.
///
/// # Errors
/// When the image is unknown or something that the container refers to is missing.
pub fn spec(
    common: &Common,
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    shared: &Path,
) -> Result<ProcessSpec, Unstartable> {
    let config = |message| Unstartable {
        reason: "CreateContainerConfigError",
        message,
    };
    let image = container.image.as_deref().unwrap_or_default();
    let (command, args) = (
        container.command.as_deref().unwrap_or_default(),
        container.args.as_deref().unwrap_or_default(),
    );
    let resolved = common
        .images
        .resolve(image, command, args, OWN_PROGRAM)
        .ok_or_else(|| Unstartable {
            reason: "ErrImagePull",
            message: format!(
                "no command is known for image \"{image}\"; add to the images file:\n{}",
                Images::suggestion(image)
            ),
        })?;
    let mut env = base_environment();
    env.extend(resolved.env);
    let own = environment::resolve(objects, pod, container).map_err(config)?;
    env.insert("HOSTNAME".to_owned(), hostname(pod));
    env.extend(own);
    let user = user(common, pod, container);
    if user.is_none() && common.mark.is_none() && must_not_be_root(pod.spec.as_ref(), container) {
        let why = "container has runAsNonRoot and would run as root; set securityContext.runAsUser";
        return Err(config(why.to_owned()));
    }
    let mut privileges = security::privileges(container);
    let mut mounts = volume::mounts(objects, pod, container, &env, shared).map_err(config)?;
    if !mounts.iter().any(|mount| mount.at == Path::new("/tmp")) {
        mounts.push(MountSpec {
            at: "/tmp".into(),
            source: VolumeSource::Scratch,
            read_only: security::read_only_root(container),
        });
    }
    mounts.push(MountSpec {
        at: OWN_PROGRAM.into(),
        source: VolumeSource::Path(common.program.clone()),
        read_only: true,
    });
    if env.contains_key(PROXY) {
        proxy(common, pod, &container.name, shared, &mut env, &mut mounts).map_err(config)?;
        if common.mark.is_some() {
            // Where it has no user of its own, it marks its sockets.
            privileges.capabilities |= CapabilitySet::NET_ADMIN;
        }
    } else if env.contains_key(INTERCEPT)
        && let Some(mark) = common.mark
    {
        env.insert("TOMBOLO_SOCKET_MARK".to_owned(), mark.to_string());
    }
    let mut argv: Vec<String> = resolved
        .argv
        .iter()
        .map(|word| expand(word, &env))
        .collect();
    if argv.is_empty() {
        return Err(config("the container has no command".to_owned()));
    }
    // A program given by its path from the working directory, as in `command: ["./server"]`.
    let workdir = container
        .working_dir
        .as_ref()
        .map(PathBuf::from)
        .or(resolved.workdir);
    if let (Some(workdir), true) = (&workdir, argv[0].starts_with("./")) {
        argv[0] = workdir.join(&argv[0]).display().to_string();
    }
    Ok(ProcessSpec {
        argv,
        env,
        workdir,
        hostname: hostname(pod),
        user,
        privileges,
        resolv_conf: resolv_conf(
            common.dns,
            pod.metadata.namespace.as_deref().unwrap_or("default"),
        ),
        hosts: hosts(pod),
        mounts,
        stdout: None,
        stderr: None,
    })
}

/// The environment that every process starts with.
pub fn base_environment() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    });
    BTreeMap::from([
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), "/".to_owned()),
    ])
}

/// Whether a container is the pod's proxy.
pub fn is_proxy(container: &Container) -> bool {
    container
        .env
        .iter()
        .flatten()
        .any(|variable| variable.name == PROXY)
}

fn proxy(
    common: &Common,
    pod: &Pod,
    container: &str,
    shared: &Path,
    env: &mut BTreeMap<String, String>,
    mounts: &mut Vec<MountSpec>,
) -> Result<(), String> {
    let state = shared.join("state").join(container);
    std::fs::create_dir_all(&state).map_err(|error| format!("{}: {error}", state.display()))?;
    if common.mark.is_none() {
        // The proxy runs as 1337 and must be able to write what it keeps.
        std::os::unix::fs::chown(&state, Some(1337), Some(1337))
            .map_err(|error| format!("{}: {error}", state.display()))?;
    }
    mounts.push(MountSpec {
        at: PROXY_STATE.into(),
        source: VolumeSource::Path(state),
        read_only: false,
    });
    let meta = &pod.metadata;
    mounts.push(MountSpec {
        at: XDS_SOCKET.into(),
        source: VolumeSource::Path(common.xds_socket.clone()),
        read_only: false,
    });
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("APPMESH_XDS_ENDPOINT", XDS_ENDPOINT.to_owned());
    set("TOMBOLO_CLUSTER", common.cluster.clone());
    set(
        "TOMBOLO_NAMESPACE",
        meta.namespace.clone().unwrap_or_default(),
    );
    set("TOMBOLO_POD", meta.name.clone().unwrap_or_default());
    set("TOMBOLO_STATE_DIR", PROXY_STATE.to_owned());
    if let Some(mark) = common.mark {
        set("TOMBOLO_SOCKET_MARK", mark.to_string());
    }
    if let Some(envoy) = &common.envoy {
        set("TOMBOLO_ENVOY", ENVOY_PROGRAM.to_owned());
        mounts.push(MountSpec {
            at: ENVOY_PROGRAM.into(),
            source: VolumeSource::Path(envoy.clone()),
            read_only: true,
        });
    }
    Ok(())
}

/// The user that a container asks for; `None` where it does not or only one exists.
pub fn user(common: &Common, pod: &Pod, container: &Container) -> Option<(u32, u32)> {
    if common.mark.is_some() {
        return None;
    }
    let own = container
        .security_context
        .as_ref()
        .map(|context| (context.run_as_user, context.run_as_group));
    let pods = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let pods = pods
        .map(|context| (context.run_as_user, context.run_as_group))
        .unwrap_or_default();
    let own = own.unwrap_or_default();
    let uid = u32::try_from(own.0.or(pods.0)?).ok()?;
    let gid = own
        .1
        .or(pods.1)
        .and_then(|gid| u32::try_from(gid).ok())
        .unwrap_or(if uid == 0 { 0 } else { uid });
    (uid != 0).then_some((uid, gid))
}

fn hostname(pod: &Pod) -> String {
    let own = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    let mut name = own
        .or_else(|| pod.metadata.name.clone())
        .unwrap_or_default();
    name.truncate(63);
    name
}

fn resolv_conf(dns: std::net::Ipv4Addr, namespace: &str) -> String {
    format!(
        "nameserver {dns}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    )
}

fn hosts(pod: &Pod) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if let Some(address) = crate::cluster::endpoint::address(pod) {
        text.push_str(&format!("{address} {}\n", hostname(pod)));
    }
    for alias in pod
        .spec
        .iter()
        .flat_map(|spec| spec.host_aliases.iter().flatten())
    {
        text.push_str(&format!(
            "{} {}\n",
            alias.ip,
            alias
                .hostnames
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join(" ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn common(mark: Option<u32>) -> Common {
        let images = Images::read(
            &json!({"*": {"command": ["{tombolo}", "app"]}}),
            Path::new("/"),
        )
        .unwrap();
        Common {
            images,
            program: "/root/tombolo".into(),
            envoy: None,
            xds_socket: "/state/xds.sock".into(),
            mark,
            dns: "10.100.0.10".parse().unwrap(),
            cluster: "east".into(),
        }
    }

    fn started(mark: Option<u32>, container: serde_json::Value) -> ProcessSpec {
        let pod: Pod = Codec::from_json(&json!({"metadata": {"name": "web-1", "namespace": "shop"}, "status": {"podIP": "10.0.0.9"}})).unwrap();
        let container: Container = Codec::from_json(&container).unwrap();
        let dir = tempfile::tempdir().unwrap();
        spec(
            &common(mark),
            &Objects::default(),
            &pod,
            &container,
            dir.path(),
        )
        .unwrap()
    }

    #[test]
    fn container_gets_names_addresses_and_its_own_tmp() {
        let spec = started(
            None,
            json!({"name": "web", "image": "x/web", "args": ["--url=http://$(TARGET)"], "env": [{"name": "TARGET", "value": "db"}]}),
        );
        assert_eq!(spec.argv, [OWN_PROGRAM, "app", "--url=http://db"]);
        assert!(spec.resolv_conf.starts_with("nameserver 10.100.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\n"));
        assert!(spec.hosts.contains("10.0.0.9 web-1"));
        assert!(spec.mounts.iter().any(|mount| mount.at == Path::new("/tmp") && mount.source == VolumeSource::Scratch));
        assert_eq!(spec.env["HOSTNAME"], "web-1");
    }

    #[test]
    fn without_further_users_the_proxy_is_told_apart_by_mark() {
        let envoy = json!({"name": "envoy", "image": "x/envoy", "env": [{"name": PROXY, "value": "mesh/m/virtualNode/n"}], "securityContext": {"runAsUser": 1337}});
        let spec = started(Some(1337), envoy);
        assert_eq!(
            (spec.user, spec.env["TOMBOLO_SOCKET_MARK"].as_str()),
            (None, "1337")
        );
        assert_eq!(spec.env["APPMESH_XDS_ENDPOINT"], XDS_ENDPOINT);
        let has_socket = |spec: &ProcessSpec| {
            let mut mounts = spec.mounts.iter();
            mounts.any(|mount| mount.source == VolumeSource::Path("/state/xds.sock".into()))
        };
        assert!(has_socket(&spec));
        let application = started(Some(1337), json!({"name": "web", "image": "x/web"}));
        assert!(
            !has_socket(&application),
            "applications do not reach the xDS server"
        );
    }

    #[test]
    fn containers_have_the_privileges_that_they_ask_for() {
        let plain = started(None, json!({"name": "web", "image": "x/web"}));
        assert_eq!(plain.privileges, Default::default());
        let asked = started(
            None,
            json!({"name": "web", "image": "x/web", "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"add": ["NET_ADMIN"]}}}),
        );
        assert_eq!(asked.privileges.capabilities, CapabilitySet::NET_ADMIN);
        let tmp = asked
            .mounts
            .iter()
            .find(|mount| mount.at == Path::new("/tmp"));
        assert!(tmp.unwrap().read_only);
        let envoy = json!({"name": "envoy", "image": "x/envoy", "env": [{"name": PROXY, "value": "mesh/m/virtualNode/n"}]});
        let marked = started(Some(1337), envoy).privileges.capabilities;
        assert_eq!(marked, CapabilitySet::NET_ADMIN);
    }

    #[test]
    fn container_that_must_not_be_root_needs_a_user() {
        let run = |context: serde_json::Value| {
            let container = json!({"name": "web", "image": "x/web", "securityContext": context});
            let dir = tempfile::tempdir().unwrap();
            spec(
                &common(None),
                &Objects::default(),
                &Pod::default(),
                &Codec::from_json(&container).unwrap(),
                dir.path(),
            )
        };
        let error = run(json!({"runAsNonRoot": true})).unwrap_err();
        assert_eq!(error.reason, "CreateContainerConfigError");
        assert!(error.message.contains("runAsUser"), "{}", error.message);
        let user = json!({"runAsNonRoot": true, "runAsUser": 1000});
        assert_eq!(run(user).unwrap().user, Some((1000, 1000)));
    }

    #[test]
    fn unknown_image_shows_the_line_to_add() {
        let common = Common {
            images: Images::default(),
            ..common(None)
        };
        let container: Container =
            Codec::from_json(&json!({"name": "web", "image": "repo/web:v1"})).unwrap();
        let error = spec(
            &common,
            &Objects::default(),
            &Pod::default(),
            &container,
            Path::new("/none"),
        )
        .unwrap_err();
        assert_eq!(error.reason, "ErrImagePull");
        assert!(
            error
                .message
                .contains("\"*/web\": { command: [\"./web\"] }"),
            "{}",
            error.message
        );
    }
}
