//! Files that are read again when they change. They are compared by content, so that it does not matter
//! whether they were written in place, replaced, or are links that now lead elsewhere (as in Kubernetes).

use std::{path::PathBuf, time::Duration};

/// How often they are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

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
    let mut last = None;
    loop {
        let now = read(paths).await;
        if last.as_ref() != Some(&now) {
            let is_first = last.is_none();
            let taken = match &now {
                Ok(contents) => take(contents),
                Err(why) => Err(why.clone()),
            };
            match taken {
                // It was read a moment ago, before it was followed.
                Ok(_) if is_first => {}
                Ok(what) => tracing::info!("{names}: read again: {what}"),
                Err(why) => tracing::error!("{why}; what was read before stays in force"),
            }
            last = Some(now);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut contents = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = tokio::fs::read(path).await;
        contents.push(bytes.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(contents)
}
