//! `tombolo diff`: the changes that `tombolo apply` would make.

use crate::{
    apply::{FileArgs, diff_resources},
    control_plane::ControlPlane,
    error::Result,
    resource::filter::Filter,
    terminal,
};

pub(crate) mod unified;

/// Show what `tombolo apply` would change on a control plane.
///
/// The exit code is 0 without differences, 1 with some, and 2 on errors.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tombolo diff -f mesh.yaml
  tombolo diff -f mesh.yaml -o json")]
pub struct Diff {
    #[command(flatten)]
    files: FileArgs,
}

impl Diff {
    /// Prints differences; exit codes are those of `kubectl diff`.
    ///
    /// # Errors
    /// None: problems are printed, and the exit code is 2.
    pub fn run(self) -> Result<i32> {
        let different = self.files.read().and_then(|files| {
            let options = self.files.options(true);
            crate::block_on(async {
                let api = &self.files.api;
                let control_plane = ControlPlane::new(api, &self.files.run, Filter::default());
                diff_resources(&control_plane, &files, &options).await
            })
        });
        Ok(match different {
            Ok(is_different) => i32::from(is_different),
            Err(error) => {
                terminal::error(&error);
                2
            }
        })
    }
}
