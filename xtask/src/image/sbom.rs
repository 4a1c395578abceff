//! What is in an image, as SPDX 2.3 in JSON: the crates that the program is made of, by `cargo metadata`, and Debian's
//! packages that its other files come from.

use super::oci::CREATED;
use crate::{
    fuzz,
    process::{Result, cargo, output},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) const MEDIA_TYPE: &str = "application/spdx+json";

/// Something that an image is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component {
    name: String,
    version: String,
    /// As SPDX writes licences.
    license: String,
    /// A package URL, as in `pkg:cargo/serde@1.0.0`.
    url: String,
}

/// The document of an image that is called `name`.
pub(super) fn document(name: &str, components: &BTreeSet<Component>) -> Value {
    let id = |index: usize| format!("SPDXRef-{index}");
    let relation = |from: &str, kind: &str, to: String| json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to });
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-image",
        "name": name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
    })];
    let mut relations = vec![relation(
        "SPDXRef-DOCUMENT",
        "DESCRIBES",
        "SPDXRef-image".into(),
    )];
    for (index, component) in components.iter().enumerate() {
        packages.push(json!({
            "SPDXID": id(index),
            "name": component.name,
            "versionInfo": component.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseDeclared": component.license,
            "licenseConcluded": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": component.url,
            }],
        }));
        relations.push(relation("SPDXRef-image", "CONTAINS", id(index)));
    }
    let content = crate::digest::sha256(json!([packages]).to_string().as_bytes());
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // A name and not an address: nothing is there.
        "documentNamespace": format!("{}/spdx/{content}", env!("CARGO_PKG_REPOSITORY")),
        "creationInfo": { "created": CREATED, "creators": ["Tool: cargo-xtask-image"] },
        "packages": packages,
        "relationships": relations,
    })
}

/// The crates that `tombolo` is made of: its dependencies without those of its tests, build scripts and macros.
pub(super) fn crates() -> Result<BTreeSet<Component>> {
    let host = fuzz::host()?;
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version", "1", "--locked"]);
    metadata.args(["--filter-platform", &host]);
    let metadata = output(&mut metadata)?;
    let metadata = serde_json::from_str(&metadata);
    crates_of(&metadata.map_err(|error| format!("cargo metadata: {error}"))?)
}

fn crates_of(metadata: &Value) -> Result<BTreeSet<Component>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, &Value> = list(&metadata["packages"])
        .map(|package| (text(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<String, &Value> = list(&metadata["resolve"]["nodes"])
        .map(|node| (text(&node["id"]), node))
        .collect();
    let is_root = |package: &&&Value| package["name"] == "tombolo";
    let root = packages
        .values()
        .find(is_root)
        .ok_or("no package tombolo")?;
    let mut waiting = vec![text(&root["id"])];
    let mut seen = BTreeSet::new();
    let mut components = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let package = *packages
            .get(&id)
            .ok_or_else(|| format!("no package {id}"))?;
        let is_macro = list(&package["targets"])
            .any(|target| list(&target["kind"]).any(|kind| kind == "proc-macro"));
        if is_macro || !seen.insert(id.clone()) {
            continue;
        }
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        components.insert(Component {
            url: format!("pkg:cargo/{name}@{version}"),
            // The older way to write a choice.
            license: match package["license"].as_str() {
                Some(license) => license.replace(" / ", " OR ").replace('/', " OR "),
                None => "NOASSERTION".to_owned(),
            },
            name,
            version,
        });
        let node = nodes.get(&id).ok_or_else(|| format!("no node {id}"))?;
        let used = list(&node["deps"])
            .filter(|dependency| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()));
        waiting.extend(used.map(|dependency| text(&dependency["pkg"])));
    }
    Ok(components)
}

/// Debian's packages that files of this machine come from. On another system there are none.
pub(super) fn debian<'a>(files: impl Iterator<Item = &'a Path>) -> BTreeSet<Component> {
    let mut components = BTreeSet::new();
    for file in files {
        // Where `/lib` is a link to `/usr/lib`, the database knows a file by one of both.
        let other = match file.strip_prefix("/usr") {
            Ok(rest) => Path::new("/").join(rest),
            Err(_) => Path::new("/usr").join(file.strip_prefix("/").unwrap_or(file)),
        };
        let package = [file.to_owned(), other].iter().find_map(owner);
        components.extend(package.as_deref().and_then(component));
    }
    components
}

/// The package of a file.
fn owner(file: &PathBuf) -> Option<String> {
    let told = Command::new("dpkg-query")
        .arg("-S")
        .arg(file)
        .output()
        .ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    // `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`
    let (package, _) = told.lines().next()?.split_once(": ")?;
    Some(package.to_owned())
}

fn component(package: &str) -> Option<Component> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Package} ${Version} ${Architecture}", package]);
    let told = String::from_utf8(query.output().ok()?.stdout).ok()?;
    let mut words = told.split(' ').map(str::to_owned);
    let (name, version, architecture) = (words.next()?, words.next()?, words.next()?);
    Some(Component {
        url: format!("pkg:deb/debian/{name}@{version}?arch={architecture}"),
        license: "NOASSERTION".to_owned(),
        name,
        version,
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_tests_build_scripts_and_macros_are_left_out() {
        let package = |name: &str, kind: &str, license: Value| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "license": license,
                "targets": [{ "kind": [kind] }],
            })
        };
        let uses =
            |name: &str, kind: Value| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = json!({
            "packages": [
                package("tombolo", "bin", json!("Apache-2.0")),
                package("bytes", "lib", json!("MIT/Apache-2.0")),
                package("derive", "proc-macro", json!("MIT")),
                package("syn", "lib", json!("MIT")),
                package("cc", "lib", json!("MIT")),
                package("tempfile", "lib", json!("MIT")),
                package("other", "lib", json!("MIT")),
            ],
            "resolve": { "nodes": [
                { "id": "tombolo", "deps": [
                    uses("bytes", json!(null)), uses("derive", json!(null)),
                    uses("cc", json!("build")), uses("tempfile", json!("dev")),
                ]},
                { "id": "bytes", "deps": [uses("tombolo", json!(null))] },
                { "id": "derive", "deps": [uses("syn", json!(null))] },
            ]},
        });
        let components = crates_of(&metadata).expect("it is complete");
        let urls: Vec<&str> = components.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(urls, ["pkg:cargo/bytes@1.0.0", "pkg:cargo/tombolo@1.0.0"]);
        let licenses: Vec<&str> = components.iter().map(|one| one.license.as_str()).collect();
        assert_eq!(licenses, ["MIT OR Apache-2.0", "Apache-2.0"]);
        let document = document("tombolo:v1", &components);
        assert_eq!(document["packages"][1]["name"], "bytes");
        assert_eq!(
            document["relationships"][2]["relatedSpdxElement"],
            "SPDXRef-1"
        );
    }
}
