//! The volumes of a pod, as a container sees them at its mount paths.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume};
use tombolo_linux::container::{FileContent, Mount, MountSource};

use super::env::{Env, expand};
use super::references::{Data, DataRef, ReferenceError, Source, field};
use crate::cluster::Objects;

/// The reason why a volume cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(super) enum VolumeError {
    /// The pod has no volume of this name.
    #[error("volume \"{0}\" is mounted but not declared")]
    Undeclared(String),
    /// The volume has a dangling reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The ConfigMap or Secret has no such key.
    #[error("key \"{0}\" not found")]
    Key(String),
    /// A path points outside its volume.
    #[error("path \"{0}\" must be relative and without \"..\"")]
    Path(String),
    /// A hostPath does not exist.
    #[error("volume \"{volume}\": {path} does not exist on this machine")]
    NoHostPath { volume: String, path: String },
    /// A directory cannot be created.
    #[error("volume \"{volume}\": {path}: {cause}", path = path.display())]
    Create {
        volume: String,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// The local runtime does not support this kind of volume.
    #[error(
        "volume \"{0}\" is of a kind that is not run here; use configMap, secret, emptyDir, hostPath, projected or downwardAPI"
    )]
    Kind(String),
}

/// The mounts of a container. `env` is its environment, for `subPathExpr`; `shared` is the pod's private directory, in
/// which its emptyDirs live.
///
/// # Errors
/// A volume that cannot be mounted.
pub(super) fn mounts(
    objects: &Objects,
    pod: &Pod,
    container: &Container,
    env: &Env,
    shared: &Path,
) -> Result<Vec<Mount>, VolumeError> {
    let volumes = || {
        pod.spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
    };
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes().find(|volume| volume.name == mount.name) else {
            return Err(VolumeError::Undeclared(mount.name.clone()));
        };
        let mut source = source(objects, pod, volume, shared)?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(sub), _) => sub.clone(),
            (None, Some(expression)) => expand(expression, env),
            (None, None) => String::new(),
        };
        if !sub.is_empty() {
            source = sub_path(source, &relative(&sub)?, &volume.name)?;
        }
        mounts.push(Mount {
            at: PathBuf::from(&mount.mount_path),
            source,
            read_only: mount.read_only == Some(true),
        });
    }
    Ok(mounts)
}

type Files = BTreeMap<PathBuf, FileContent>;

fn source(
    objects: &Objects,
    pod: &Pod,
    volume: &Volume,
    shared: &Path,
) -> Result<MountSource, VolumeError> {
    let files = |source, name: &str, optional, items: &Option<Vec<KeyToPath>>, mode| {
        let data = DataRef {
            source,
            name,
            optional,
        };
        select(data.data(objects, pod)?, items.as_deref(), mode)
    };
    if let Some(map) = &volume.config_map {
        let files = files(
            Source::ConfigMapFiles,
            &map.name,
            map.optional,
            &map.items,
            map.default_mode,
        )?;
        return Ok(MountSource::Files(files));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let mode = secret.default_mode;
        let files = files(Source::Secret, name, secret.optional, &secret.items, mode)?;
        return Ok(MountSource::Files(files));
    }
    if let Some(api) = &volume.downward_api {
        let files = downward(pod, api.items.as_deref(), api.default_mode)?;
        return Ok(MountSource::Files(files));
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode;
        let mut all = Files::new();
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                all.extend(files(
                    Source::ConfigMapFiles,
                    &map.name,
                    map.optional,
                    &map.items,
                    mode,
                )?);
            }
            if let Some(secret) = &source.secret {
                let (name, optional) = (&secret.name, secret.optional);
                all.extend(files(Source::Secret, name, optional, &secret.items, mode)?);
            }
            if let Some(api) = &source.downward_api {
                all.extend(downward(pod, api.items.as_deref(), mode)?);
            }
        }
        return Ok(MountSource::Files(all));
    }
    let create_error = |path: &Path| {
        let (volume, path) = (volume.name.clone(), path.to_owned());
        move |cause| VolumeError::Create {
            volume,
            path,
            cause,
        }
    };
    if volume.empty_dir.is_some() {
        let path = shared.join("volumes").join(&volume.name);
        create_shared(&path).map_err(create_error(&path))?;
        return Ok(MountSource::Path(path));
    }
    if let Some(host) = &volume.host_path {
        let path = PathBuf::from(&host.path);
        match host.type_.as_deref() {
            _ if path.exists() => {}
            Some("DirectoryOrCreate") => {
                std::fs::create_dir_all(&path).map_err(create_error(&path))?
            }
            _ => {
                return Err(VolumeError::NoHostPath {
                    volume: volume.name.clone(),
                    path: host.path.clone(),
                });
            }
        }
        return Ok(MountSource::Path(path));
    }
    Err(VolumeError::Kind(volume.name.clone()))
}

/// Files with their permissions: the ones that `items` lists, under its paths, or all.
fn select(
    mut data: Data,
    items: Option<&[KeyToPath]>,
    default: Option<i32>,
) -> Result<Files, VolumeError> {
    let Some(items) = items else {
        let all = data.into_iter();
        return Ok(all
            .map(|(key, bytes)| (key.into(), content(bytes, None, default)))
            .collect());
    };
    let mut files = Files::new();
    for item in items {
        let bytes = data.remove(&item.key);
        let bytes = bytes.ok_or_else(|| VolumeError::Key(item.key.clone()))?;
        files.insert(relative(&item.path)?, content(bytes, item.mode, default));
    }
    Ok(files)
}

fn downward(
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    default: Option<i32>,
) -> Result<Files, VolumeError> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        if let Some(selector) = &item.field_ref {
            let bytes = field(pod, selector)?.into_bytes();
            files.insert(relative(&item.path)?, content(bytes, item.mode, default));
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

/// Creates a directory that every user of the pod can write to, where it is missing.
fn create_shared(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))
}

/// A relative path without `..`, so that it stays inside its volume.
fn relative(path: &str) -> Result<PathBuf, VolumeError> {
    let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(is_inside) {
        Ok(path.into())
    } else {
        Err(VolumeError::Path(path.to_owned()))
    }
}

/// A `subPath` of a volume: a file of it, or a directory, which is created where it is missing.
fn sub_path(source: MountSource, sub: &Path, volume: &str) -> Result<MountSource, VolumeError> {
    Ok(match source {
        MountSource::Path(path) => {
            let path = path.join(sub);
            if !path.exists() {
                create_shared(&path).map_err(|cause| VolumeError::Create {
                    volume: volume.to_owned(),
                    path: sub.to_owned(),
                    cause,
                })?;
            }
            MountSource::Path(path)
        }
        MountSource::Files(mut files) => match files.remove(sub) {
            Some(file) => MountSource::File(file),
            None => {
                let inside = files.into_iter().filter_map(|(path, file)| {
                    let rest = path.strip_prefix(sub).ok()?.to_owned();
                    Some((rest, file))
                });
                MountSource::Files(inside.collect())
            }
        },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Key, Kind, NameGenerator};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};
    use tombolo_kube::Codec;

    fn mounted(volume: Value, mount: Value) -> Result<MountSource, String> {
        let mut objects = Objects::default();
        let data = json!({"app.conf": "a=1", "other": "x"});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data});
        let key = Key::new(Kind::ConfigMap, "shop", "settings");
        let names = NameGenerator::seeded(1);
        let created = objects.create(key, map, Timestamp::UNIX_EPOCH, &names);
        created.unwrap();
        let spec = json!({"containers": [], "volumes": [volume]});
        let pod = json!({"metadata": {"namespace": "shop"}, "spec": spec});
        let pod: Pod = Codec::from_json(&pod).unwrap();
        let read_only = mount["readOnly"] == true;
        let container = json!({"name": "web", "volumeMounts": [mount]});
        let container: Container = Codec::from_json(&container).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let env = Env::from([("POD".to_owned(), "web-1".to_owned())]);
        let mounts = mounts(&objects, &pod, &container, &env, dir.path());
        let mount = mounts.map_err(|error| error.to_string())?.remove(0);
        assert_eq!(mount.read_only, read_only);
        if let MountSource::Path(path) = &mount.source {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o777, "{}", path.display());
        }
        Ok(mount.source)
    }

    fn file(text: &str, mode: u32) -> FileContent {
        FileContent {
            bytes: text.into(),
            mode,
        }
    }

    fn files(files: &[(&str, FileContent)]) -> MountSource {
        let files = files.iter().cloned();
        MountSource::Files(files.map(|(path, file)| (path.into(), file)).collect())
    }

    #[test]
    fn items_choose_and_rename_keys_and_modes_are_those_of_the_item_or_of_the_volume() {
        let mount = || json!({"name": "conf", "mountPath": "/conf", "readOnly": true});
        let items = json!([{"key": "app.conf", "path": "etc/app.conf"}]);
        let map = json!({"name": "settings", "items": items});
        let source = mounted(json!({"name": "conf", "configMap": map}), mount());
        let expected = files(&[("etc/app.conf", file("a=1", 0o644))]);
        assert_eq!(source.unwrap(), expected);
        let items = json!([{"key": "app.conf", "path": "run", "mode": 0o755}, {"key": "other", "path": "other"}]);
        let map = json!({"name": "settings", "defaultMode": 0o400, "items": items});
        let source = mounted(json!({"name": "conf", "configMap": map}), mount());
        let expected = files(&[("other", file("x", 0o400)), ("run", file("a=1", 0o755))]);
        assert_eq!(source.unwrap(), expected);
    }

    #[test]
    fn sub_path_of_a_map_is_a_file_and_that_of_an_empty_dir_a_directory_of_its_own() {
        let map = json!({"name": "conf", "configMap": {"name": "settings"}});
        let mount = json!({"name": "conf", "mountPath": "/etc/app.conf", "subPath": "app.conf"});
        let source = mounted(map, mount).unwrap();
        assert_eq!(source, MountSource::File(file("a=1", 0o644)));
        for (field, value, end) in [
            ("subPath", "deep/er", "volumes/dir/deep/er"),
            ("subPathExpr", "$(POD)/x", "volumes/dir/web-1/x"),
        ] {
            let mut mount = json!({"name": "dir", "mountPath": "/d"});
            mount[field] = value.into();
            let source = mounted(json!({"name": "dir", "emptyDir": {}}), mount).unwrap();
            let MountSource::Path(path) = &source else {
                panic!("{source:?}")
            };
            assert!(path.ends_with(end), "{path:?}");
        }
    }

    #[test]
    fn what_cannot_be_mounted_is_explained() {
        let claim = json!({"persistentVolumeClaim": {"claimName": "x"}});
        for (mut volume, sub, message) in [
            (json!({"emptyDir": {}}), "../../etc", "without \"..\""),
            (
                json!({"configMap": {"name": "gone"}}),
                "",
                "configmap \"gone\" not found",
            ),
            (claim, "", "not run here"),
        ] {
            volume["name"] = "v".into();
            let mount = json!({"name": "v", "mountPath": "/v", "subPath": sub});
            let error = mounted(volume, mount).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
