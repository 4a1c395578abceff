//! The tracing daemon beside a proxy.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::config::{InjectConfig, Tracing};
use super::environment::text;
use super::{SIDECAR, XRAY_DAEMON, annotation, has_container, sidecar, spec};
use crate::Violation;

const LOG_LEVELS: [&str; 5] = ["dev", "debug", "info", "warn", "error"];

/// Adds the daemon if traces go to one, unless the pod brings its own or has no proxy.
pub(super) fn add(pod: &mut Pod, restricted: bool, config: &InjectConfig) -> Result<(), Violation> {
    let Tracing::Xray(daemon) = &config.tracing else {
        return Ok(());
    };
    if has_container(pod, XRAY_DAEMON) || !has_container(pod, SIDECAR) {
        return Ok(());
    }
    let mut args = Vec::new();
    if let Some(level) = daemon
        .log_level
        .as_deref()
        .filter(|level| LOG_LEVELS.contains(level))
    {
        args.extend(["--log-level".to_owned(), level.to_owned()]);
    }
    if let Some(role) = &daemon.role_arn {
        args.extend(["--role-arn".to_owned(), role.clone()]);
    }
    let mounts = annotation::mounts(pod, annotation::XRAY_CONFIG_MOUNT)?;
    let mount = match mounts.as_slice() {
        [] => None,
        [mount] => Some(mount),
        several => {
            let message = format!(
                "has {} mounts; the daemon takes one, <volume>:<path>",
                several.len()
            );
            return Err(annotation::violation(
                annotation::XRAY_CONFIG_MOUNT,
                message,
            ));
        }
    };
    if let Some((_, path)) = mount {
        args.extend([
            "--config".to_owned(),
            format!("{}/xray-daemon.yaml", path.trim_end_matches('/')),
        ]);
    }
    let mut container = Container {
        name: XRAY_DAEMON.to_owned(),
        image: Some(daemon.image.clone()),
        args: Some(args).filter(|args| !args.is_empty()),
        env: Some(vec![text("AWS_REGION", config.region.as_str())]),
        security_context: Some(sidecar::proxy_user(restricted)),
        ports: Some(vec![sidecar::port(daemon.port, "xray", "UDP")]),
        resources: sidecar::requirements(&sidecar::resources_of(pod, config)?),
        ..Container::default()
    };
    if let Some(mount) = mount {
        sidecar::add_mount(&mut container, sidecar::read_only(mount));
    }
    let of_gateway = spec(pod)
        .containers
        .iter()
        .any(|container| container.name == SIDECAR);
    if of_gateway {
        // Beside its proxy, whose kind of container the pod has chosen.
        spec(pod).containers.push(container);
        return Ok(());
    }
    sidecar::place(pod, container, false, config)
}
