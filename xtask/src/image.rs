//! `cargo xtask image`: OCI images of the program, without a container engine.
//!
//! The same sources, the same compiler and the same libraries of the machine give the same digests.

pub(crate) mod layer;
mod libraries;
pub(crate) mod oci;
pub(crate) mod product;
mod sbom;

use crate::{
    process::{self, Result, cargo, root},
    tools,
};
use oci::{Layout, Packing};
use product::{NAME, Variant};
use std::{fs, path::PathBuf, process::ExitCode};

/// Write an OCI image of the program: an archive, an image layout and a list of what is in it
#[derive(Debug, clap::Parser)]
#[command(name = "cargo xtask image")]
struct Arguments {
    /// The program that goes into the image; built with the profile `dist` if nothing is said
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The name of the images, before the tag; by this one containerd knows them when it has imported the archive
    #[arg(long, default_value = "localhost/tombolo")]
    name: String,
    /// The folder that the image is written to
    #[arg(long, value_name = "FOLDER", default_value = "target/image")]
    output: PathBuf,
}

/// Runs the task by the words after `cargo xtask image`.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    match process::parse("cargo xtask image", words) {
        Ok(arguments) => write(&arguments).map(|()| ExitCode::SUCCESS),
        Err(code) => Ok(code),
    }
}

fn write(arguments: &Arguments) -> Result<()> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => {
            let mut build = cargo();
            build.args([
                "build",
                "--locked",
                "--profile",
                "dist",
                "--package",
                "tombolo",
            ]);
            process::run(&mut build)?;
            process::target().join("dist/tombolo")
        }
    };
    for (name, package) in [("busybox", "busybox"), ("curl", "curl")] {
        if !process::is_installed(name) {
            tools::debian(&[package])?;
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let crates = sbom::crates()?;
    let output = root().join(&arguments.output);
    let mut layout = Layout::create(&output.join("layout"))?;
    for variant in Variant::ALL {
        let tag = product::tag(version) + variant.suffix();
        let mut image = product::image(&program, variant)?;
        image.annotations = product::annotations(&tag, version);
        let mut components = crates.clone();
        let files = image.layers.iter().flat_map(layer::Layer::sources);
        components.extend(sbom::debian(files.filter(|file| *file != program)));
        let name = format!("{}:{tag}", arguments.name);
        let document = format!("{:#}\n", sbom::document(&name, &components));
        let image = layout.blobs.add_image(&image, Packing::Gzip)?;
        layout.list_image(&image, &arguments.name, &tag);
        let file = format!("{NAME}-{tag}.spdx.json");
        let bytes = document.as_bytes();
        let attached = layout
            .blobs
            .attach(&image, sbom::MEDIA_TYPE, &file, bytes)?;
        layout.list_attached(&attached, sbom::MEDIA_TYPE);
        let path = output.join(file);
        fs::write(&path, document).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{name} sha256:{}", image.digest);
    }
    layout.finish()?;
    let archive = output.join(format!("{NAME}-{}.tar", product::tag(version)));
    layout.archive(&archive)?;
    println!("{}", archive.display());
    Ok(())
}
