//! Images without a registry: which command stands for which image.
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

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tombolo_document::{Limits, decode_known, yaml};

/// The word that stands for the running binary.
const SELF: &str = "{tombolo}";

/// What runs for an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The entrypoint; a container's `command` replaces it.
    pub command: Vec<String>,
    /// Its arguments; a container's `args` replaces them, and `command` drops them.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment that the image brings along; a container's own wins.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory; relative ones start at the images file.
    #[serde(default)]
    pub workdir: Option<PathBuf>,
}

/// Every known image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Images {
    entries: Vec<(String, Entry)>,
}

/// A command with nothing left to look up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment of the image.
    pub env: BTreeMap<String, String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
}

impl Images {
    /// Reads the text of an images file.
    ///
    /// # Errors
    /// Says where the text is not YAML, or which entry is wrong.
    pub fn parse(text: &str, base: &Path) -> Result<Self, String> {
        let limits = Limits {
            bytes: 1 << 20,
            ..Limits::default()
        };
        let (documents, error) = yaml::read(text, &limits);
        if let Some(error) = error {
            return Err(error.to_string());
        }
        let mut images = Self::default();
        for document in &documents {
            images.extend(Self::read(&document.value, base)?);
        }
        Ok(images)
    }

    /// Reads an images file that was parsed from YAML. Relative programs (`./x`) and directories start at
    /// `base`.
    ///
    /// # Errors
    /// Names the entry that is wrong and what it must look like.
    pub fn read(value: &Value, base: &Path) -> Result<Self, String> {
        let images = value.get("images").unwrap_or(value);
        let mut pairs = Vec::new();
        match images {
            Value::Object(map) => pairs.extend(
                map.iter()
                    .map(|(image, entry)| (image.clone(), entry.clone())),
            ),
            Value::Array(list) => {
                for item in list {
                    let mut item = item.clone();
                    let image = item
                        .as_object_mut()
                        .and_then(|fields| fields.shift_remove("image"));
                    let Some(image) = image.as_ref().and_then(Value::as_str) else {
                        return Err("each item of the list needs an image: field".to_owned());
                    };
                    pairs.push((image.to_owned(), item));
                }
            }
            _ => {
                return Err(
                    "expected a map: images: { \"REPOSITORY/NAME\": { command: [\"PROGRAM\"] } }"
                        .to_owned(),
                );
            }
        }
        let mut entries = Vec::with_capacity(pairs.len());
        for (image, value) in pairs {
            let mut entry = decode_known::<Entry>(&value)
                .map_err(|error| format!("images: {image:?}: {error}"))?;
            match entry.command.first_mut() {
                Some(program) if program.starts_with("./") || program.starts_with("../") => {
                    *program = base.join(&program).display().to_string();
                }
                Some(_) => {}
                None => return Err(format!("images: {image:?}: command: must name a program")),
            }
            entry.workdir = entry.workdir.map(|workdir| base.join(workdir));
            entries.push((image, entry));
        }
        Ok(Self { entries })
    }

    /// Adds an entry; those added later win over equal patterns.
    pub fn insert(&mut self, pattern: &str, entry: Entry) {
        self.entries.retain(|(known, _)| known != pattern);
        self.entries.push((pattern.to_owned(), entry));
    }

    /// Takes over entries of `other`, which win.
    pub fn extend(&mut self, other: Self) {
        for (pattern, entry) in other.entries {
            self.insert(&pattern, entry);
        }
    }

    /// The entry of an image.
    pub fn find(&self, image: &str) -> Option<&Entry> {
        let bare = without_tag(image);
        let matching = self
            .entries
            .iter()
            .filter(|(pattern, _)| matches(pattern, image) || matches(pattern, bare));
        let found = matching
            .max_by_key(|(pattern, _)| pattern.bytes().filter(|byte| *byte != b'*').count());
        found.map(|(_, entry)| entry)
    }

    /// What a container of this image runs. `command` and `args` are the container's own.
    pub fn resolve(
        &self,
        image: &str,
        command: &[String],
        args: &[String],
        program: &str,
    ) -> Option<Resolved> {
        let entry = self.find(image)?;
        let mut argv = if command.is_empty() {
            entry.command.clone()
        } else {
            command.to_vec()
        };
        match (command.is_empty(), args.is_empty()) {
            (_, false) => argv.extend(args.iter().cloned()),
            (true, true) => argv.extend(entry.args.iter().cloned()),
            (false, true) => {}
        }
        for word in &mut argv {
            *word = word.replace(SELF, program);
        }
        let env = entry
            .env
            .iter()
            .map(|(key, value)| (key.clone(), value.replace(SELF, program)));
        Some(Resolved {
            argv,
            env: env.collect(),
            workdir: entry.workdir.clone(),
        })
    }

    /// A line for the images file that would make `image` known.
    pub fn suggestion(image: &str) -> String {
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

/// Whether `text` matches `pattern`, in which `*` stands for any letters. Linear: one place to go back to is
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
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>()
        };
        images()
            .resolve(image, &words(command), &words(args), "/bin/tombolo")
            .unwrap()
            .argv
    }

    #[test]
    fn most_specific_pattern_wins() {
        assert_eq!(
            argv("registry:5000/x/colorapp", &[], &[]),
            ["/bin/tombolo", "color", "--plain"]
        );
        assert_eq!(
            argv("registry:5000/x/colorapp:latest", &[], &[]),
            ["/bin/tombolo", "color", "--plain"]
        );
        assert_eq!(argv("x/colorapp:v2", &[], &[]), ["/etc/images/./v2"]);
        assert_eq!(argv("redis@sha256:abc", &[], &[]), ["any"]);
    }

    #[test]
    fn command_and_args_override_as_in_kubernetes() {
        assert_eq!(
            argv("x/colorapp", &[], &["-v"]),
            ["/bin/tombolo", "color", "-v"]
        );
        assert_eq!(argv("x/colorapp", &["sh"], &[]), ["sh"]);
        assert_eq!(
            argv("x/colorapp", &["sh"], &["-c", "true"]),
            ["sh", "-c", "true"]
        );
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(matches("a*c*e", "abcde") && matches("*", "") && matches("a**", "a"));
        assert!(!matches("a*c", "abcd") && !matches("", "a") && !matches("b*", "ab"));
    }

    #[test]
    fn faulty_entry_is_named() {
        let error =
            Images::read(&json!({"images": {"x": {"comand": ["a"]}}}), Path::new("/")).unwrap_err();
        assert!(
            error.contains("\"x\"") && error.contains("comand"),
            "{error}"
        );
        assert!(
            Images::read(&json!({"images": {"x": {"command": []}}}), Path::new("/"))
                .unwrap_err()
                .contains("must name a program")
        );
        assert!(
            Images::read(
                &json!({"images": [{"image": "x", "command": ["a"]}]}),
                Path::new("/")
            )
            .unwrap()
            .find("x")
            .is_some()
        );
    }
}
