//! The images of the clusters: each is made when a node first asks for it, under whatever names manifests have.

use super::programs::Programs;
use crate::{
    image::{
        layer::Layer,
        oci::{Blobs, Descriptor, Image, Packing},
        product::{self, Variant},
    },
    process::{self, Result},
};
use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How an image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Recipe {
    Pause,
    CoreDns,
    /// As `cargo xtask image` makes it.
    Tombolo,
    /// As `cargo xtask image` makes it, with busybox and curl; without arguments, the sidecar.
    Sidecar,
    /// Without arguments, what redirects a pod's traffic. It is root, as App Mesh's own injector expects.
    Init,
    /// `tombolo app front`.
    Front,
    /// `tombolo app color`.
    Color,
    /// A shell and curl, and waits.
    Curl,
    /// A real Envoy as the sidecar.
    Envoy,
}

/// Images by the last part of a repository's name, whatever stands before it, and with whatever tag.
const NAMES: &[(&str, Recipe)] = &[
    ("pause", Recipe::Pause),
    ("coredns", Recipe::CoreDns),
    ("tombolo", Recipe::Tombolo),
    ("appmesh-controller", Recipe::Tombolo),
    ("aws-appmesh-envoy", Recipe::Sidecar),
    ("aws-appmesh-proxy-route-manager", Recipe::Init),
    ("front", Recipe::Front),
    ("feapp", Recipe::Front),
    ("color", Recipe::Color),
    ("colorapp", Recipe::Color),
    ("curl", Recipe::Curl),
    ("curler", Recipe::Curl),
    ("aws-xray-daemon", Recipe::Curl),
    ("tombolo-envoy", Recipe::Envoy),
];

/// What an image was made from: files, and what they were like.
type Sources = Vec<(PathBuf, SystemTime, u64)>;

/// Makes images, and makes them again when the files that they are made from have changed.
#[derive(Debug)]
pub(super) struct Images {
    blobs: Blobs,
    programs: Programs,
    made: HashMap<Recipe, (Sources, Descriptor)>,
}

impl Images {
    /// Nothing has been made yet.
    pub(super) fn new(programs: Programs, directory: &Path) -> Result<Self> {
        Ok(Self {
            blobs: Blobs::create(&directory.join("images"))?,
            programs,
            made: HashMap::new(),
        })
    }

    /// The blobs of all images.
    pub(super) fn blobs(&self) -> Blobs {
        self.blobs.clone()
    }

    /// The manifest of an image; `None` when nobody knows the repository.
    pub(super) fn manifest(&mut self, repository: &str) -> Result<Option<Descriptor>> {
        let Some(recipe) = recipe(repository) else {
            return Ok(None);
        };
        let image = self.image(recipe)?;
        let mut sources = Sources::new();
        for file in image.layers.iter().flat_map(Layer::sources) {
            let failed = |error: std::io::Error| format!("{}: {error}", file.display());
            let metadata = fs::metadata(file).map_err(failed)?;
            let modified = metadata.modified().map_err(failed)?;
            sources.push((file.to_owned(), modified, metadata.len()));
        }
        if let Some((made_from, manifest)) = self.made.get(&recipe)
            && *made_from == sources
        {
            return Ok(Some(manifest.clone()));
        }
        let manifest = self.blobs.add_image(&image, Packing::Plain)?;
        self.made.insert(recipe, (sources, manifest.clone()));
        Ok(Some(manifest))
    }

    fn image(&self, recipe: Recipe) -> Result<Image> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match recipe {
            Recipe::Pause => single("/pause", &self.programs.pause()),
            Recipe::CoreDns => single("/coredns", &self.programs.coredns()),
            Recipe::Tombolo => product::image(&tombolo()?, Variant::Plain),
            Recipe::Sidecar => product::image(&tombolo()?, Variant::Busybox),
            Recipe::Init => {
                let mut image = product::image(&tombolo()?, Variant::Busybox)?;
                image.command = words(&["init"]);
                image.user = "0:0".to_owned();
                Ok(image)
            }
            Recipe::Front | Recipe::Color => {
                let mut image = product::image(&tombolo()?, Variant::Busybox)?;
                let app = if recipe == Recipe::Front {
                    "front"
                } else {
                    "color"
                };
                image.command = words(&["app", app]);
                Ok(image)
            }
            Recipe::Curl => Ok(Image {
                layers: vec![product::shell()?],
                command: words(&["/bin/sleep", "2147483647"]),
                ..Image::default()
            }),
            Recipe::Envoy => {
                let envoy = env::var_os("TOMBOLO_ENVOY");
                let envoy =
                    envoy.ok_or("TOMBOLO_ENVOY, which names an Envoy, was not set at `up`")?;
                let mut layer = Layer::default();
                layer.program("/usr/bin/envoy", Path::new(&envoy))?;
                let mut image = product::image(&tombolo()?, Variant::Busybox)?;
                image.layers.insert(1, layer);
                image.command = words(&["envoy"]);
                image
                    .environment
                    .push("TOMBOLO_ENVOY=/usr/bin/envoy".to_owned());
                Ok(image)
            }
        }
    }
}

fn recipe(repository: &str) -> Option<Recipe> {
    let (_, last) = repository.rsplit_once('/').unwrap_or(("", repository));
    let mut found = NAMES.iter().filter(|(name, _)| *name == last);
    found.next().map(|(_, recipe)| *recipe)
}

/// An image of one program that is linked statically.
fn single(path: &str, program: &Path) -> Result<Image> {
    let mut layer = Layer::default();
    layer.program(path, program)?;
    Ok(Image {
        layers: vec![layer],
        entrypoint: vec![path.to_owned()],
        ..Image::default()
    })
}

/// The program that goes into images: the one that `TOMBOLO_BIN` named at `up`, else the one that was built last.
fn tombolo() -> Result<PathBuf> {
    if let Some(named) = env::var_os("TOMBOLO_BIN") {
        return Ok(named.into());
    }
    let built = ["debug", "release"].map(|profile| process::target().join(profile).join("tombolo"));
    let newest = built
        .into_iter()
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .max();
    let (_, path) = newest.ok_or("no tombolo has been built: `cargo build`")?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_manifests_are_known_by_their_last_part() {
        for (repository, known) in [
            ("library/pause", Some(Recipe::Pause)),
            ("pause", Some(Recipe::Pause)),
            ("appmesh/aws-appmesh-envoy", Some(Recipe::Sidecar)),
            ("color/front", Some(Recipe::Front)),
            ("howto/colorapp", Some(Recipe::Color)),
            ("tutum/curl", Some(Recipe::Curl)),
            ("library/postgres", None),
            ("", None),
        ] {
            assert_eq!(recipe(repository), known, "{repository}");
        }
    }
}
