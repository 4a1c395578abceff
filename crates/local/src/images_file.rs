//! The images file: the command of each container image.
//!
//! ```yaml
//! images:
//!   "*/colorapp": { command: ["{tombolo}", "demo", "color-app"], env: { MODE: plain } }
//!   "registry.example/shop:*": { command: ["./shop"], workdir: "." }
//! ```
//!
//! Patterns may hold `*`. An image matches with its tag or without it; the most specific pattern (the one with
//! the most literal letters) wins. `{tombolo}` stands for the running binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Container;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_document::{DecodeError, Limits, decode_known, yaml};

/// The word that stands for the running binary.
const SELF: &str = "{tombolo}";

/// The reason why an images file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    /// It is not YAML.
    #[error(transparent)]
    Yaml(#[from] tombolo_document::SyntaxError),
    /// It is neither a map nor a list.
    #[error("expected a map: images: {{ \"REPOSITORY/NAME\": {{ command: [\"PROGRAM\"] }} }}")]
    NoMap,
    /// An item of a list does not say for which image it is.
    #[error("each item of the list needs an image: field")]
    NoImage,
    /// An entry has no program.
    #[error("images: {0:?}: command: must name a program")]
    NoProgram(String),
    /// An entry has another shape.
    #[error("images: {image:?}: {cause}")]
    Entry {
        image: String,
        #[source]
        cause: DecodeError,
    },
}

/// The command of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The entrypoint; a container's `command` replaces it.
    pub command: Vec<String>,
    /// The arguments; a container's `args` replaces them, and `command` drops them.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment of the image; variables of the container override it.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory; relative ones start at the images file.
    #[serde(default)]
    pub workdir: Option<PathBuf>,
}

/// All images of the images files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Images {
    entries: Vec<(String, Entry)>,
}

/// The command of a container, fully resolved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Resolved {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment of the image.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
}

impl Images {
    /// Reads the text of an images file. Relative programs (`./x`) and directories start at `base`.
    ///
    /// # Errors
    /// The text is not YAML, or an entry is wrong.
    pub(crate) fn parse(text: &str, base: &Path) -> Result<Self, ImagesError> {
        let limits = Limits {
            bytes: 1 << 20,
            ..Limits::default()
        };
        let (documents, error) = yaml::read(text, &limits);
        if let Some(error) = error {
            return Err(error.into());
        }
        let mut images = Self::default();
        for document in &documents {
            images.extend(Self::read(&document.value, base)?);
        }
        Ok(images)
    }

    /// Reads an images file that was parsed from YAML.
    ///
    /// # Errors
    /// The entry that is wrong, and what it must look like.
    pub(crate) fn read(value: &Value, base: &Path) -> Result<Self, ImagesError> {
        let images = value.get("images").unwrap_or(value);
        let pairs: Vec<(String, Value)> = match images {
            Value::Object(map) => map.clone().into_iter().collect(),
            Value::Array(list) => {
                let pair = |item: &Value| {
                    let mut item = item.clone();
                    let image = item.as_object_mut()?.shift_remove("image")?;
                    Some((image.as_str()?.to_owned(), item))
                };
                let pairs = list
                    .iter()
                    .map(|item| pair(item).ok_or(ImagesError::NoImage));
                pairs.collect::<Result<_, _>>()?
            }
            _ => return Err(ImagesError::NoMap),
        };
        let mut entries = Vec::with_capacity(pairs.len());
        for (image, value) in pairs {
            let mut entry = match decode_known::<Entry>(&value) {
                Ok(entry) => entry,
                Err(cause) => return Err(ImagesError::Entry { image, cause }),
            };
            match entry.command.first_mut() {
                Some(program) if program.starts_with("./") || program.starts_with("../") => {
                    *program = base.join(&program).display().to_string();
                }
                Some(_) => {}
                None => return Err(ImagesError::NoProgram(image)),
            }
            entry.workdir = entry.workdir.map(|workdir| base.join(workdir));
            entries.push((image, entry));
        }
        Ok(Self { entries })
    }

    /// Adds an entry; it replaces one with the same pattern.
    pub(crate) fn insert(&mut self, pattern: &str, entry: Entry) {
        self.entries.retain(|(known, _)| known != pattern);
        self.entries.push((pattern.to_owned(), entry));
    }

    /// Adds the entries of `other`, which replace those with the same pattern.
    pub(crate) fn extend(&mut self, other: Self) {
        for (pattern, entry) in other.entries {
            self.insert(&pattern, entry);
        }
    }

    /// The entry of an image.
    pub(crate) fn find(&self, image: &str) -> Option<&Entry> {
        let bare = without_tag(image);
        let matching = self
            .entries
            .iter()
            .filter(|(pattern, _)| matches(pattern, image) || matches(pattern, bare));
        let found = matching
            .max_by_key(|(pattern, _)| pattern.bytes().filter(|byte| *byte != b'*').count());
        found.map(|(_, entry)| entry)
    }

    /// The command of a container, whose own `command` and `args` override the image's; `None` for an unknown image.
    /// `program` stands for `{tombolo}`.
    pub(crate) fn resolve(&self, container: &Container, program: &str) -> Option<Resolved> {
        let entry = self.find(container.image.as_deref().unwrap_or_default())?;
        let own = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
        let (command, args) = (own(&container.command), own(&container.args));
        // `command` replaces the image's arguments too.
        let image_args = match command {
            Some(_) => Vec::new(),
            None => entry.args.clone(),
        };
        let mut argv = command.unwrap_or_else(|| entry.command.clone());
        argv.extend(args.unwrap_or(image_args));
        let fill = |text: &String| text.replace(SELF, program);
        let env = entry
            .env
            .iter()
            .map(|(key, value)| (key.clone(), fill(value)));
        Some(Resolved {
            argv: argv.iter().map(fill).collect(),
            env: env.collect(),
            workdir: entry.workdir.clone(),
        })
    }

    /// A line for the images file that would make `image` known.
    pub(crate) fn suggestion(image: &str) -> String {
        let name = without_tag(image).rsplit('/').next().unwrap_or(image);
        format!("  \"*/{name}\": {{ command: [\"./{name}\"] }}")
    }
}

/// The image without `:tag` and `@digest`. A colon before a slash belongs to the registry's port.
fn without_tag(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any characters. Linear: backtracking to the last star is
/// enough, because an earlier star can never match better than a later one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
        } else if pattern.get(at) == Some(&text[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((back, begun)) = star {
            star = Some((back, begun + 1));
            at = back + 1;
            seen = begun + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn images() -> Images {
        let value = json!({"images": {
            "*": {"command": ["any"]},
            "*/colorapp": {"command": ["{tombolo}", "color"], "args": ["--plain"], "env": {"SELF": "{tombolo}"}},
            "*/colorapp:v2": {"command": ["./v2"], "workdir": "data"}}});
        Images::read(&value, Path::new("/etc/images")).unwrap()
    }

    fn argv(image: &str, command: &[&str], args: &[&str]) -> Vec<String> {
        let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let container = Container {
            image: Some(image.to_owned()),
            command: words(command),
            args: words(args),
            ..Container::default()
        };
        images().resolve(&container, "/bin/tombolo").unwrap().argv
    }

    #[test]
    fn most_specific_pattern_wins() {
        let plain = ["/bin/tombolo", "color", "--plain"];
        for image in [
            "registry:5000/x/colorapp",
            "registry:5000/x/colorapp:latest",
        ] {
            assert_eq!(argv(image, &[], &[]), plain);
        }
        assert_eq!(argv("x/colorapp:v2", &[], &[]), ["/etc/images/./v2"]);
        assert_eq!(argv("redis@sha256:abc", &[], &[]), ["any"]);
    }

    #[test]
    fn command_and_args_override_as_in_kubernetes() {
        let cases: [(&[&str], &[&str], &[&str]); 3] = [
            (&[], &["-v"], &["/bin/tombolo", "color", "-v"]),
            (&["sh"], &[], &["sh"]),
            (&["sh"], &["-c", "true"], &["sh", "-c", "true"]),
        ];
        for (command, args, expected) in cases {
            assert_eq!(argv("x/colorapp", command, args), expected);
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches("a*c*e", "abcde") && matches("*", "") && matches("a**", "a"));
        assert!(!matches("a*c", "abcd") && !matches("", "a") && !matches("b*", "ab"));
    }

    #[test]
    fn faulty_entry_is_named() {
        let read = |images| Images::read(&json!({ "images": images }), Path::new("/"));
        let error = |images| read(images).unwrap_err().to_string();
        let misspelt = error(json!({"x": {"comand": ["a"]}}));
        assert!(
            misspelt.contains("\"x\"") && misspelt.contains("comand"),
            "{misspelt}"
        );
        assert!(error(json!({"x": {"command": []}})).contains("must name a program"));
        let list = read(json!([{"image": "x", "command": ["a"]}])).unwrap();
        assert!(list.find("x").is_some());
    }
}
