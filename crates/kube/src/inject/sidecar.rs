//! The proxy's container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, ExecAction, HostPathVolumeSource, Lifecycle,
    LifecycleHandler, Pod, ResourceRequirements, SecretVolumeSource, SecurityContext, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::config::{InjectConfig, Resources};
use super::workload::Workload;
use super::{PROXY_UID, SIDECAR, annotation, environment, has_container, spec};
use crate::Violation;

const SDS_VOLUME: &str = "appmesh-sds-socket-volume";

/// Adds the proxy to a virtual node's pod, unless the pod brings one.
pub(super) fn add(
    pod: &mut Pod,
    workload: &Workload,
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
        let container = container(pod, workload, config)?;
        let containers = &mut spec(pod).containers;
        if config.post_start.is_some() {
            // Containers start in order, and the next one waits for the hook of the previous one.
            containers.insert(0, container);
        } else {
            containers.push(container);
        }
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

/// Configures the proxy container that a gateway's pod has.
pub(super) fn configure(
    pod: &mut Pod,
    workload: &Workload,
    config: &InjectConfig,
) -> Result<(), Violation> {
    let env = environment::controlled(pod, workload, config)?;
    let keeps_image = annotation::is(pod, annotation::SKIP_IMAGE_OVERRIDE, "enabled");
    let Some(sidecar) = sidecar_of(pod) else {
        return Ok(());
    };
    if !keeps_image {
        sidecar.image = Some(config.sidecar_image.clone());
    }
    let own = sidecar.env.get_or_insert_default();
    for variable in env {
        upsert(own, variable);
    }
    sidecar
        .readiness_probe
        .get_or_insert_with(|| config.sidecar_probe.clone());
    mount_sds(pod, config);
    Ok(())
}

fn container(
    pod: &Pod,
    workload: &Workload,
    config: &InjectConfig,
) -> Result<Container, Violation> {
    let post_start = config.post_start.as_ref().map(|command| LifecycleHandler {
        exec: Some(ExecAction {
            command: Some(command.clone()),
        }),
        ..LifecycleHandler::default()
    });
    let lifecycle = Lifecycle {
        post_start,
        pre_stop: config.pre_stop.clone(),
        stop_signal: None,
    };
    Ok(Container {
        name: SIDECAR.to_owned(),
        image: Some(config.sidecar_image.clone()),
        env: Some(environment::of_sidecar(pod, workload, config)?),
        security_context: Some(proxy_user()),
        ports: Some(vec![port(config.admin_port, "stats", "TCP")]),
        readiness_probe: Some(config.sidecar_probe.clone()),
        lifecycle: Some(lifecycle)
            .filter(|lifecycle| lifecycle.post_start.is_some() || lifecycle.pre_stop.is_some()),
        resources: requirements(&resources_of(pod, config)),
        ..Container::default()
    })
}

/// The proxy's user, whose traffic is not redirected.
pub(super) fn proxy_user() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(PROXY_UID),
        ..SecurityContext::default()
    }
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
pub(super) fn resources_of(pod: &Pod, config: &InjectConfig) -> Resources {
    let own = |name: &str, default: &Option<String>| {
        annotation::get(pod, name)
            .map(str::to_owned)
            .or(default.clone())
    };
    Resources {
        cpu_request: own(annotation::CPU_REQUEST, &config.resources.cpu_request),
        memory_request: own(annotation::MEMORY_REQUEST, &config.resources.memory_request),
        cpu_limit: own(annotation::CPU_LIMIT, &config.resources.cpu_limit),
        memory_limit: own(annotation::MEMORY_LIMIT, &config.resources.memory_limit),
    }
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
    spec(pod)
        .containers
        .iter_mut()
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
