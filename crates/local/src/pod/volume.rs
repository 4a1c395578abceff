//! The volumes of a pod, as what a container sees at its mount paths.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Container, KeyToPath, Pod, Secret, Volume};

use crate::cluster::Objects;
use crate::cluster::environment::{field, secret_values};
use crate::machine::{MountSpec, VolumeSource};

/// What a container has mounted. `shared` is the pod's private directory, in which its emptyDirs live.
///
/// # Errors
/// Names the volume, ConfigMap or Secret that is missing or of a kind that is not run here.
pub fn mounts(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    shared: &Path,
) -> Result<Vec<MountSpec>, String> {
    let volumes: Vec<&Volume> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .collect();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else {
            return Err(format!(
                "volume \"{}\" is mounted but not declared",
                mount.name
            ));
        };
        let Some(mut source) = source(objects, pod, volume, shared)? else {
            continue;
        };
        if let Some(sub) = mount.sub_path.as_deref().filter(|sub| !sub.is_empty()) {
            source = below(source, &safe(sub)?);
        }
        mounts.push(MountSpec {
            at: PathBuf::from(&mount.mount_path),
            source,
            read_only: mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

fn source(
    objects: &Objects,
    pod: &Pod,
    volume: &Volume,
    shared: &Path,
) -> Result<Option<VolumeSource>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(map) = &volume.config_map {
        let files = config_map(objects, namespace, &map.name, map.optional)?;
        return Ok(Some(VolumeSource::Files(select(
            files,
            map.items.as_deref(),
        )?)));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let files = secret_files(objects, namespace, name, secret.optional)?;
        return Ok(Some(VolumeSource::Files(select(
            files,
            secret.items.as_deref(),
        )?)));
    }
    if let Some(api) = &volume.downward_api {
        let mut files = BTreeMap::new();
        for item in api.items.iter().flatten() {
            if let Some(selector) = &item.field_ref {
                files.insert(safe(&item.path)?, field(pod, selector)?.into_bytes());
            }
        }
        return Ok(Some(VolumeSource::Files(files)));
    }
    if let Some(projected) = &volume.projected {
        let mut files = BTreeMap::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                files.extend(select(
                    config_map(objects, namespace, &map.name, map.optional)?,
                    map.items.as_deref(),
                )?);
            }
            if let Some(secret) = &source.secret {
                files.extend(select(
                    secret_files(objects, namespace, &secret.name, secret.optional)?,
                    secret.items.as_deref(),
                )?);
            }
        }
        return Ok(Some(VolumeSource::Files(files)));
    }
    if volume.empty_dir.is_some() {
        let path = shared.join("volumes").join(&volume.name);
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("volume \"{}\": {error}", volume.name))?;
        return Ok(Some(VolumeSource::Path(path)));
    }
    if let Some(host) = &volume.host_path {
        let path = PathBuf::from(&host.path);
        if !path.exists() {
            if host.type_.as_deref() != Some("DirectoryOrCreate") {
                return Err(format!(
                    "volume \"{}\": {} does not exist on this machine",
                    volume.name, host.path
                ));
            }
            std::fs::create_dir_all(&path)
                .map_err(|error| format!("volume \"{}\": {}: {error}", volume.name, host.path))?;
        }
        return Ok(Some(VolumeSource::Path(path)));
    }
    Err(format!(
        "volume \"{}\" is of a kind that is not run here; use configMap, secret, emptyDir, hostPath, projected or downwardAPI",
        volume.name
    ))
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn config_map(
    objects: &Objects,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Files, String> {
    match objects.get::<ConfigMap>(namespace, name) {
        Some(map) => {
            let text = map
                .data
                .iter()
                .flatten()
                .map(|(key, value)| (PathBuf::from(key), value.clone().into_bytes()));
            let binary = map
                .binary_data
                .iter()
                .flatten()
                .map(|(key, value)| (PathBuf::from(key), value.0.clone()));
            Ok(text.chain(binary).collect())
        }
        None if optional == Some(true) => Ok(Files::new()),
        None => Err(format!(
            "configmap \"{name}\" not found in namespace \"{namespace}\""
        )),
    }
}

fn secret_files(
    objects: &Objects,
    namespace: &str,
    name: &str,
    optional: Option<bool>,
) -> Result<Files, String> {
    match objects.get::<Secret>(namespace, name) {
        Some(secret) => Ok(secret_values(&secret)
            .map(|(key, value)| (PathBuf::from(key), value))
            .collect()),
        None if optional == Some(true) => Ok(Files::new()),
        None => Err(format!(
            "secret \"{name}\" not found in namespace \"{namespace}\""
        )),
    }
}

fn select(mut files: Files, items: Option<&[KeyToPath]>) -> Result<Files, String> {
    let Some(items) = items else { return Ok(files) };
    let mut chosen = Files::new();
    for item in items {
        let Some(bytes) = files.remove(Path::new(&item.key)) else {
            return Err(format!("key \"{}\" not found", item.key));
        };
        chosen.insert(safe(&item.path)?, bytes);
    }
    Ok(chosen)
}

/// A relative path without `..`: volumes never reach out of themselves.
fn safe(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    {
        Ok(path)
    } else {
        Err(format!(
            "path \"{}\" must be relative and without \"..\"",
            path.display()
        ))
    }
}

fn below(source: VolumeSource, sub: &Path) -> VolumeSource {
    match source {
        VolumeSource::Path(path) => VolumeSource::Path(path.join(sub)),
        VolumeSource::Files(files) => {
            let inside = files.into_iter().filter_map(|(path, bytes)| {
                let rest = path.strip_prefix(sub).ok()?.to_owned();
                // The file itself rather than a directory: it keeps its name and is mounted alone.
                Some((
                    if rest.as_os_str().is_empty() {
                        path
                    } else {
                        rest
                    },
                    bytes,
                ))
            });
            VolumeSource::Files(inside.collect())
        }
        VolumeSource::Scratch => VolumeSource::Scratch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Entropy, Key, Kind};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    fn mounted(
        volume: serde_json::Value,
        mount: serde_json::Value,
    ) -> Result<Vec<MountSpec>, String> {
        let mut objects = Objects::default();
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"app.conf": "a=1", "other": "x"}});
        objects
            .create(
                Key::new(Kind::ConfigMap, "shop", "settings"),
                map,
                Timestamp::UNIX_EPOCH,
                &Entropy::seeded(1),
            )
            .unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "shop"}, "spec": {"containers": [], "volumes": [volume]}})).unwrap();
        let container: Container =
            serde_json::from_value(json!({"name": "web", "volumeMounts": [mount]})).unwrap();
        let dir = tempfile::tempdir().unwrap();
        mounts(&objects, &pod, &container, dir.path())
    }

    #[test]
    fn items_choose_and_rename_keys() {
        let mounts = mounted(
            json!({"name": "conf", "configMap": {"name": "settings", "items": [{"key": "app.conf", "path": "etc/app.conf"}]}}),
            json!({"name": "conf", "mountPath": "/conf", "readOnly": true}),
        )
        .unwrap();
        assert_eq!(
            mounts[0].source,
            VolumeSource::Files([(PathBuf::from("etc/app.conf"), b"a=1".to_vec())].into())
        );
        assert!(mounts[0].read_only);
    }

    #[test]
    fn paths_that_climb_out_are_refused() {
        let error = mounted(
            json!({"name": "dir", "emptyDir": {}}),
            json!({"name": "dir", "mountPath": "/d", "subPath": "../../etc"}),
        )
        .unwrap_err();
        assert!(error.contains("without \"..\""), "{error}");
    }

    #[test]
    fn missing_map_and_unknown_kind_are_explained() {
        let gone = mounted(
            json!({"name": "c", "configMap": {"name": "gone"}}),
            json!({"name": "c", "mountPath": "/c"}),
        )
        .unwrap_err();
        assert!(gone.contains("configmap \"gone\" not found"), "{gone}");
        let claim = mounted(
            json!({"name": "c", "persistentVolumeClaim": {"claimName": "x"}}),
            json!({"name": "c", "mountPath": "/c"}),
        )
        .unwrap_err();
        assert!(claim.contains("not run here"), "{claim}");
    }
}
