//! The proxy's container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, ExecAction, HostPathVolumeSource, Lifecycle,
    LifecycleHandler, Pod, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource,
    SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::config::{InjectConfig, ProxyKind, Resources, Sidecar};
use super::workload::Workload;
use super::{PROXY_UID, SIDECAR, annotation, environment, has_container, redirect, spec};
use crate::Violation;
use crate::selector::Labels;

const SDS_VOLUME: &str = "appmesh-sds-socket-volume";

/// Adds the proxy to a virtual node's pod, unless the pod brings one.
pub(super) fn add(
    pod: &mut Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<(), Violation> {
    let secrets = annotation::mounts(pod, annotation::SECRET_MOUNTS)?;
    let mut mounts: Vec<VolumeMount> = secrets.iter().map(read_only).collect();
    mounts.extend(
        annotation::mounts(pod, annotation::VOLUME_MOUNTS)?
            .iter()
            .map(read_only),
    );
    if !has_container(pod, SIDECAR) {
        let container = container(pod, workload, sidecar, config)?;
        let first = sidecar.post_start.is_some();
        place(pod, container, first, config)?;
    }
    for (secret, _) in &secrets {
        add_volume(
            pod,
            Volume {
                name: secret.clone(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(secret.clone()),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            },
        );
    }
    if let Some(sidecar) = sidecar_of(pod) {
        for mount in mounts {
            add_mount(sidecar, mount);
        }
    }
    mount_sds(pod, config);
    Ok(())
}

/// Puts what runs beside the application into the pod: a native sidecar in front of the proxy, which therefore ends
/// first, or behind all init containers; where a network plugin redirects, in front of those, which would reach nothing
/// without the proxy. A container otherwise, in front of the application's where that is to wait for it.
pub(super) fn place(
    pod: &mut Pod,
    mut container: Container,
    first: bool,
    config: &InjectConfig,
) -> Result<(), Violation> {
    if !is_native(pod, config)? {
        let containers = &mut spec(pod).containers;
        // Containers start in order, and the next one waits for the hook of the one before.
        containers.insert(if first { 0 } else { containers.len() }, container);
        return Ok(());
    }
    container.restart_policy = Some("Always".to_owned());
    let uses_plugin = redirect::uses_plugin(pod);
    let containers = spec(pod).init_containers.get_or_insert_default();
    let proxy = containers
        .iter()
        .position(|container| container.name == SIDECAR);
    let end = if uses_plugin { 0 } else { containers.len() };
    containers.insert(proxy.unwrap_or(end), container);
    Ok(())
}

/// Whether the pod's sidecars are native.
pub(super) fn is_native(pod: &Pod, config: &InjectConfig) -> Result<bool, Violation> {
    match annotation::get(pod, annotation::NATIVE_SIDECAR) {
        None => Ok(config.native_sidecars),
        Some(value) if value.eq_ignore_ascii_case("enabled") => Ok(true),
        Some(value) if value.eq_ignore_ascii_case("disabled") => Ok(false),
        Some(value) => Err(annotation::violation(
            annotation::NATIVE_SIDECAR,
            format!("{value:?} is neither enabled nor disabled"),
        )),
    }
}

/// The proxy that the pod chooses, else its namespace, else the configuration.
pub(super) fn choose<'a>(
    pod: &Pod,
    namespace: &Labels,
    config: &'a InjectConfig,
) -> Result<&'a Sidecar, Violation> {
    let name = annotation::PROXY_KIND;
    let of_namespace = || namespace.get(name).map(String::as_str);
    let Some(written) = annotation::get(pod, name).or_else(of_namespace) else {
        return Ok(&config.sidecar);
    };
    let Some(kind) = ProxyKind::from_name(written) else {
        let message = format!("{written:?} is no sidecar; write tombolo or envoy");
        return Err(annotation::violation(name, message));
    };
    let mut configured = [Some(&config.sidecar), config.other_sidecar.as_ref()]
        .into_iter()
        .flatten();
    configured
        .find(|sidecar| sidecar.kind == kind)
        .ok_or_else(|| {
            let message =
                format!("the injector has no image for {written}; give it one, or remove this");
            annotation::violation(name, message)
        })
}

/// Configures the proxy container that a gateway's pod has. Without one nothing is done, as in the original.
pub(super) fn configure(
    pod: &mut Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<(), Violation> {
    let env = environment::of_sidecar(pod, workload, sidecar, config)?;
    let keeps_image = annotation::is(pod, annotation::SKIP_IMAGE_OVERRIDE, "enabled");
    let Some(container) = sidecar_of(pod) else {
        return Ok(());
    };
    if !keeps_image {
        container.image = Some(sidecar.image.clone());
        if !sidecar.args.is_empty() {
            container.args = Some(sidecar.args.clone());
        }
    }
    let own = container.env.get_or_insert_default();
    for variable in env {
        upsert(own, variable);
    }
    container
        .readiness_probe
        .get_or_insert_with(|| sidecar.probe.clone());
    mount_sds(pod, config);
    Ok(())
}

fn container(
    pod: &Pod,
    workload: &Workload,
    sidecar: &Sidecar,
    config: &InjectConfig,
) -> Result<Container, Violation> {
    let native = is_native(pod, config)?;
    let post_start = sidecar.post_start.as_ref().map(|command| LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(command.clone()),
        }),
        ..LifecycleHandler::default()
    });
    let lifecycle = Lifecycle {
        post_start,
        pre_stop: sidecar.pre_stop.clone(),
        stop_signal: None,
    };
    let has_hooks = lifecycle.post_start.is_some() || lifecycle.pre_stop.is_some();
    Ok(Container {
        name: SIDECAR.to_owned(),
        image: Some(sidecar.image.clone()),
        args: Some(sidecar.args.clone()).filter(|args| !args.is_empty()),
        env: Some(environment::of_sidecar(pod, workload, sidecar, config)?),
        security_context: Some(proxy_user(sidecar.restricted)),
        ports: Some(vec![port(sidecar.stats_port, "stats", "TCP")]),
        readiness_probe: Some(sidecar.probe.clone()),
        startup_probe: native.then(|| start_probe(&sidecar.probe, config)),
        lifecycle: Some(lifecycle).filter(|_| has_hooks && !native),
        resources: requirements(&resources_of(pod, config)?),
        ..Container::default()
    })
}

/// The readiness probe as one that is asked each second: the application waits for it.
fn start_probe(readiness: &Probe, config: &InjectConfig) -> Probe {
    Probe {
        initial_delay_seconds: None,
        period_seconds: Some(1),
        success_threshold: None,
        failure_threshold: Some(i32::from(config.start_timeout_seconds.max(1))),
        ..readiness.clone()
    }
}

/// What runs beside the application runs as the proxy's user, whose traffic is not redirected.
pub(super) fn proxy_user(restricted: bool) -> SecurityContext {
    let mut context = SecurityContext {
        run_as_user: Some(PROXY_UID),
        ..SecurityContext::default()
    };
    if restricted {
        context.run_as_non_root = Some(true);
        context.allow_privilege_escalation = Some(false);
        context.capabilities = Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        });
        context.seccomp_profile = Some(SeccompProfile {
            localhost_profile: None,
            type_: "RuntimeDefault".to_owned(),
        });
    }
    context
}

pub(super) fn port(number: u16, name: &str, protocol: &str) -> ContainerPort {
    ContainerPort {
        container_port: i32::from(number),
        name: Some(name.to_owned()),
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    }
}

/// The values of the pod's annotations, otherwise those of the configuration.
pub(super) fn resources_of(pod: &Pod, config: &InjectConfig) -> Result<Resources, Violation> {
    let own = |name: &str, default: &Option<String>| match annotation::get(pod, name) {
        None => Ok(default.clone()),
        Some(value) if is_quantity(value) => Ok(Some(value.to_owned())),
        Some(value) => {
            let message =
                format!("{value:?} is not a quantity; write one such as 100m, 0.5 or 64Mi");
            Err(annotation::violation(name, message))
        }
    };
    Ok(Resources {
        cpu_request: own(annotation::CPU_REQUEST, &config.resources.cpu_request)?,
        memory_request: own(annotation::MEMORY_REQUEST, &config.resources.memory_request)?,
        cpu_limit: own(annotation::CPU_LIMIT, &config.resources.cpu_limit)?,
        memory_limit: own(annotation::MEMORY_LIMIT, &config.resources.memory_limit)?,
    })
}

/// Whether the text is a quantity of Kubernetes that is not negative.
fn is_quantity(text: &str) -> bool {
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let exponent = suffix.strip_prefix(['e', 'E']);
    let is_exponent = exponent.is_some_and(|exponent| exponent.parse::<i8>().is_ok());
    // `f64` alone would take `1e3` and `inf`, too.
    number.parse::<f64>().is_ok() && (known.contains(&suffix) || is_exponent)
}

pub(super) fn requirements(resources: &Resources) -> Option<ResourceRequirements> {
    let map = |cpu: &Option<String>, memory: &Option<String>| {
        let pairs = [("cpu", cpu), ("memory", memory)];
        let present = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Quantity(value.clone()?))));
        Some(present.collect::<BTreeMap<_, _>>()).filter(|map| !map.is_empty())
    };
    let requests = map(&resources.cpu_request, &resources.memory_request);
    let limits = map(&resources.cpu_limit, &resources.memory_limit);
    (requests.is_some() || limits.is_some()).then(|| ResourceRequirements {
        requests,
        limits,
        ..Default::default()
    })
}

/// The socket on the host and its mount in the proxy. The mount is added even if the pod has the volume already:
/// without it the proxy would find no secrets.
fn mount_sds(pod: &mut Pod, config: &InjectConfig) {
    let Some(socket) = environment::sds_socket(pod, config) else {
        return;
    };
    let volume = Volume {
        name: SDS_VOLUME.to_owned(),
        host_path: Some(HostPathVolumeSource {
            path: socket.to_owned(),
            type_: Some("Socket".to_owned()),
        }),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: SDS_VOLUME.to_owned(),
        mount_path: socket.to_owned(),
        ..VolumeMount::default()
    };
    add_volume(pod, volume);
    if let Some(sidecar) = sidecar_of(pod) {
        add_mount(sidecar, mount);
    }
}

fn sidecar_of(pod: &mut Pod) -> Option<&mut Container> {
    let spec = spec(pod);
    let native = spec.init_containers.iter_mut().flatten();
    native
        .chain(&mut spec.containers)
        .find(|container| container.name == SIDECAR)
}

fn add_volume(pod: &mut Pod, volume: Volume) {
    let volumes = spec(pod).volumes.get_or_insert_default();
    if !volumes.iter().any(|present| present.name == volume.name) {
        volumes.push(volume);
    }
}

pub(super) fn add_mount(container: &mut Container, mount: VolumeMount) {
    let mounts = container.volume_mounts.get_or_insert_default();
    if !mounts
        .iter()
        .any(|present| present.mount_path == mount.mount_path)
    {
        mounts.push(mount);
    }
}

pub(super) fn read_only((volume, path): &(String, String)) -> VolumeMount {
    VolumeMount {
        name: volume.clone(),
        mount_path: path.clone(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn upsert(env: &mut Vec<EnvVar>, variable: EnvVar) {
    match env.iter_mut().find(|present| present.name == variable.name) {
        Some(present) => *present = variable,
        None => env.push(variable),
    }
}
