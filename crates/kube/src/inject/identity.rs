//! What a pod proves with who its proxy is: a projected token whose audience names the virtual node or gateway
//! (docs/decisions/0037), and the root of the control plane's certificate.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EnvVar, KeyToPath, Pod, ProjectedVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};

use super::{SIDECAR, spec};
use crate::Violation;

/// What the audience of a proxy's token begins with.
const AUDIENCE: &str = "tombolo/";
const VOLUME: &str = "tombolo-identity";
const DIRECTORY: &str = "/var/run/secrets/tombolo.io/identity";
/// The name of the root's file, and of its key in the ConfigMap.
const ROOT: &str = "root.pem";
const TOKEN: &str = "token";
/// Seconds that a token is good for; kubelet renews it when four fifths of them are over.
const EXPIRATION: i64 = 3600;

/// How pods prove who their proxies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// ConfigMap in the pod's namespace whose key `root.pem` is the root of the control plane's certificate. `None`
    /// leaves it to the image which authorities are believed.
    pub root_config_map: Option<String>,
}

/// The audience of the token of a resource's proxies; `resource` as in `APPMESH_RESOURCE_ARN`.
pub fn audience(resource: &str) -> String {
    format!("{AUDIENCE}{resource}")
}

/// Gives a pod's proxy a token for `resource`. Anything that the pod brings under these names is replaced: the token
/// is the injector's word. Doing it again changes nothing.
pub(super) fn add(pod: &mut Pod, resource: &str, identity: &Identity) {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            audience: Some(audience(resource)),
            expiration_seconds: Some(EXPIRATION),
            path: TOKEN.to_owned(),
        }),
        ..VolumeProjection::default()
    };
    let root = identity
        .root_config_map
        .as_ref()
        .map(|name| VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: name.clone(),
                items: Some(vec![KeyToPath {
                    key: ROOT.to_owned(),
                    path: ROOT.to_owned(),
                    mode: None,
                }]),
                optional: None,
            }),
            ..VolumeProjection::default()
        });
    let has_root = root.is_some();
    let spec = spec(pod);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| volume.name != VOLUME);
    volumes.push(Volume {
        name: VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some([token].into_iter().chain(root).collect()),
            default_mode: None,
        }),
        ..Volume::default()
    });
    let init = spec.init_containers.iter_mut().flatten();
    let mut containers = init.chain(&mut spec.containers);
    // A native sidecar is an init container.
    let Some(proxy) = containers.find(|container| container.name == SIDECAR) else {
        return;
    };
    let mounts = proxy.volume_mounts.get_or_insert_default();
    mounts.retain(|mount| mount.name != VOLUME && mount.mount_path != DIRECTORY);
    mounts.push(VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    let files = [
        ("TOMBOLO_XDS_CA", has_root.then_some(ROOT)),
        ("TOMBOLO_XDS_TOKEN_FILE", Some(TOKEN)),
    ];
    let env = proxy.env.get_or_insert_default();
    for (name, file) in files {
        env.retain(|variable| variable.name != name);
        env.extend(file.map(|file| EnvVar {
            name: name.to_owned(),
            value: Some(format!("{DIRECTORY}/{file}")),
            value_from: None,
        }));
    }
}

/// Refuses a pod that asks for a token of another resource's proxies than `own`; `None` where it has no proxy.
///
/// # Errors
/// The volume with the token is named.
pub fn check(pod: &Pod, own: Option<&str>) -> Result<(), Violation> {
    let own = own.map(audience);
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    for (i, volume) in volumes.enumerate() {
        let projected = volume.projected.iter();
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        let audiences = tokens.filter_map(|token| token.audience.as_deref());
        for audience in audiences {
            if audience.starts_with(AUDIENCE) && Some(audience) != own.as_deref() {
                return Err(Violation::new(
                    format!("spec.volumes[{i}].projected"),
                    format!(
                        "asks for a token for the audience {audience:?}, with which this pod could have the \
                         configuration of another's proxy; take the volume out, the injector adds the one it needs"
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RED: &str = "mesh/color/virtualNode/red_color";

    fn pod() -> Pod {
        crate::testkit::pod(json!({
            "metadata": {"name": "p"},
            "spec": {
                "containers": [{"name": "app", "image": "app:1"}, {"name": "envoy", "image": "proxy:1"}],
                "volumes": [{"name": VOLUME, "emptyDir": {}}],
            },
        }))
    }

    #[test]
    fn a_proxy_gets_a_token_for_its_resource() {
        let identity = Identity {
            root_config_map: Some("tombolo-xds".to_owned()),
        };
        let mut pod = pod();
        add(&mut pod, RED, &identity);
        let shown = serde_json::to_value(&pod).expect("JSON");
        let sources = &shown["spec"]["volumes"][0]["projected"]["sources"];
        assert_eq!(
            *sources,
            json!([
                {"serviceAccountToken": {
                    "audience": "tombolo/mesh/color/virtualNode/red_color", "expirationSeconds": 3600,
                    "path": "token",
                }},
                {"configMap": {"name": "tombolo-xds", "items": [{"key": "root.pem", "path": "root.pem"}]}},
            ])
        );
        let proxy = &shown["spec"]["containers"][1];
        assert_eq!(proxy["volumeMounts"][0]["mountPath"], DIRECTORY);
        let files: Vec<_> = proxy["env"].as_array().expect("a list").iter().collect();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(shown["spec"]["containers"][0].get("volumeMounts").is_none());
        let once = pod.clone();
        add(&mut pod, RED, &identity);
        assert_eq!(pod, once, "it is idempotent");
        assert!(check(&pod, Some(RED)).is_ok());
    }

    #[test]
    fn a_pod_cannot_ask_for_the_token_of_another() {
        let identity = Identity {
            root_config_map: None,
        };
        let mut pod = pod();
        assert!(check(&pod, None).is_ok());
        add(&mut pod, RED, &identity);
        let refused = check(&pod, Some("mesh/color/virtualNode/blue")).expect_err("another's");
        assert!(
            refused.to_string().contains("spec.volumes[0].projected"),
            "{refused}"
        );
        assert!(check(&pod, None).is_err());
    }
}
