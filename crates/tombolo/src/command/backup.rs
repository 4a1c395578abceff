//! `tombolo export` and `tombolo import`: the whole state as readable YAML.

use super::{DEFAULT_REGION, Error, storage::Storage};
use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};
use tombolo_api::client::Endpoint;
use tombolo_operator::{Client, ImportError};
use tombolo_store::{FullState, export};

/// Write the whole state of a control plane as YAML: a backup, or something to read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo export backup.yaml                      of the running server
  tombolo export --data-dir /var/lib/tombolo -    of a server that does not run, to standard output")]
pub(crate) struct Export {
    /// The file; standard output when it is - or absent.
    file: Option<PathBuf>,
    #[command(flatten)]
    location: Location,
}

/// Put a state that was exported in the place of an empty one: all of it, or nothing.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo import backup.yaml
  tombolo import --store etcd://etcd-0:2379,etcd-1:2379,etcd-2:2379 backup.yaml")]
pub(crate) struct Import {
    /// The file; standard input when it is -.
    file: PathBuf,
    /// Discard the state that is there.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    location: Location,
}

/// Where the state is: at a running server, or in a store that no server uses or that servers share.
#[derive(clap::Args)]
struct Location {
    /// The server, as https:// where it speaks TLS.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8490")]
    api: Endpoint,
    #[command(flatten)]
    storage: Storage,
}

impl Export {
    pub(crate) fn run(self) -> Result<i32, Error> {
        super::runtime()?.block_on(async {
            match self.file.as_deref().filter(|file| !is_standard(file)) {
                None => {
                    let mut out = BufWriter::new(io::stdout().lock());
                    self.location.export(&mut out).await?;
                    out.flush()?;
                    Ok(0)
                }
                Some(file) => self.to_file(file).await.map(|()| 0),
            }
        })
    }

    /// Writes to a temporary name and renames: the file is complete or absent.
    async fn to_file(&self, file: &Path) -> Result<(), Error> {
        let failed = |error: io::Error| format!("{}: {error}", file.display());
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        let mut out = BufWriter::new(File::create(&part).map_err(failed)?);
        let exported = self.location.export(&mut out).await;
        let written = exported.and_then(|()| {
            let finished = out.into_inner().map_err(io::IntoInnerError::into_error);
            finished
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&part, file))
                .map_err(|error| failed(error).into())
        });
        if written.is_err() {
            // A partial export is useless. The original error is more important than a failed removal.
            let _ = std::fs::remove_file(&part);
        }
        written
    }
}

impl Import {
    pub(crate) fn run(self) -> Result<i32, Error> {
        let name = self.file.display().to_string();
        let failed = |error: io::Error| format!("{name}: {error}");
        let mut text = Vec::new();
        if is_standard(&self.file) {
            io::stdin().read_to_end(&mut text).map_err(failed)?;
        } else {
            let mut file = File::open(&self.file).map_err(failed)?;
            file.read_to_end(&mut text).map_err(failed)?;
        }
        let imported = super::runtime()?.block_on(self.location.import(text, self.overwrite));
        let revision = imported.map_err(|error| -> Error {
            match error.downcast::<ImportError>() {
                Ok(error) => match *error {
                    ImportError::Invalid(problems) => {
                        let lines = problems.iter().map(|problem| format!("{name}:{problem}"));
                        lines.collect::<Vec<_>>().join("\n").into()
                    }
                    ImportError::NotEmpty(why) => {
                        format!("{why}; --overwrite discards that state").into()
                    }
                    error @ ImportError::Unavailable(_) => error.into(),
                },
                Err(error) => error,
            }
        })?;
        eprintln!("imported; the revision is {revision}");
        Ok(0)
    }
}

impl Location {
    fn client(&self) -> Result<Client, Error> {
        Ok(Client::from_environment(self.api.clone(), DEFAULT_REGION)?)
    }

    async fn export(&self, out: &mut impl Write) -> Result<(), Error> {
        if self.storage.is_named() {
            let state = FullState::of(&self.storage.open().await?.view());
            return Ok(export::write(&state, out)?);
        }
        Ok(self.client()?.export(out).await?)
    }

    async fn import(&self, text: Vec<u8>, overwrite: bool) -> Result<u64, Error> {
        if self.storage.is_named() {
            let store = self.storage.open().await?;
            return Ok(tombolo_operator::import(&store, text, overwrite).await?);
        }
        match self.client()?.import(text, overwrite).await {
            Err(tombolo_operator::Error::Import(error)) => Err(error.into()),
            imported => Ok(imported?),
        }
    }
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}
