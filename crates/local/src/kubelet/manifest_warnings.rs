//! Parts of a manifest that will not be run as written, reported before it runs.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use tombolo_kube::manifest::{Located, Object};
use tombolo_kube::{PodSpecExt, Violation};

use super::security_context;
use crate::cluster::limits::pod_spec;
use crate::images_file::Images;

/// Host directories whose content pods do not see, and what they see instead.
const HIDDEN: [(&str, &str); 3] = [
    ("/tmp", "which is empty and private in each pod"),
    ("/run", "which is empty in each pod"),
    ("/dev/shm", "which is empty and private in each pod"),
];

/// The warnings about an object, each with file and line. Without root (`rootless`) there is only one user.
pub(crate) fn warnings(located: &Located<Object>, images: &Images, rootless: bool) -> Vec<String> {
    let Some((spec, path)) = pod_spec(&located.object) else {
        return Vec::new();
    };
    let mut violations = security_context::not_honoured(spec, &path, rootless);
    for (list, index, container) in spec.all_containers() {
        let field = path.clone().field(list).index(index).field("image");
        let hidden = hidden_files(spec, container, images).into_iter();
        violations.extend(hidden.map(|why| Violation::new(field.clone(), why)));
    }
    let texts = violations
        .iter()
        .map(|violation| located.problem(violation).to_string());
    texts.collect()
}

/// Existing files that the command of a container names and that the pod does not see.
fn hidden_files(spec: &PodSpec, container: &Container, images: &Images) -> Vec<String> {
    let Some(command) = images.resolve(container, "") else {
        return Vec::new();
    };
    let workdir = command
        .workdir
        .iter()
        .map(|workdir| workdir.display().to_string());
    let words = command.argv.into_iter().chain(workdir);
    let is_mounted = |path: &Path| {
        container.volume_mounts.iter().flatten().any(|mount| {
            let mut volumes = spec.volumes.iter().flatten();
            path.starts_with(&mount.mount_path) && volumes.any(|volume| volume.name == mount.name)
        })
    };
    let image = container.image.as_deref().unwrap_or_default();
    let warnings = words.filter_map(|word| {
        let path = Path::new(&word);
        let (directory, seen) = HIDDEN.iter().find(|(directory, _)| path.starts_with(directory))?;
        (path.exists() && !is_mounted(path)).then(|| {
            format!("image \"{image}\" runs {word}, which no pod sees: it is below {directory}, {seen}; move it elsewhere")
        })
    });
    warnings.collect()
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
