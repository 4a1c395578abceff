use super::*;
use std::{collections::BTreeSet, fs, path::Path};

/// The operation of a request, in words that differ for each.
fn operation(request: &Parts) -> String {
    if let Some(target) = request.headers.get("x-amz-target") {
        return target.to_str().expect("text").to_owned();
    }
    let kinds: Vec<&str> = request.uri.path().split('/').skip(2).collect();
    let shape = match kinds.as_slice() {
        [] => "GetCallerIdentity",
        ["meshes"] => "meshes",
        ["meshes", _] => "mesh",
        [_, _, kind] | [_, _, _, _, kind] => kind,
        [_, _, kind, _] | [_, _, _, _, kind, _] => &format!("{kind}/"),
        [other] => other,
        other => panic!("{other:?}"),
    };
    format!("{} {shape}", request.method)
}

/// From a seed that is refused, a fuzzer learns little of what is behind.
#[test]
fn the_seeds_reach_every_operation() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/api");
    let mut reached = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("a file");
        with_session(|session| {
            for text in message::split(&data, MOST) {
                let Some((request, body)) = session.read(text) else {
                    continue;
                };
                if session.send(&request, &body).status == 200 {
                    reached.insert(operation(&request));
                }
            }
        });
    }
    let cloud_map = reached.iter().filter(|name| name.starts_with("Route53"));
    assert_eq!(cloud_map.count(), 30, "{reached:#?}");
    let sts = |name: &&String| name.ends_with("GetCallerIdentity");
    assert!(reached.iter().any(|name| sts(&name)));
    let app_mesh = reached
        .iter()
        .filter(|name| !name.starts_with("Route53") && !sts(name));
    assert_eq!(app_mesh.count(), 38, "{reached:#?}");
}
