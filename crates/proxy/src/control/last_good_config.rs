//! The last good configuration on disk, with which a proxy can start and serve without a control plane.
//!
//! The file is a line with the SHA-256 of all that follows, a line of JSON with the format's version and the node,
//! and the snapshot. A file that is damaged, of another format or of another node is rejected as a whole: half a
//! configuration, or that of another node, is worse than none.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use tombolo_telemetry::{ErrorChain, Outage};
use tombolo_xds::Snapshot;
use tombolo_xds::resource::DecodeError;

/// Changes within this time are written once.
const DEBOUNCE: Duration = Duration::from_millis(500);
const FILE: &str = "last-good.snapshot";
/// The version of the file's format.
const SCHEMA: u64 = 1;

/// The node that the configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node_id: String,
    pub(super) node_cluster: String,
}

pub(super) struct LastGood {
    file: Arc<Location>,
    pending: Option<(Instant, Snapshot)>,
    /// The current write, off the control thread: a slow disk delays neither health checks nor the admin port.
    writing: Option<JoinHandle<io::Result<()>>>,
    failing: Outage,
}

struct Location {
    directory: PathBuf,
    identity: Identity,
    /// Held while writing, so that the final write does not overlap another one.
    lock: Mutex<()>,
}

/// The reason why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    #[error("it is damaged: its checksum is wrong")]
    Checksum,
    #[error("its format is {found}, and this proxy reads {SCHEMA}")]
    Schema { found: String },
    #[error("it was written for node {found}")]
    OtherNode { found: String },
    #[error("its resources cannot be decoded")]
    Decode(#[source] DecodeError),
}

impl LastGood {
    pub(super) fn new(directory: &Path, identity: Identity) -> Self {
        Self {
            file: Arc::new(Location {
                directory: directory.to_owned(),
                identity,
                lock: Mutex::new(()),
            }),
            pending: None,
            writing: None,
            failing: Outage::default(),
        }
    }

    /// `None` when there is no usable file, which is logged; the proxy then waits for the control plane.
    pub(super) fn load(&self) -> Option<Snapshot> {
        let path = self.file.path();
        match self.file.load() {
            Ok(found) => found,
            Err(error) => {
                let reason = ErrorChain(&error);
                tracing::error!(path = %path.display(), %reason, "last good configuration refused; waiting for the control plane");
                None
            }
        }
    }

    /// Schedules a write of the snapshot, unless a newer one replaces it first.
    pub(super) fn save(&mut self, snapshot: Snapshot) {
        let since = self.pending.take().map(|(since, _)| since);
        self.pending = Some((since.unwrap_or_else(Instant::now), snapshot));
    }

    /// Starts a write that is due, and collects the result of one that has ended. Called on every tick.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub(super) async fn maintain(&mut self, now: Instant) {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            let outcome = writing.await.map_err(io::Error::other);
            self.report(outcome.flatten());
        }
        let due = |(since, _): &mut (Instant, _)| now.saturating_duration_since(*since) >= DEBOUNCE;
        if self.writing.is_none()
            && let Some((_, snapshot)) = self.pending.take_if(due)
        {
            let file = self.file.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || file.write(&snapshot)));
        }
    }

    fn report(&mut self, outcome: io::Result<()>) {
        let path = self.file.path();
        match outcome {
            Ok(()) => {
                if let Some(failures) = self.failing.ended() {
                    tracing::warn!(path = %path.display(), failures, "last good configuration saved again");
                }
            }
            Err(error) => {
                if self.failing.begins() {
                    tracing::warn!(path = %path.display(), %error, "last good configuration cannot be saved");
                }
            }
        }
    }
}

impl Drop for LastGood {
    fn drop(&mut self) {
        if let Some((_, snapshot)) = self.pending.take() {
            let outcome = self.file.write(&snapshot);
            self.report(outcome);
        }
    }
}

impl Location {
    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    fn load(&self) -> Result<Option<Snapshot>, LoadError> {
        match fs::read(self.path()) {
            Ok(bytes) => self.decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LoadError::Read(error)),
        }
    }

    /// Replaces the file atomically: written beside it, synced, then renamed.
    fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        let _lock = self.lock.lock();
        fs::create_dir_all(&self.directory)?;
        let temporary = self.directory.join(format!("{FILE}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&self.encode(snapshot))?;
        file.sync_all()?;
        fs::rename(&temporary, self.path())?;
        File::open(&self.directory)?.sync_all()
    }

    fn encode(&self, snapshot: &Snapshot) -> Vec<u8> {
        let header = json!({
            "schema": SCHEMA,
            "node": self.identity.node_id,
            "cluster": self.identity.node_cluster,
            "revision": snapshot.revision(),
        });
        let mut content = format!("{header}\n").into_bytes();
        content.extend(snapshot.to_bytes());
        let mut bytes = format!("{}\n", checksum(&content)).into_bytes();
        bytes.extend(content);
        bytes
    }

    fn decode(&self, bytes: &[u8]) -> Result<Snapshot, LoadError> {
        let (sum, content) = split_line(bytes).ok_or(LoadError::Checksum)?;
        if sum != checksum(content).as_bytes() {
            return Err(LoadError::Checksum);
        }
        // The rest of the file is the output of some proxy.
        let schema = |found: &str| LoadError::Schema {
            found: found.to_owned(),
        };
        let (header, body) = split_line(content).ok_or_else(|| schema("unknown"))?;
        let header: serde_json::Value =
            serde_json::from_slice(header).map_err(|_| schema("unknown"))?;
        if header["schema"] != SCHEMA {
            return Err(schema(&header["schema"].to_string()));
        }
        let (node, cluster) = (&header["node"], &header["cluster"]);
        if *node != *self.identity.node_id || *cluster != *self.identity.node_cluster {
            let found = format!("{node} of cluster {cluster}");
            return Err(LoadError::OtherNode { found });
        }
        Snapshot::from_bytes(body).map_err(LoadError::Decode)
    }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(directory: &Path, node_id: &str) -> Location {
        Location {
            directory: directory.to_owned(),
            identity: Identity {
                node_id: node_id.to_owned(),
                node_cluster: "front".to_owned(),
            },
            lock: Mutex::new(()),
        }
    }

    fn snapshot(revision: u64) -> Snapshot {
        use envoy_types::pb::envoy::config::cluster::v3::Cluster;
        let cluster = Cluster {
            name: "app".to_owned(),
            ..Default::default()
        };
        Snapshot::builder(revision)
            .with(tombolo_xds::Resource::encode("app", &cluster))
            .build()
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = location(directory.path(), "a");
        assert!(file.load().expect("nothing is no error").is_none());
        file.write(&snapshot(7)).expect("written");
        let read = file.load().expect("whole").expect("there");
        assert_eq!((read.revision(), read), (7, snapshot(7)));
    }

    #[test]
    fn every_damaged_byte_and_every_cut_is_noticed() {
        let file = location(Path::new("/nowhere"), "a");
        let bytes = file.encode(&snapshot(7));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            for bytes in [&damaged, &bytes[..at]] {
                let decoded = file.decode(bytes);
                assert!(matches!(decoded, Err(LoadError::Checksum)), "byte {at}");
            }
        }
    }

    #[test]
    fn other_nodes_and_formats_are_refused_and_named() {
        let bytes = location(Path::new("/nowhere"), "a").encode(&snapshot(7));
        let other = location(Path::new("/nowhere"), "b");
        let error = other.decode(&bytes).expect_err("another node's");
        let text = r#"it was written for node "a" of cluster "front""#;
        assert_eq!(error.to_string(), text);
        let content = b"{\"schema\":2}\n";
        let mut newer = format!("{}\n", checksum(content)).into_bytes();
        newer.extend(content);
        let error = other.decode(&newer).expect_err("a newer format");
        assert_eq!(error.to_string(), "its format is 2, and this proxy reads 1");
    }
}
