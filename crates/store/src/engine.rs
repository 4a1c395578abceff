//! Where changes are kept: in memory alone, or in a redb file.

use crate::{row, state::State};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::{Path, PathBuf};
use tombolo_model::{Change, View, change::storage_key};

/// Keys: see [`storage_key`]; values: see [`row`].
const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// `revision` and `format`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The layout of the rows; a file of another layout is refused rather than misread.
const FORMAT: u64 = 1;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds it.
    #[error(
        "{} is in use by another process: stop that server, or give this one another --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// The directory cannot be made.
    #[error("cannot create {}: {source}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is of another version of this program.
    #[error("{} has format {found}, this program reads format {FORMAT}: use the program that wrote it, or give an empty --data-dir", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No member of the etcd cluster serves us, or what is there is not ours.
    #[error("{cluster}: {reason}")]
    Cluster {
        /// Where it is.
        cluster: String,
        /// What is wrong.
        reason: String,
    },
}

pub(crate) enum Engine {
    Memory,
    Redb(Box<Database>),
}

impl Engine {
    /// Opens the file in `directory`, making both if needed, and reads what it holds.
    pub(crate) fn open(directory: &Path) -> Result<(Self, View), OpenError> {
        std::fs::create_dir_all(directory).map_err(|source| OpenError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let path = directory.join("tombolo.redb");
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.clone()),
            other => unreadable(&path, other),
        })?;
        let view = read_or_prepare(&database, &path)?;
        Ok((Engine::Redb(Box::new(database)), view))
    }

    /// Writes changes and the revision they lead to, all or nothing, and returns when they are durable.
    pub(crate) fn write(&self, revision: u64, changes: &[Change]) -> Result<(), redb::Error> {
        let Engine::Redb(database) = self else {
            return Ok(());
        };
        let transaction = database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for change in changes {
                let key = storage_key(change.scope(), &change.key());
                match change {
                    Change::Put(scope, record) => {
                        let bytes = row::encode(scope, record);
                        records.insert(key.as_slice(), bytes.as_slice())?;
                    }
                    Change::Delete(..) => {
                        records.remove(key.as_slice())?;
                    }
                }
            }
            transaction.open_table(META)?.insert("revision", revision)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Puts a state in the place of what is there, all or nothing.
    pub(crate) fn replace(&self, state: &State) -> Result<(), redb::Error> {
        let Engine::Redb(database) = self else {
            return Ok(());
        };
        let transaction = database.begin_write()?;
        transaction.delete_table(RECORDS)?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for (scope, record) in &state.records {
                let key = storage_key(scope, &record.key());
                let bytes = row::encode(scope, record);
                records.insert(key.as_slice(), bytes.as_slice())?;
            }
            let mut meta = transaction.open_table(META)?;
            meta.insert("revision", state.revision)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> OpenError {
    OpenError::Unreadable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn read_or_prepare(database: &Database, path: &Path) -> Result<View, OpenError> {
    let failed = |error: redb::Error| unreadable(path, error);
    let prepare = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let format = {
            transaction.open_table(RECORDS)?;
            let mut meta = transaction.open_table(META)?;
            let found = meta.get("format")?.map(|value| value.value());
            match found {
                Some(found) => found,
                None => {
                    meta.insert("format", FORMAT)?;
                    FORMAT
                }
            }
        };
        transaction.commit()?;
        Ok(format)
    };
    let found = prepare().map_err(failed)?;
    if found != FORMAT {
        return Err(OpenError::Format {
            path: path.to_owned(),
            found,
        });
    }
    let read = || -> Result<View, redb::Error> {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let revision = meta.get("revision")?.map_or(0, |value| value.value());
        let mut view = View::default();
        view.revision = revision;
        for entry in transaction.open_table(RECORDS)?.iter()? {
            let (_, value) = entry?;
            let (scope, record) = row::decode(value.value()).map_err(redb::Error::Corrupted)?;
            view.apply(revision, &Change::Put(scope, record));
        }
        Ok(view)
    };
    read().map_err(failed)
}
