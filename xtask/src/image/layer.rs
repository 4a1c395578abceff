//! A layer of an image: files, links and folders, written as a tar that depends on nothing else.

use super::libraries;
use crate::process::Result;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// Entries by their paths, without a leading slash; a folder stands before what is in it.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Folder { mode: u32 },
    File { source: PathBuf, mode: u32 },
    Text(String),
    Link(String),
}

impl Layer {
    /// A folder with such permissions.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder { mode });
    }

    /// A copy of a file of this machine: executable if that one is.
    pub(crate) fn file(&mut self, path: &str, source: &Path) -> Result<()> {
        let metadata = source.metadata();
        let metadata = metadata.map_err(|error| format!("{}: {error}", source.display()))?;
        let is_executable = metadata.permissions().mode() & 0o111 != 0;
        let entry = Entry::File {
            source: source.to_owned(),
            mode: if is_executable { 0o755 } else { 0o644 },
        };
        self.add(path, entry);
        Ok(())
    }

    /// A program, and the libraries that it needs, where its dynamic linker looks for them.
    pub(crate) fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.file(path, source)?;
        for library in libraries::of(source)? {
            self.file(&library.to_string_lossy(), &library)?;
        }
        Ok(())
    }

    /// A file with such content.
    pub(crate) fn text(&mut self, path: &str, text: &str) {
        self.add(path, Entry::Text(text.to_owned()));
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link(target.to_owned()));
    }

    /// The files of this machine that are copied.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Path> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::File { source, .. } => Some(source.as_path()),
            _ => None,
        })
    }

    /// Adds an entry and the folders that it is in.
    fn add(&mut self, path: &str, entry: Entry) {
        let path = path.trim_matches('/');
        for (at, _) in path.match_indices('/') {
            let folder = self.entries.entry(path[..at].to_owned());
            folder.or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Writes the tar. Owners are root, times are 1970: the same files give the same bytes.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut tar = Builder::new(to);
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder { mode } => {
                    let header = &mut header(EntryType::Directory, *mode, 0);
                    tar.append_data(header, format!("{path}/"), io::empty())?;
                }
                Entry::File { source, mode } => {
                    let file = File::open(source)?;
                    let size = file.metadata()?.len();
                    let header = &mut header(EntryType::Regular, *mode, size);
                    tar.append_data(header, path, file.take(size))?;
                }
                Entry::Text(text) => {
                    let header = &mut header(EntryType::Regular, 0o644, text.len() as u64);
                    tar.append_data(header, path, text.as_bytes())?;
                }
                Entry::Link(target) => {
                    tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?;
                }
            }
        }
        tar.finish()
    }
}

/// The header of an entry whose time is 1970 and whose owner is root.
pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
