//! What is in Tombolo's images. `deploy/Dockerfile` makes the same.

use super::{layer::Layer, oci::Image};
use crate::process::{Result, output};
use std::{collections::BTreeMap, path::Path, process::Command};

/// The title of the images, and how their files begin.
pub(crate) const NAME: &str = "tombolo";
/// Where the program is.
pub(crate) const PROGRAM: &str = "/usr/bin/tombolo";
/// Who runs it unless a pod says otherwise: nobody in particular, and not root.
pub(crate) const USER: &str = "65532:65532";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
/// The order in which glibc looks for names without this file asks DNS for `localhost` first.
const NSSWITCH: &str = "hosts: files dns\n";

/// The release of App Mesh's own controller that Tombolo stands in for.
const CONTROLLER: &str = "1.13.3";
/// Public scripts refuse an image of a controller whose tag sorts before this one by `sort -V`.
const OLDEST: (u64, u64, u64) = (1, 4, 0);

/// Which of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// The program and the libraries that it needs, and nothing else.
    Plain,
    /// With busybox and curl beside it, and the sidecar as what runs by default: the injector of App Mesh's own
    /// controller asks for both, in its probe.
    Busybox,
}

impl Variant {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Busybox];

    /// What its tag has at its end.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Busybox => "-busybox",
        }
    }
}

/// An image of a `tombolo` that was built on this machine.
pub(crate) fn image(program: &Path, variant: Variant) -> Result<Image> {
    let mut image = Image {
        entrypoint: vec![PROGRAM.to_owned()],
        user: USER.to_owned(),
        environment: vec![PATH.to_owned()],
        ..Image::default()
    };
    // What changes least is lowest.
    if variant == Variant::Busybox {
        image.layers.push(shell()?);
        image.command.push("proxy".to_owned());
    }
    let mut layer = Layer::default();
    layer.text("/etc/passwd", PASSWD);
    layer.text("/etc/group", GROUP);
    layer.text("/etc/nsswitch.conf", NSSWITCH);
    layer.folder("/tmp", 0o1777);
    layer.program(PROGRAM, program)?;
    image.layers.push(layer);
    Ok(image)
}

/// Busybox under all of its names, and curl.
pub(crate) fn shell() -> Result<Layer> {
    let mut layer = Layer::default();
    let busybox = Path::new("/bin/busybox");
    let applets = output(Command::new(busybox).arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer.link(&format!("/bin/{applet}"), "busybox");
    }
    layer.program("/bin/busybox", busybox)?;
    layer.program("/usr/bin/curl", Path::new("/usr/bin/curl"))?;
    Ok(layer)
}

/// What registries and people read of an image.
pub(crate) fn annotations(tag: &str, version: &str) -> BTreeMap<String, String> {
    let annotations = [
        ("title", NAME),
        ("description", "One service mesh across many clusters"),
        ("version", version),
        ("ref.name", tag),
        ("licenses", "Apache-2.0"),
        ("source", env!("CARGO_PKG_REPOSITORY")),
    ];
    annotations
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()))
        .into()
}

/// The tag of a version. Public scripts compare the tag of the controller's image with `v1.4.0`, so that an earlier version
/// of Tombolo has the release that it stands in for before its own.
pub(crate) fn tag(version: &str) -> String {
    let mut numbers = version
        .split(['.', '-', '+'])
        .map_while(|part| part.parse().ok());
    let mut next = || numbers.next().unwrap_or(0_u64);
    if (next(), next(), next()) > OLDEST {
        format!("v{version}")
    } else {
        format!("v{CONTROLLER}-tombolo.{version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::root;

    #[test]
    fn tags_sort_after_the_release_that_public_scripts_ask_for() {
        assert_eq!(tag("0.1.0"), "v1.13.3-tombolo.0.1.0");
        assert_eq!(tag("1.4.0"), "v1.13.3-tombolo.1.4.0");
        assert_eq!(tag("1.5.0"), "v1.5.0");
        assert_eq!(tag("2.0.0-rc.1"), "v2.0.0-rc.1");
        for version in ["0.1.0", "0.10.2", "1.4.0", "1.4.1", "1.14.0", "2.0.0"] {
            let both = format!("v1.4.0\n{}\n", tag(version));
            let mut sort = Command::new("sort");
            sort.arg("-V").stdin(std::process::Stdio::piped());
            sort.stdout(std::process::Stdio::piped());
            let mut child = sort.spawn().expect("sort is everywhere");
            let stdin = child.stdin.as_mut().expect("it is piped");
            std::io::Write::write_all(stdin, both.as_bytes()).expect("it reads");
            let sorted = child.wait_with_output().expect("it ends").stdout;
            assert_eq!(String::from_utf8_lossy(&sorted), both);
        }
    }

    #[test]
    fn the_dockerfile_makes_the_same_image() {
        let path = root().join("deploy/Dockerfile");
        let text = std::fs::read_to_string(path).expect("it is there");
        for line in [
            format!("USER {USER}"),
            format!("ENTRYPOINT [\"{PROGRAM}\"]"),
            "CMD [\"proxy\"]".to_owned(),
            format!("ENV {PATH}"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        for file in [PASSWD, GROUP, NSSWITCH] {
            let written = file.replace('\n', "\\n");
            assert!(text.contains(&written), "{written}");
        }
        let toolchain = std::fs::read_to_string(root().join("rust-toolchain.toml"));
        let toolchain = toolchain.expect("it is there");
        let channel = toolchain
            .lines()
            .find_map(|line| line.strip_prefix("channel = "));
        let channel = channel.expect("a channel").trim_matches('"');
        assert!(text.contains(&format!("FROM rust:{channel}-")), "{channel}");
    }
}
