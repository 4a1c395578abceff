//! Images as the OCI image specification 1.1 has them: blobs named by their digests, and an index.

use super::layer::{Layer, header};
use crate::{
    digest::{self, Digesting},
    process::Result,
};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// When every image was made, so that the same files give the same image.
pub(super) const CREATED: &str = "1970-01-01T00:00:00Z";

/// An image before it is written.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) layers: Vec<Layer>,
    pub(crate) entrypoint: Vec<String>,
    /// What follows the entrypoint unless a container says otherwise.
    pub(crate) command: Vec<String>,
    /// `UID:GID`.
    pub(crate) user: String,
    pub(crate) environment: Vec<String>,
    /// Annotations of the manifest, and labels.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A blob, as manifests name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    /// Without `sha256:`.
    pub(crate) digest: String,
    /// In bytes.
    pub(crate) size: u64,
}

impl Descriptor {
    fn json(&self) -> Value {
        json!({
            "mediaType": self.media_type,
            "digest": format!("sha256:{}", self.digest),
            "size": self.size,
        })
    }
}

/// How layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    /// As they are: quick to write and to read on one machine.
    Plain,
    /// Compressed, to be sent.
    Gzip,
}

/// The blobs of an image layout.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// The blobs of the layout in such a folder, which may be there already.
    pub(crate) fn create(layout: &Path) -> Result<Self> {
        let folder = layout.join("blobs/sha256");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The file of a blob, by its digest without `sha256:`. `None` for what is no digest.
    pub(crate) fn path(&self, digest: &str) -> Option<PathBuf> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.folder.join(digest))
    }

    /// Writes an image; answers with its manifest.
    pub(crate) fn add_image(&self, image: &Image, packing: Packing) -> Result<Descriptor> {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for layer in &image.layers {
            let (descriptor, diff_id) = self.add_layer(layer, packing)?;
            layers.push(descriptor.json());
            diff_ids.push(format!("sha256:{diff_id}"));
        }
        let history: Vec<Value> = diff_ids
            .iter()
            .map(|_| json!({ "created": CREATED, "created_by": "cargo xtask image" }))
            .collect();
        let config = json!({
            "created": CREATED,
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "User": image.user,
                "Env": image.environment,
                "Entrypoint": image.entrypoint,
                "Cmd": image.command,
                "WorkingDir": "/",
                "Labels": image.annotations,
            },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        let config = self.add_json(CONFIG, &config)?;
        self.add_json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config.json(),
                "layers": layers,
                "annotations": image.annotations,
            }),
        )
    }

    /// Writes a manifest that attaches a document to an image; answers with it.
    pub(crate) fn attach(
        &self,
        subject: &Descriptor,
        media_type: &str,
        name: &str,
        document: &[u8],
    ) -> Result<Descriptor> {
        let mut layer = self.add(media_type, document)?.json();
        layer["annotations"] = json!({ "org.opencontainers.image.title": name });
        let empty = self.add(EMPTY, b"{}")?;
        self.add_json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": media_type,
                "config": empty.json(),
                "layers": [layer],
                "subject": subject.json(),
                "annotations": { "org.opencontainers.image.created": CREATED },
            }),
        )
    }

    /// Writes a layer; answers with it and with the digest of its tar.
    fn add_layer(&self, layer: &Layer, packing: Packing) -> Result<(Descriptor, String)> {
        let temporary = self.folder.join("unfinished");
        let failed = |error: io::Error| format!("a layer cannot be written: {error}");
        let file = BufWriter::new(File::create(&temporary).map_err(failed)?);
        let file = Digesting::new(file);
        let (mut file, digest, size, diff_id, media_type) = match packing {
            Packing::Plain => {
                let mut tar = file;
                layer.write(&mut tar).map_err(failed)?;
                let (file, digest, size) = tar.finish();
                (file, digest.clone(), size, digest, LAYER.to_owned())
            }
            Packing::Gzip => {
                let gzip = GzBuilder::new()
                    .mtime(0)
                    .write(file, Compression::default());
                let mut tar = Digesting::new(gzip);
                layer.write(&mut tar).map_err(failed)?;
                let (gzip, diff_id, _) = tar.finish();
                let (file, digest, size) = gzip.finish().map_err(failed)?.finish();
                (file, digest, size, diff_id, format!("{LAYER}+gzip"))
            }
        };
        file.flush().map_err(failed)?;
        fs::rename(&temporary, self.folder.join(&digest)).map_err(failed)?;
        let descriptor = Descriptor {
            media_type,
            digest,
            size,
        };
        Ok((descriptor, diff_id))
    }

    fn add_json(&self, media_type: &str, value: &Value) -> Result<Descriptor> {
        self.add(media_type, value.to_string().as_bytes())
    }

    fn add(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let digest = digest::sha256(bytes);
        let path = self.folder.join(&digest);
        fs::write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size: bytes.len() as u64,
        })
    }
}

/// An image layout: blobs, and an index of images and of what is attached to them.
#[derive(Debug)]
pub(crate) struct Layout {
    directory: PathBuf,
    pub(crate) blobs: Blobs,
    manifests: Vec<Value>,
}

impl Layout {
    /// An empty layout in the place of what is there.
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let failed = |error: io::Error| format!("{}: {error}", directory.display());
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(failed)?;
        }
        let blobs = Blobs::create(directory)?;
        let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        fs::write(directory.join("oci-layout"), version).map_err(failed)?;
        Ok(Self {
            directory: directory.to_owned(),
            blobs,
            manifests: Vec::new(),
        })
    }

    /// Lists an image under a name with a tag.
    pub(crate) fn list_image(&mut self, image: &Descriptor, name: &str, tag: &str) {
        let mut entry = image.json();
        entry["platform"] = json!({ "os": "linux", "architecture": architecture() });
        entry["annotations"] = json!({
            "org.opencontainers.image.ref.name": tag,
            // By this one containerd names what it imports.
            "io.containerd.image.name": format!("{name}:{tag}"),
        });
        self.manifests.push(entry);
    }

    /// Lists what is attached to an image.
    pub(crate) fn list_attached(&mut self, attached: &Descriptor, media_type: &str) {
        let mut entry = attached.json();
        entry["artifactType"] = json!(media_type);
        self.manifests.push(entry);
    }

    /// Writes the index. The layout is then complete.
    pub(crate) fn finish(&self) -> Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": self.manifests,
        });
        let path = self.directory.join("index.json");
        fs::write(&path, index.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Writes the layout as one tar, which is the same each time.
    pub(crate) fn archive(&self, path: &Path) -> Result<()> {
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let mut names = vec!["oci-layout".to_owned(), "index.json".to_owned()];
        let mut blobs = Vec::new();
        for entry in fs::read_dir(self.directory.join("blobs/sha256")).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            blobs.push(format!("blobs/sha256/{}", name.display()));
        }
        blobs.sort();
        names.extend(blobs);
        let mut tar = Builder::new(BufWriter::new(File::create(path).map_err(failed)?));
        for name in names {
            let file = File::open(self.directory.join(&name)).map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            let header = &mut header(EntryType::Regular, 0o644, size);
            tar.append_data(header, name, file).map_err(failed)?;
        }
        let mut file = tar.into_inner().map_err(failed)?;
        file.flush().map_err(failed)
    }
}

/// The processor of this machine, in Go's words, which are OCI's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path) -> Image {
        let mut layer = Layer::default();
        layer.text("/etc/passwd", "root:x:0:0\n");
        layer.folder("/tmp", 0o1777);
        layer.link("/bin/sh", "busybox");
        layer
            .file("/bin/busybox", &folder.join("busybox"))
            .expect("it is there");
        Image {
            layers: vec![layer],
            entrypoint: vec!["/bin/sh".into()],
            user: "1:1".into(),
            ..Image::default()
        }
    }

    #[test]
    fn the_same_files_give_the_same_image_and_archive_at_another_time_and_place() {
        let mut seen = Vec::new();
        for packing in [Packing::Plain, Packing::Gzip] {
            let made = [1_000_000_000, 1_700_000_000].map(|time| {
                let folder = tempfile::tempdir().expect("there is room");
                let file = folder.path().join("busybox");
                fs::write(&file, "#!").expect("there is room");
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
                let opened = File::options()
                    .write(true)
                    .open(&file)
                    .expect("it is there");
                opened.set_modified(time).expect("it is ours");
                let directory = folder.path().join("layout");
                let mut layout = Layout::create(&directory).expect("there is room");
                let blobs = &layout.blobs;
                let image = blobs
                    .add_image(&image(folder.path()), packing)
                    .expect("it is written");
                let attached = blobs
                    .attach(&image, "text/plain", "a.txt", b"a")
                    .expect("it too");
                layout.list_image(&image, "tombolo", "v1");
                layout.list_attached(&attached, "text/plain");
                layout.finish().expect("there is room");
                let archive = folder.path().join("image.tar");
                layout.archive(&archive).expect("there is room");
                (
                    image,
                    digest::sha256(&fs::read(archive).expect("it is there")),
                )
            });
            assert_eq!(made[0], made[1]);
            seen.push(made[0].clone());
        }
        assert_ne!(seen[0].0, seen[1].0);
    }

    #[test]
    fn every_blob_that_a_manifest_names_is_there_under_its_digest() {
        let folder = tempfile::tempdir().expect("there is room");
        fs::write(folder.path().join("busybox"), "#!").expect("there is room");
        let blobs = Blobs::create(folder.path()).expect("there is room");
        let image = blobs
            .add_image(&image(folder.path()), Packing::Gzip)
            .expect("it is written");
        let read = |digest: &str| {
            let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
            let bytes = fs::read(blobs.path(digest).expect("a digest")).expect("it is there");
            assert_eq!(digest::sha256(&bytes), digest);
            bytes
        };
        let manifest: Value = serde_json::from_slice(&read(&image.digest)).expect("JSON");
        let digest = |value: &Value| value["digest"].as_str().expect("a digest").to_owned();
        let config: Value =
            serde_json::from_slice(&read(&digest(&manifest["config"]))).expect("JSON");
        let layer = read(&digest(&manifest["layers"][0]));
        let mut tar = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(layer.as_slice());
        io::Read::read_to_end(&mut gzip, &mut tar).expect("gzip");
        let diff_id = format!("sha256:{}", digest::sha256(&tar));
        assert_eq!(config["rootfs"]["diff_ids"][0], diff_id);
        let mut archive = tar::Archive::new(tar.as_slice());
        let entries = archive.entries().expect("a tar").map(|entry| {
            let entry = entry.expect("an entry");
            assert_eq!(entry.header().mtime().ok(), Some(0));
            entry.path().expect("a path").display().to_string()
        });
        let names: Vec<String> = entries.collect();
        assert_eq!(
            names,
            [
                "bin/",
                "bin/busybox",
                "bin/sh",
                "etc/",
                "etc/passwd",
                "tmp/"
            ]
        );
        assert_eq!(blobs.path("../../index.json"), None);
    }
}
