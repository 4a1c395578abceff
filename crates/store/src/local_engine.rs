//! The storage engine of a store in one process: none (memory), or a redb file.

use crate::{full_state::FullState, record_codec, secret::Secret};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use tombolo_model::{Change, View, change::storage_key};

/// The table of records. Keys: see [`storage_key`]; values: see [`record_codec`].
const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// The table of `revision` and `format`.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// The secret of the store, in its only row. It is no record: exports and imports leave it alone.
const SECRET: TableDefinition<(), &[u8]> = TableDefinition::new("secret");
/// The table that [`try_to_write`] writes and deletes.
const PROBE: TableDefinition<(), &[u8]> = TableDefinition::new("probe");
/// The size of the test write: more than a usual transaction needs beside free pages.
const PROBE_BYTES: usize = 256 << 10;
/// The version of the layout; a file of another version is refused.
const FORMAT: u64 = 1;

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has locked the file.
    #[error(
        "{} is in use by another process: stop that server, or give this one another --data-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// The file has no bytes.
    #[error(
        "{} is empty, as after a copy that was cut short or on a disk that was full: put a backup in its \
         place, or delete it to begin with an empty state",
        .0.display()
    )]
    Empty(PathBuf),
    /// The directory cannot be created.
    #[error("cannot create {}: {source}", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is of another version of this program.
    #[error("{} has format {found}, this program reads format {FORMAT}: use the program that wrote it, or give an empty --data-dir", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause, as text.
        reason: String,
    },
    /// No member of the etcd cluster serves this process, or its state is not readable.
    #[error("{cluster}: {reason}")]
    Cluster {
        /// The address of the cluster.
        cluster: String,
        /// The cause, as text.
        reason: String,
    },
}

/// Opens the database; called again after an error, because redb accepts no writes on a database that had one.
pub(crate) type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send>;

pub(crate) enum Engine {
    Memory,
    Redb(Redb),
}

pub(crate) struct Redb {
    path: PathBuf,
    opener: Opener,
    /// `None` after an error, until the file is reopened.
    database: Option<Database>,
}

impl Engine {
    /// Opens the file in `directory`, creates both if needed, and reads the state.
    pub(crate) fn open(directory: &Path) -> Result<(Self, View), OpenError> {
        std::fs::create_dir_all(directory).map_err(|source| OpenError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let path = directory.join("tombolo.redb");
        if !path
            .try_exists()
            .map_err(|error| unreadable(&path, error))?
        {
            create(directory, &path)?;
        }
        let opened = path.clone();
        Self::with(path, Box::new(move || open_file(&opened)))
    }

    /// Opens a database with `opener`; errors name `path`.
    pub(crate) fn with(path: PathBuf, opener: Opener) -> Result<(Self, View), OpenError> {
        let database = opener()?;
        let view = read_or_prepare(&database, &path)?;
        let redb = Redb {
            path,
            opener,
            database: Some(database),
        };
        Ok((Engine::Redb(redb), view))
    }

    /// The secret in the file, made at the first time.
    pub(crate) fn secret(&self) -> Result<Secret, OpenError> {
        let Engine::Redb(redb) = self else {
            return Ok(Secret::random());
        };
        let read = |database: &Database| -> Result<Secret, redb::Error> {
            let transaction = database.begin_write()?;
            let secret = {
                let mut table = transaction.open_table(SECRET)?;
                let kept = table.get(())?.map(|row| Secret::read(row.value()));
                match kept {
                    Some(Some(secret)) => secret,
                    Some(None) => {
                        return Err(redb::Error::Corrupted(
                            "the secret has another length".into(),
                        ));
                    }
                    None => {
                        let secret = Secret::random();
                        table.insert((), secret.expose().as_slice())?;
                        secret
                    }
                }
            };
            transaction.commit()?;
            Ok(secret)
        };
        let database = redb.database.as_ref();
        let read = database.map_or(Err(redb::Error::PreviousIo), read);
        read.map_err(|error| unreadable(&redb.path, error))
    }

    pub(crate) fn close(&mut self) {
        if let Engine::Redb(redb) = self {
            redb.database = None;
        }
    }

    /// Reopens the file after an error and checks that it accepts writes; returns the state in it.
    pub(crate) fn reopen(&mut self) -> Result<Option<View>, OpenError> {
        let Engine::Redb(redb) = self else {
            return Ok(None);
        };
        redb.database = None;
        let database = (redb.opener)()?;
        let view = read_or_prepare(&database, &redb.path)?;
        try_to_write(&database).map_err(|error| unreadable(&redb.path, error))?;
        redb.database = Some(database);
        Ok(Some(view))
    }

    /// Writes changes and the new revision atomically, and returns when they are durable.
    pub(crate) fn write(&self, revision: u64, changes: &[Change]) -> Result<(), redb::Error> {
        self.transact(revision, |transaction| {
            let mut records = transaction.open_table(RECORDS)?;
            for change in changes {
                let key = storage_key(change.scope(), &change.key());
                match change {
                    Change::Put(scope, record) => {
                        records.insert(&*key, &*record_codec::encode(scope, record))?;
                    }
                    Change::Delete(..) => drop(records.remove(&*key)?),
                }
            }
            Ok(())
        })
    }

    /// Replaces the full state atomically.
    pub(crate) fn replace(&self, state: &FullState) -> Result<(), redb::Error> {
        self.transact(state.revision, |transaction| {
            transaction.delete_table(RECORDS)?;
            let mut records = transaction.open_table(RECORDS)?;
            for (scope, record) in &state.records {
                let key = storage_key(scope, &record.key());
                records.insert(&*key, &*record_codec::encode(scope, record))?;
            }
            Ok(())
        })
    }

    /// Commits the writes of `write` together with the revision.
    fn transact(
        &self,
        revision: u64,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let Engine::Redb(redb) = self else {
            return Ok(());
        };
        let database = redb.database.as_ref().ok_or(redb::Error::PreviousIo)?;
        let transaction = database.begin_write()?;
        write(&transaction)?;
        transaction.open_table(META)?.insert("revision", revision)?;
        transaction.commit()?;
        Ok(())
    }
}

/// Creates the file under a temporary name and then links it, so that it is never empty or incomplete under its name.
fn create(directory: &Path, path: &Path) -> Result<(), OpenError> {
    let new = directory.join(format!("tombolo.redb.{}.new", std::process::id()));
    let made = || -> Result<(), OpenError> {
        // A leftover of a killed process with the same id.
        let _ = std::fs::remove_file(&new);
        let database = Database::create(&new).map_err(|error| unreadable(&new, error))?;
        read_or_prepare(&database, &new)?;
        drop(database);
        match std::fs::hard_link(&new, path) {
            // Another process created the file meanwhile; the one that opens it first locks it.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            // A file system without hard links.
            Err(_) => drop(Database::create(path).map_err(|error| unreadable(path, error))?),
            Ok(()) => {}
        }
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| unreadable(directory, error))
    };
    let made = made();
    // A leftover is harmless.
    let _ = std::fs::remove_file(&new);
    made
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let length = std::fs::metadata(path)
        .map_err(|error| unreadable(path, error))?
        .len();
    if length == 0 {
        return Err(OpenError::Empty(path.to_owned()));
    }
    Database::open(path).map_err(|error| match error {
        redb::DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path.to_owned()),
        other => unreadable(path, other),
    })
}

/// Writes some pages and frees them again. On a full disk the file can be opened, and small transactions succeed in
/// free pages.
fn try_to_write(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(PROBE)?
        .insert((), vec![0xa5; PROBE_BYTES].as_slice())?;
    transaction.commit()?;
    let transaction = database.begin_write()?;
    transaction.delete_table(PROBE)?;
    transaction.commit()?;
    Ok(())
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
        let records = transaction.open_table(RECORDS)?;
        let corrupted = |error: record_codec::RowError| redb::Error::Corrupted(error.to_string());
        let records = records.iter()?.map(|entry| {
            let (_, value) = entry?;
            record_codec::decode(value.value()).map_err(corrupted)
        });
        Ok(record_codec::view(
            revision,
            records.collect::<Result<Vec<_>, _>>()?,
        ))
    };
    read().map_err(failed)
}
