//! The options of `up`.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_kube::manifest::{self, Manifests, Problem};

pub use crate::control_socket::Source;
pub use crate::network::security_group::{Policy, PortRule};

/// Maximum bytes of a manifest file.
const MAX_BYTES: u64 = 8 << 20;

impl Source {
    /// A file called `name` that holds `text`.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
        }
    }

    /// Reads a file, every `*.yaml`, `*.yml` and `*.json` of a directory in order of names, or standard input
    /// for `-`.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read(path: &Path) -> io::Result<Vec<Self>> {
        if path == Path::new("-") {
            let text = text(io::stdin(), "standard input")?;
            return Ok(vec![Self::new("standard input", text)]);
        }
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if !std::fs::metadata(path).map_err(named)?.is_dir() {
            return Ok(vec![Self::file(path)?]);
        }
        let entries = std::fs::read_dir(path).map_err(named)?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.retain(|file| {
            matches!(
                file.extension().and_then(|end| end.to_str()),
                Some("yaml" | "yml" | "json")
            )
        });
        files.sort();
        if files.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("{}: no *.yaml, *.yml or *.json in it", path.display()),
            ));
        }
        files.iter().map(|file| Self::file(file)).collect()
    }

    fn file(path: &Path) -> io::Result<Self> {
        let name = path.display().to_string();
        let file = std::fs::File::open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        let text = text(file, &name)?;
        Ok(Self::new(name, text))
    }
}

/// Reads everything as text; errors begin with `name`.
fn text(reader: impl Read, name: &str) -> io::Result<String> {
    let named = |kind, problem: String| io::Error::new(kind, format!("{name}{problem}"));
    let mut bytes = Vec::new();
    reader
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| named(error.kind(), format!(": {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(named(
            io::ErrorKind::FileTooLarge,
            format!(": more than {} MiB; split it", MAX_BYTES >> 20),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        named(
            io::ErrorKind::InvalidData,
            format!(":{line}: is not UTF-8; save it in that encoding"),
        )
    })
}

/// A cluster and its manifests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClusterSource {
    /// The name.
    pub name: String,
    /// The files.
    pub manifests: Vec<Source>,
}

impl ClusterSource {
    /// Reads the manifests.
    ///
    /// # Errors
    /// Every problem found in them.
    pub(crate) fn read(&self) -> Result<Manifests, Errors> {
        let sources = self.manifests.iter();
        let sources = sources.map(|source| manifest::Source::new(&source.name, &source.text));
        let sources: Vec<_> = sources.collect();
        manifest::read(&sources, &manifest::Options::default())
            .map_err(|problems| problems.0.into())
    }
}

/// The proxy beside applications.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyKind {
    /// `tombolo proxy`.
    #[default]
    Tombolo,
    /// The Envoy binary at this path.
    Envoy(PathBuf),
}

/// The options of `up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Name of this runtime, unique among the running ones.
    pub name: String,
    /// The clusters, in order.
    pub clusters: Vec<ClusterSource>,
    /// Images files, which map images to commands; later ones override earlier ones.
    pub images: Vec<Source>,
    /// The directory that relative commands of the images files are resolved against.
    pub images_dir: PathBuf,
    /// The range of all clusters: `10.0.0.0/16`.
    pub vpc: String,
    /// The range of Services, the same in each cluster: `10.100.0.0/16`.
    pub services: String,
    /// The account in ARNs: twelve digits.
    pub account: String,
    /// The region in ARNs.
    pub region: String,
    /// The address of the AWS APIs on the host; port 0 takes any free one.
    pub api: SocketAddr,
    /// Whether any other port is used when that one is taken.
    pub other_api_port: bool,
    /// The directory of the control plane's state; absent: the state is lost when the runtime ends.
    pub data_dir: Option<PathBuf>,
    /// The proxy beside applications.
    pub proxy: ProxyKind,
    /// The ports that are open between clusters by default.
    pub network: Policy,
    /// Further open ports.
    pub allow: Vec<PortRule>,
    /// Whether pods get an X-Ray daemon beside their proxy.
    pub xray: bool,
    /// Time that a terminating pod keeps serving, so that proxies learn of its removal first.
    pub drain: Duration,
    /// Further arguments for the control plane.
    pub server_args: Vec<String>,
}

impl Options {
    /// Options without clusters, with the command line's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            clusters: Vec::new(),
            images: Vec::new(),
            images_dir: PathBuf::from("."),
            vpc: "10.0.0.0/16".to_owned(),
            services: "10.100.0.0/16".to_owned(),
            account: "111122223333".to_owned(),
            region: "us-west-2".to_owned(),
            api: SocketAddr::from(([127, 0, 0, 1], 8490)),
            other_api_port: false,
            data_dir: None,
            proxy: ProxyKind::Tombolo,
            network: Policy::Auto,
            allow: Vec::new(),
            xray: false,
            drain: Duration::from_secs(2),
            server_args: Vec::new(),
        }
    }
}

/// Every problem found, each with file and line where there is one, and a remedy.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Errors(pub Vec<String>);

impl Errors {
    pub(super) fn one(error: impl ToString) -> Self {
        Self(vec![error.to_string()])
    }
}

impl From<Vec<Problem>> for Errors {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems.iter().map(ToString::to_string).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_read_in_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yml", "two"), ("a.yaml", "one"), ("c.txt", "none")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let texts: Vec<_> = Source::read(dir.path())
            .unwrap()
            .into_iter()
            .map(|source| source.text)
            .collect();
        assert_eq!(texts, ["one", "two"]);
        assert!(
            Source::read(&dir.path().join("gone.yaml"))
                .unwrap_err()
                .to_string()
                .contains("gone.yaml")
        );
    }

    #[test]
    fn what_is_no_text_or_too_large_is_refused_with_its_line() {
        let refused = |bytes: &[u8]| text(bytes, "a.yaml").unwrap_err().to_string();
        assert_eq!(
            refused(b"a: 1\nb: \xff\n"),
            "a.yaml:2: is not UTF-8; save it in that encoding"
        );
        let large = vec![b'x'; usize::try_from(MAX_BYTES).unwrap() + 1];
        assert_eq!(refused(&large), "a.yaml: more than 8 MiB; split it");
        assert_eq!(text(&large[1..], "a.yaml").unwrap().len() as u64, MAX_BYTES);
    }
}
