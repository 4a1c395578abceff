//! Manifests: YAML to Kubernetes objects.
//!
//! Whatever it is: no panic, and every problem stands on a line of the file. What is read is judged and
//! converted as the controller does it.

use tombolo_kube::{
    ClusterObjects,
    admit::{self, IpFamily},
    convert,
    inject::{InjectConfig, inject},
    manifest::{self, Object, Options, Source, Strictness},
};

/// The target.
pub fn run(data: &[u8]) {
    let Some((how, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let options = Options {
        strictness: match how % 3 {
            0 => Strictness::Strict,
            1 => Strictness::Warn,
            _ => Strictness::Ignore,
        },
        ..Options::default()
    };
    let lines = text.split(['\n', '\r']).count() + 1;
    let on_a_line = |line: usize| assert!((1..=lines).contains(&line), "{line} of {lines}");
    match manifest::read(&[Source::new("file.yaml", text)], &options) {
        Ok(read) => {
            for problem in &read.warnings {
                on_a_line(problem.line);
                let _ = problem.to_string();
            }
            let mut cluster = ClusterObjects::new();
            for located in read.into_apply_order() {
                on_a_line(located.origin.line());
                let _ = located.title();
                apply(located.object, &mut cluster);
            }
        }
        Err(problems) => {
            for problem in &problems.0 {
                on_a_line(problem.line);
            }
            let _ = problems.to_string();
        }
    }
}

/// Does with an object what a cluster does.
fn apply(object: Object, cluster: &mut ClusterObjects) {
    let config = InjectConfig::new("envoy", "init", "us-west-2", "111122223333");
    match object {
        Object::Namespace(namespace) => {
            let metadata = namespace.metadata;
            let labels = metadata.labels.unwrap_or_default();
            cluster.put_namespace(metadata.name.unwrap_or_default(), labels);
        }
        Object::Mesh(resource) => {
            let _ = resource.check();
            if let Ok(admitted) = admit::create(*resource, cluster, IpFamily::V4) {
                let again = admit::update(&admitted, admitted.clone(), IpFamily::V4);
                assert_eq!(again.as_ref(), Ok(&admitted), "applied again");
                let _ = convert::convert(&admitted, cluster);
                cluster.put(admitted);
            }
        }
        Object::Pod(pod) => {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let _ = inject(&pod, &namespace, cluster, &config);
        }
        _ => {}
    }
}
