//! Files that are read again when they change. They are compared by content, so that it does not matter
//! whether they were written in place, replaced, or are links that now lead elsewhere (as in Kubernetes).

use std::{path::PathBuf, time::Duration};

/// How often they are looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// The contents of all files, or why one cannot be read.
type Contents = Result<Vec<Vec<u8>>, String>;

/// What was found in the files so far.
#[derive(Default)]
struct FileState {
    seen: Option<Contents>,
    taken: Option<Contents>,
}

impl FileState {
    /// Contents that are new and whole. A file that somebody is writing reads well in the middle of it,
    /// too: without the end of a list, or of a secret. So they count when two state have seen the same; the
    /// first look is the second one, as the files were read before.
    fn due(&mut self, now: Contents) -> Option<&Contents> {
        let is_settled = self.taken.is_none() || self.seen.as_ref() == Some(&now);
        let is_new = self.taken.as_ref() != Some(&now);
        self.seen = Some(now);
        if !(is_settled && is_new) {
            return None;
        }
        self.taken.clone_from(&self.seen);
        self.taken.as_ref()
    }
}

/// Hands the contents of all files to `take` whenever one of them has changed. What `take` answers goes to
/// the log: what is in force now, or why nothing has changed. Never ends.
pub(crate) async fn follow(
    paths: &[PathBuf],
    take: impl Fn(&[Vec<u8>]) -> Result<String, String>,
) -> std::convert::Infallible {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let names = names.join(", ");
    let mut state = FileState::default();
    loop {
        let is_first = state.taken.is_none();
        if let Some(due) = state.due(read(paths).await) {
            let taken = match due {
                Ok(contents) => take(contents),
                Err(why) => Err(why.clone()),
            };
            match taken {
                // It was read a moment ago, before it was followed.
                Ok(_) if is_first => {}
                Ok(what) => tracing::info!("{names}: read again: {what}"),
                Err(why) => tracing::error!("{why}; what was read before stays in force"),
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn read(paths: &[PathBuf]) -> Contents {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = tokio::fs::read(path).await;
        contents.push(bytes.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_when_they_have_settled() {
        let mut state = FileState::default();
        for (text, is_due) in [
            ("whole", true),
            ("whole", false),
            // Somebody writes.
            ("", false),
            ("ne", false),
            ("new", false),
            ("new", true),
            ("new", false),
            // A mistake that was taken back at once.
            ("", false),
            ("new", false),
            ("new", false),
        ] {
            let now = Ok(vec![text.as_bytes().to_vec()]);
            assert_eq!(state.due(now).is_some(), is_due, "{text:?}");
        }
    }
}
