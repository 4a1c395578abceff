//! What stands beside applications here: images that we bring along, and how pods get their proxy.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tombolo_kube::inject::{InjectConfig, Tracing, XrayDaemon};

use super::options::{Engine, Options};
use crate::images::{Entry, Images};

/// The images that the App Mesh controller puts into pods.
const SIDECAR: &str = "public.ecr.aws/appmesh/aws-appmesh-envoy:v1.34.13.3-prod";
const INIT: &str =
    "840364872350.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-proxy-route-manager:v7-prod";
const XRAY: &str = "public.ecr.aws/xray/aws-xray-daemon:latest";

/// The images of a person and those that we bring along. A person's own entry for one of ours wins.
pub fn images(own: &Images, engine: &Engine) -> Images {
    let mut images = Images::default();
    let proxy = match engine {
        Engine::Tombolo => "proxy",
        Engine::Envoy(_) => "envoy",
    };
    for (pattern, command) in [
        ("*/aws-appmesh-envoy", proxy),
        ("*/aws-appmesh-proxy-route-manager", "init"),
        ("*aws-xray-daemon", "xray-daemon"),
    ] {
        let command = vec!["{tombolo}".to_owned(), command.to_owned()];
        images.insert(
            pattern,
            Entry {
                command,
                ..Entry::default()
            },
        );
    }
    images.extend(own.clone());
    images
}

/// How pods get their proxy. Traffic to `ignored` addresses is never redirected to it.
pub fn config(options: &Options, ignored: &[Ipv4Addr]) -> InjectConfig {
    let mut config = InjectConfig::new(SIDECAR, INIT, &options.region, &options.account);
    // Asked from inside of the pod, once a second, and at first as often as the prober likes.
    config.sidecar_probe = Probe {
        http_get: Some(HTTPGetAction {
            host: Some(Ipv4Addr::LOCALHOST.to_string()),
            path: Some("/ready".to_owned()),
            port: IntOrString::Int(i32::from(config.admin_port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(3),
        ..Probe::default()
    };
    // The drain of a terminating pod does the job of the original's sleep.
    config.pre_stop = None;
    for address in ignored {
        config.ignored_ips.push_str(&format!(",{address}"));
    }
    if options.xray {
        config.tracing = Tracing::Xray(XrayDaemon::new(XRAY));
    }
    config.controller_version = concat!("tombolo-", env!("CARGO_PKG_VERSION")).to_owned();
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injected_images_run_our_own_programs_unless_somebody_says_otherwise() {
        let argv = |images: &Images, image: &str| {
            images
                .resolve(image, &[], &[], "/t")
                .map(|resolved| resolved.argv)
        };
        let ours = images(&Images::default(), &Engine::Tombolo);
        assert_eq!(argv(&ours, SIDECAR).unwrap(), ["/t", "proxy"]);
        assert_eq!(argv(&ours, INIT).unwrap(), ["/t", "init"]);
        assert_eq!(argv(&ours, XRAY).unwrap(), ["/t", "xray-daemon"]);
        let envoy = images(&Images::default(), &Engine::Envoy("/envoy".into()));
        assert_eq!(argv(&envoy, SIDECAR).unwrap(), ["/t", "envoy"]);
        let mut own = Images::default();
        own.insert(
            "*/aws-appmesh-envoy",
            Entry {
                command: vec!["mine".into()],
                ..Entry::default()
            },
        );
        own.insert(
            "*",
            Entry {
                command: vec!["any".into()],
                ..Entry::default()
            },
        );
        assert_eq!(
            argv(&images(&own, &Engine::Tombolo), SIDECAR).unwrap(),
            ["mine"]
        );
        assert_eq!(
            argv(&images(&own, &Engine::Tombolo), INIT).unwrap(),
            ["/t", "init"]
        );
    }
}
