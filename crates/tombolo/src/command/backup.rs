//! `tombolo export` and `tombolo import`: the whole state as readable YAML.

mod transfer;

use super::storage::Storage;
use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};
use tombolo_api::client::Endpoint;
use tombolo_store::{ReplaceError, State, dump};

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
    place: Place,
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
    /// Throw away what is there.
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    place: Place,
}

/// Whose state it is: that of a running server, or what lies at a place that no server uses, or that
/// servers share.
#[derive(clap::Args)]
struct Place {
    /// The server, as https:// where it speaks TLS.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8490")]
    api: Endpoint,
    #[command(flatten)]
    storage: Storage,
}

impl Export {
    pub(crate) fn run(self) -> Result<i32, String> {
        super::runtime()?.block_on(async {
            match self.file.as_deref().filter(|file| !is_standard(file)) {
                None => {
                    let mut out = BufWriter::new(io::stdout().lock());
                    self.place.export(&mut out).await?;
                    out.flush().map_err(|error| error.to_string())
                }
                Some(file) => self.to_file(file).await,
            }
        })?;
        Ok(0)
    }

    /// Under its name the file is there whole or not at all.
    async fn to_file(&self, file: &Path) -> Result<(), String> {
        let failed = |error: io::Error| format!("{}: {error}", file.display());
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        let mut out = BufWriter::new(File::create(&part).map_err(failed)?);
        let exported = self.place.export(&mut out).await;
        let written = exported.and_then(|()| {
            let finished = out.into_inner().map_err(io::IntoInnerError::into_error);
            finished
                .and_then(|file| file.sync_all())
                .and_then(|()| std::fs::rename(&part, file))
                .map_err(failed)
        });
        if written.is_err() {
            // What is there of it is of no use.
            let _ = std::fs::remove_file(&part);
        }
        written
    }
}

impl Import {
    pub(crate) fn run(self) -> Result<i32, String> {
        let name = self.file.display().to_string();
        let failed = |error: io::Error| format!("{name}: {error}");
        let mut text = String::new();
        if is_standard(&self.file) {
            io::stdin().read_to_string(&mut text).map_err(failed)?;
        } else {
            let mut file = File::open(&self.file).map_err(failed)?;
            file.read_to_string(&mut text).map_err(failed)?;
        }
        let imported = super::runtime()?.block_on(self.place.import(text, self.overwrite));
        let revision = imported.map_err(|refusal| match refusal {
            Refusal::Text(problems) => problems
                .iter()
                .map(|problem| format!("{name}:{problem}"))
                .collect::<Vec<_>>()
                .join("\n"),
            Refusal::NotEmpty(why) => format!("{why}; --overwrite throws that away"),
            Refusal::Other(why) => why,
        })?;
        eprintln!("imported; the revision is {revision}");
        Ok(0)
    }
}

/// Why nothing was imported.
pub(crate) enum Refusal {
    /// What is wrong with the text: lines and messages.
    Text(Vec<String>),
    /// There is a state already.
    NotEmpty(String),
    Other(String),
}

impl Place {
    async fn export(&self, out: &mut impl Write) -> Result<(), String> {
        if self.storage.is_named() {
            let state = State::of(&self.storage.open().await?.view());
            return dump::write(&state, out).map_err(|error| error.to_string());
        }
        transfer::export(&self.api, out).await
    }

    async fn import(&self, text: String, overwrite: bool) -> Result<u64, Refusal> {
        if !self.storage.is_named() {
            return transfer::import(&self.api, text, overwrite).await;
        }
        let state = read(&text)?;
        let store = self.storage.open().await.map_err(Refusal::Other)?;
        replace(&store, state, overwrite).await
    }
}

/// The state in a text.
pub(crate) fn read(text: &str) -> Result<State, Refusal> {
    dump::read(text)
        .map_err(|problems| Refusal::Text(problems.iter().map(ToString::to_string).collect()))
}

pub(crate) async fn replace(
    store: &tombolo_store::Store,
    state: State,
    overwrite: bool,
) -> Result<u64, Refusal> {
    let replaced = store.replace(state, overwrite).await;
    replaced.map_err(|error| match error {
        ReplaceError::NotEmpty { .. } => Refusal::NotEmpty(error.to_string()),
        ReplaceError::Unavailable(_) => Refusal::Other(error.to_string()),
    })
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}
