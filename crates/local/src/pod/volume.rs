//! The volumes of a pod, as what a container sees at its mount paths.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume,
};

use crate::cluster::Objects;
use crate::cluster::environment::{expand, field, secret_values};
use crate::machine::{FileContent, MountSpec, VolumeSource};

/// What a container has mounted. `env` is its environment, for `subPathExpr`; `shared` is the pod's private
/// directory, in which its emptyDirs live.
///
/// # Errors
/// Names the volume, ConfigMap or Secret that is missing or of a kind that is not run here.
pub fn mounts(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    env: &BTreeMap<String, String>,
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
        let mut source = source(objects, pod, volume, shared)?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(sub), _) => sub.clone(),
            (None, Some(expression)) => expand(expression, env),
            (None, None) => String::new(),
        };
        if !sub.is_empty() {
            source = below(source, &safe(&sub)?)
                .map_err(|problem| format!("volume \"{}\": {problem}", volume.name))?;
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
) -> Result<VolumeSource, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(map) = &volume.config_map {
        let files = config_map(objects, namespace, &map.name, map.optional)?;
        let files = select(files, map.items.as_deref(), map.default_mode)?;
        return Ok(VolumeSource::Files(files));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let files = secret_files(objects, namespace, name, secret.optional)?;
        let files = select(files, secret.items.as_deref(), secret.default_mode)?;
        return Ok(VolumeSource::Files(files));
    }
    if let Some(api) = &volume.downward_api {
        let files = downward(pod, api.items.as_deref(), api.default_mode)?;
        return Ok(VolumeSource::Files(files));
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode;
        let mut files = BTreeMap::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let found = config_map(objects, namespace, &map.name, map.optional)?;
                files.extend(select(found, map.items.as_deref(), mode)?);
            }
            if let Some(secret) = &source.secret {
                let found = secret_files(objects, namespace, &secret.name, secret.optional)?;
                files.extend(select(found, secret.items.as_deref(), mode)?);
            }
            if let Some(api) = &source.downward_api {
                files.extend(downward(pod, api.items.as_deref(), mode)?);
            }
        }
        return Ok(VolumeSource::Files(files));
    }
    if volume.empty_dir.is_some() {
        let path = shared.join("volumes").join(&volume.name);
        // Every user of the pod may write there.
        open_directory(&path).map_err(|error| format!("volume \"{}\": {error}", volume.name))?;
        return Ok(VolumeSource::Path(path));
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
        return Ok(VolumeSource::Path(path));
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

/// Files with their permissions: those of `items`, under the paths there, or all of them.
fn select(
    mut files: Files,
    items: Option<&[KeyToPath]>,
    default: Option<i32>,
) -> Result<BTreeMap<PathBuf, FileContent>, String> {
    let Some(items) = items else {
        let all = files.into_iter();
        return Ok(all
            .map(|(path, bytes)| (path, content(bytes, None, default)))
            .collect());
    };
    let mut chosen = BTreeMap::new();
    for item in items {
        let Some(bytes) = files.remove(Path::new(&item.key)) else {
            return Err(format!("key \"{}\" not found", item.key));
        };
        chosen.insert(safe(&item.path)?, content(bytes, item.mode, default));
    }
    Ok(chosen)
}

fn downward(
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    default: Option<i32>,
) -> Result<BTreeMap<PathBuf, FileContent>, String> {
    let mut files = BTreeMap::new();
    for item in items.unwrap_or_default() {
        if let Some(selector) = &item.field_ref {
            let bytes = field(pod, selector)?.into_bytes();
            files.insert(safe(&item.path)?, content(bytes, item.mode, default));
        }
    }
    Ok(files)
}

fn content(bytes: Vec<u8>, own: Option<i32>, default: Option<i32>) -> FileContent {
    let mode = own.or(default).and_then(|mode| u32::try_from(mode).ok());
    FileContent {
        bytes,
        mode: mode.unwrap_or(0o644) & 0o777,
    }
}

/// A directory, made where it is missing, that everybody may write in.
fn open_directory(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
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

/// A part of a volume: a file of it, or a directory, which is made where it is missing.
fn below(source: VolumeSource, sub: &Path) -> Result<VolumeSource, String> {
    Ok(match source {
        VolumeSource::Path(path) => {
            let path = path.join(sub);
            if !path.exists() {
                open_directory(&path).map_err(|error| format!("{}: {error}", sub.display()))?;
            }
            VolumeSource::Path(path)
        }
        VolumeSource::Files(mut files) => {
            if let Some(file) = files.remove(sub) {
                return Ok(VolumeSource::File(file));
            }
            let inside = files.into_iter().filter_map(|(path, file)| {
                let rest = path.strip_prefix(sub).ok()?.to_owned();
                Some((rest, file))
            });
            VolumeSource::Files(inside.collect())
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Entropy, Key, Kind};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;
    use tombolo_kube::Codec;

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
        let pod: Pod = Codec::from_json(&json!({"metadata": {"namespace": "shop"}, "spec": {"containers": [], "volumes": [volume]}})).unwrap();
        let container: Container =
            Codec::from_json(&json!({"name": "web", "volumeMounts": [mount]})).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("POD".to_owned(), "web-1".to_owned())]);
        let mounts = mounts(&objects, &pod, &container, &env, dir.path())?;
        for mount in &mounts {
            if let VolumeSource::Path(path) = &mount.source {
                let mode = std::fs::metadata(path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o777, "{}", path.display());
            }
        }
        Ok(mounts)
    }

    fn file(text: &str, mode: u32) -> FileContent {
        FileContent {
            bytes: text.into(),
            mode,
        }
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
            VolumeSource::Files([(PathBuf::from("etc/app.conf"), file("a=1", 0o644))].into())
        );
        assert!(mounts[0].read_only);
    }

    #[test]
    fn modes_are_those_of_the_item_or_of_the_volume() {
        let items = json!([{"key": "app.conf", "path": "run", "mode": 0o755}, {"key": "other", "path": "other"}]);
        let mounts = mounted(
            json!({"name": "conf", "configMap": {"name": "settings", "defaultMode": 0o400, "items": items}}),
            json!({"name": "conf", "mountPath": "/conf"}),
        )
        .unwrap();
        let expected = [("other", file("x", 0o400)), ("run", file("a=1", 0o755))];
        let expected = expected.map(|(path, file)| (PathBuf::from(path), file));
        assert_eq!(mounts[0].source, VolumeSource::Files(expected.into()));
    }

    #[test]
    fn sub_path_of_a_map_is_a_file_and_that_of_an_empty_dir_a_directory_of_its_own() {
        let mounts = mounted(
            json!({"name": "conf", "configMap": {"name": "settings"}}),
            json!({"name": "conf", "mountPath": "/etc/app.conf", "subPath": "app.conf"}),
        );
        let source = mounts.unwrap().remove(0).source;
        assert_eq!(source, VolumeSource::File(file("a=1", 0o644)));
        for sub in [
            json!({"subPath": "deep/er"}),
            json!({"subPathExpr": "$(POD)/x"}),
        ] {
            let mut mount = json!({"name": "dir", "mountPath": "/d"});
            mount
                .as_object_mut()
                .unwrap()
                .extend(sub.as_object().unwrap().clone());
            let mounts = mounted(json!({"name": "dir", "emptyDir": {}}), mount).unwrap();
            let VolumeSource::Path(path) = &mounts[0].source else {
                panic!("{mounts:?}")
            };
            let end = if sub.get("subPath").is_some() {
                "volumes/dir/deep/er"
            } else {
                "volumes/dir/web-1/x"
            };
            assert!(path.ends_with(end), "{path:?}");
        }
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
