//! The resources that command-line arguments select: `routes`, `vn,vr`, `route NAME…`, `route/shop/front/all`.

use super::{filter::Filter, id::Id, kind::Kind, lookup::Lookup, view::ResourceView};
use crate::{
    error::{Error, Result},
    target,
};
use tombolo_api::client::Error as ApiError;
use tombolo_model::{appmesh::ResourceKey, arn};

/// One or all resources of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All resources of a kind.
    All(Kind),
    /// The resource of this name or path.
    Named(Kind, String),
    /// A resource of the mesh, by its ARN.
    Mesh(ResourceKey),
    /// A resource of the registry, by its ARN.
    Registry(String),
}

/// Parses the arguments of the command line.
pub(crate) fn read(kind: &str, names: &[String]) -> Result<Vec<Target>> {
    if kind.starts_with("arn:") {
        let words = std::iter::once(kind).chain(names.iter().map(String::as_str));
        return words.map(of_arn).collect();
    }
    let mut targets = Vec::new();
    for target in target::read(kind, names)? {
        let kinds = Kind::parse_list(&target.kind)?.into_iter();
        targets.extend(kinds.map(|kind| match &target.name {
            None => Target::All(kind),
            Some(name) => Target::Named(kind, name.clone()),
        }));
    }
    Ok(targets)
}

fn of_arn(word: &str) -> Result<Target> {
    if let Some(name) = arn::parse_resource(word) {
        return Ok(Target::Mesh(name.key));
    }
    if word.split(':').nth(2) == Some("servicediscovery") {
        return Ok(Target::Registry(word.to_owned()));
    }
    Err(Error::usage(format!(
        "{word} is no ARN of App Mesh or Cloud Map, as the first word is"
    )))
}

/// The outcome of looking up a target.
pub(crate) enum Selected {
    /// All resources of the kind, or the named one.
    Found(Vec<ResourceView>),
    /// Nothing has this name; an error message.
    Missing(String),
}

/// Looks up a target.
///
/// # Errors
/// The server refused, or a name matches several resources.
pub(crate) async fn find(lookup: &Lookup, filter: &Filter, target: &Target) -> Result<Selected> {
    match target {
        Target::All(kind) => {
            let all = lookup.list(*kind, filter, None).await?;
            Ok(Selected::Found(all))
        }
        Target::Named(kind, word) => {
            let found = lookup.list(*kind, filter, Some(word)).await?;
            match found.len() {
                0 => Ok(Selected::Missing(format!(
                    "{} \"{word}\" not found",
                    kind.as_str()
                ))),
                1 => Ok(Selected::Found(found)),
                _ => Err(several(*kind, word, &found)),
            }
        }
        Target::Mesh(key) => {
            let found = lookup.find(&Id::Mesh(key.clone())).await?;
            Ok(found.map_or_else(|| Selected::Missing(format!("{key} not found")), one))
        }
        Target::Registry(arn) => {
            let found = by_arn(lookup, arn).await?;
            Ok(found.map_or_else(|| Selected::Missing(format!("{arn} not found")), one))
        }
    }
}

fn one(found: ResourceView) -> Selected {
    Selected::Found(vec![found])
}

fn several(kind: Kind, word: &str, found: &[ResourceView]) -> Error {
    const SHOWN: usize = 5;
    let mut paths: Vec<String> = found.iter().take(SHOWN).map(|it| it.id.path()).collect();
    if found.len() > SHOWN {
        paths.push("…".into());
    }
    Error::Lookup(format!(
        "{} \"{word}\" is ambiguous: name one of {}",
        kind.as_str(),
        paths.join(", ")
    ))
}

/// A namespace or service by its whole ARN.
async fn by_arn(lookup: &Lookup, arn: &str) -> Result<Option<ResourceView>, ApiError> {
    for namespace in lookup.namespaces().await?.iter() {
        let name = namespace.name.clone();
        if namespace.arn == arn {
            return lookup.find(&Id::Namespace { name }).await;
        }
        let services = lookup.services(&namespace.id).await?;
        if let Some(service) = services.iter().find(|service| service.arn == arn) {
            let id = Id::Service {
                namespace: name,
                name: service.name.clone(),
            };
            return lookup.find(&id).await;
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombolo_model::appmesh;

    fn read(words: &[&str]) -> Result<Vec<Target>, String> {
        let names: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        super::read(words[0], &names).map_err(|error| error.to_string())
    }

    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        let node = Kind::Mesh(appmesh::Kind::VirtualNode);
        let called = |kind, name: &str| Target::Named(kind, name.to_owned());
        assert_eq!(read(&["vn"]), Ok(vec![Target::All(node)]));
        assert_eq!(
            read(&["vn", "a", "shop/b"]),
            Ok(vec![called(node, "a"), called(node, "shop/b")])
        );
        assert_eq!(
            read(&["vn/shop/a", "ns/b.local"]),
            Ok(vec![
                called(node, "shop/a"),
                called(Kind::Namespace, "b.local")
            ])
        );
        let arn = "arn:aws:appmesh:us-west-2:111122223333:mesh/m/virtualNode/n";
        let key = ResourceKey::new("m", appmesh::Kind::VirtualNode, "n");
        assert_eq!(read(&[arn]), Ok(vec![Target::Mesh(key)]));
        for wrong in [
            &["vn/a", "b"][..],
            &["vnn/a"],
            &["vn/"],
            &["arn:aws:s3:::b"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
