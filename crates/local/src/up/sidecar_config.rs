//! The sidecars of `up`: the commands of their images, and the configuration of the injector.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tombolo_kube::inject::{InjectConfig, Tracing, XrayDaemon};

use super::options::{Options, ProxyKind};
use crate::images_file::{Entry, Images};

/// The images that the App Mesh controller injects into pods.
const SIDECAR: &str = "public.ecr.aws/appmesh/aws-appmesh-envoy:v1.34.13.3-prod";
const INIT: &str =
    "840364872350.dkr.ecr.us-west-2.amazonaws.com/aws-appmesh-proxy-route-manager:v7-prod";
const XRAY: &str = "public.ecr.aws/xray/aws-xray-daemon:latest";

/// The images of the images files and those of sidecars. An entry of an images file overrides that of a sidecar.
pub(crate) fn images(own: &Images, proxy: &ProxyKind) -> Images {
    let mut images = Images::default();
    let command = match proxy {
        ProxyKind::Tombolo => "proxy",
        ProxyKind::Envoy(_) => "envoy",
    };
    for (pattern, command) in [
        ("*/aws-appmesh-envoy", command),
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

/// The configuration of the injector. Traffic to `ignored` addresses is never redirected to the proxy.
pub(crate) fn config(options: &Options, ignored: &[Ipv4Addr]) -> InjectConfig {
    let mut config = InjectConfig::new(SIDECAR, INIT, &options.region, &options.account);
    // Probed from inside the pod, once a second, and more often until it passes.
    config.sidecar.probe = Probe {
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
    config.sidecar.pre_stop = None;
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
    use k8s_openapi::api::core::v1::Container;

    #[test]
    fn injected_images_run_our_own_programs_unless_somebody_says_otherwise() {
        let argv = |images: &Images, image: &str| {
            let container = Container {
                image: Some(image.to_owned()),
                ..Container::default()
            };
            images.resolve(&container, "/t").unwrap().argv
        };
        let ours = images(&Images::default(), &ProxyKind::Tombolo);
        assert_eq!(argv(&ours, SIDECAR), ["/t", "proxy"]);
        assert_eq!(argv(&ours, INIT), ["/t", "init"]);
        assert_eq!(argv(&ours, XRAY), ["/t", "xray-daemon"]);
        let envoy = images(&Images::default(), &ProxyKind::Envoy("/envoy".into()));
        assert_eq!(argv(&envoy, SIDECAR), ["/t", "envoy"]);
        let mut own = Images::default();
        for (pattern, program) in [("*/aws-appmesh-envoy", "mine"), ("*", "any")] {
            let command = vec![program.to_owned()];
            let entry = Entry {
                command,
                ..Entry::default()
            };
            own.insert(pattern, entry);
        }
        let merged = images(&own, &ProxyKind::Tombolo);
        assert_eq!(argv(&merged, SIDECAR), ["mine"]);
        assert_eq!(argv(&merged, INIT), ["/t", "init"]);
    }
}
