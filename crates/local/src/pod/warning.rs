//! What of a workload's manifest will not be as written, told before it runs.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use tombolo_kube::manifest::{Located, Object};
use tombolo_kube::{Denial, FieldPath};

use super::security;
use crate::images::Images;

/// Directories whose content on this machine pods do not see, and what they see there.
const HIDDEN: [(&str, &str); 3] = [
    ("/tmp", "which is empty and private in each pod"),
    ("/run", "which is empty in each pod"),
    ("/dev/shm", "which is empty and private in each pod"),
];

/// Each with file and line. `rootless`: there is one user.
pub fn warnings(located: &Located<Object>, images: &Images, rootless: bool) -> Vec<String> {
    let (spec, path) = match &located.object {
        Object::Deployment(deployment) => {
            let spec = deployment.spec.as_ref();
            (
                spec.and_then(|spec| spec.template.spec.as_ref()),
                "spec.template.spec",
            )
        }
        Object::Pod(pod) => (pod.spec.as_ref(), "spec"),
        _ => return Vec::new(),
    };
    let Some(spec) = spec else {
        return Vec::new();
    };
    let path = FieldPath::from(path);
    let mut denials: Vec<Denial> = security::not_honoured(spec, &path, rootless)
        .into_iter()
        .map(|(field, why)| Denial::new(field, why))
        .collect();
    let lists = [
        (
            "initContainers",
            spec.init_containers.as_deref().unwrap_or_default(),
        ),
        ("containers", &spec.containers[..]),
    ];
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let field = path.clone().field(list).index(index).field("image");
            let hidden = hidden(spec, container, images);
            denials.extend(
                hidden
                    .into_iter()
                    .map(|why| Denial::new(field.clone(), why)),
            );
        }
    }
    denials
        .iter()
        .map(|denial| located.problem(denial).to_string())
        .collect()
}

/// Files that the command of a container names and that exist, but not for a pod.
fn hidden(spec: &PodSpec, container: &Container, images: &Images) -> Vec<String> {
    let image = container.image.as_deref().unwrap_or_default();
    let (command, args) = (
        container.command.as_deref().unwrap_or_default(),
        container.args.as_deref().unwrap_or_default(),
    );
    let Some(resolved) = images.resolve(image, command, args, "") else {
        return Vec::new();
    };
    let workdir = resolved
        .workdir
        .iter()
        .map(|workdir| workdir.display().to_string());
    let words = resolved.argv.into_iter().chain(workdir);
    let is_mounted = |path: &Path| {
        let mounts = container.volume_mounts.iter().flatten();
        let mut places = mounts.filter(|mount| {
            let mut volumes = spec.volumes.iter().flatten();
            volumes.any(|volume| volume.name == mount.name)
        });
        places.any(|mount| path.starts_with(&mount.mount_path))
    };
    let told = words.filter_map(|word| {
        let path = Path::new(&word);
        let (directory, seen) = HIDDEN.iter().find(|(directory, _)| path.starts_with(directory))?;
        (path.exists() && !is_mounted(path)).then(|| {
            format!("image \"{image}\" runs {word}, which no pod sees: it is below {directory}, {seen}; move it elsewhere")
        })
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_kube::manifest;

    #[test]
    fn programs_that_pods_do_not_see_are_named() {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let program = dir.path().join("server");
        std::fs::write(&program, "").unwrap();
        let images = json!({"x/web": {"command": [program]}, "x/other": {"command": ["/bin/true", "/tmp/no-such-file"]}});
        let images = Images::read(&images, Path::new("/")).unwrap();
        let told = |image: &str, volume: bool| {
            let mount = if volume {
                ", volumeMounts: [{name: t, mountPath: /tmp}]}], volumes: [{name: t, hostPath: {path: /tmp}}]"
            } else {
                "}]"
            };
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{containers: [{{name: web, image: {image}{mount}}}\n"
            );
            let source = [manifest::Source::new("app.yaml", &text)];
            let read = manifest::read(&source, &manifest::Options::default()).unwrap();
            warnings(&read.objects[0], &images, false)
        };
        let found = told("x/web", false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("app.yaml:4: Pod default/web: spec.containers[0].image: image")
        );
        assert!(
            found[0].contains("server, which no pod sees: it is below /tmp"),
            "{found:?}"
        );
        assert!(told("x/web", true).is_empty());
        assert!(told("x/other", false).is_empty());
    }
}
