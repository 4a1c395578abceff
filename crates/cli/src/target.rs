//! Command-line arguments that select objects: `pods`, `pods,services`, `pod NAME…`, `pod/NAME service/NAME`.

use crate::error::{Error, Result};

/// Objects of a kind, or one of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// One kind, or several with commas.
    pub(crate) kind: String,
    /// One object; all when absent.
    pub(crate) name: Option<String>,
}

/// Parses the arguments.
///
/// # Errors
/// The first argument is KIND/NAME, and another one is not.
pub(crate) fn read(kind: &str, names: &[String]) -> Result<Vec<Target>> {
    if kind.contains('/') {
        let words = std::iter::once(kind).chain(names.iter().map(String::as_str));
        return words
            .map(|word| match word.split_once('/') {
                Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(Target {
                    kind: kind.to_owned(),
                    name: Some(name.to_owned()),
                }),
                _ => Err(Error::usage(format!(
                    "{word:?} is not KIND/NAME, as the first one is"
                ))),
            })
            .collect();
    }
    let of = |name: Option<&String>| Target {
        kind: kind.to_owned(),
        name: name.cloned(),
    };
    Ok(match names {
        [] => vec![of(None)],
        names => names.iter().map(|name| of(Some(name))).collect(),
    })
}

/// Parses arguments for Kubernetes objects, whose names have no slash.
///
/// # Errors
/// As [`read`], or a name has a slash.
pub(crate) fn read_kubernetes(kind: &str, names: &[String]) -> Result<Vec<Target>> {
    match names.iter().find(|name| name.contains('/')) {
        Some(word) if !kind.contains('/') => Err(Error::usage(format!(
            "{word:?} is no name: give KIND and names, or KIND/NAME each time"
        ))),
        _ => read(kind, names),
    }
}

#[cfg(test)]
mod tests {
    type Targets = Result<Vec<(String, Option<String>)>, String>;

    fn read(words: &[&str]) -> Targets {
        let names: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        let targets =
            super::read_kubernetes(words[0], &names).map_err(|error| error.to_string())?;
        Ok(targets.into_iter().map(|t| (t.kind, t.name)).collect())
    }

    #[test]
    fn kinds_and_names_are_read_as_kubectl_reads_them() {
        let of = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
        assert_eq!(read(&["po,svc"]), Ok(vec![of("po,svc", None)]));
        assert_eq!(
            read(&["po", "a", "b"]),
            Ok(vec![of("po", Some("a")), of("po", Some("b"))])
        );
        assert_eq!(
            read(&["po/a", "svc/b"]),
            Ok(vec![of("po", Some("a")), of("svc", Some("b"))])
        );
        for wrong in [&["po/a", "b"][..], &["po", "svc/b"], &["po/"], &["/a"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
