//! `up` and `down`: one process namespace, and what the kernel keeps beyond processes.

use super::{
    Outcome, Up, cgroup, clusters, dns, machine, network, owner::Owner, programs::Programs,
    progress, serve,
};
use crate::process::Result;
use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long everything may take to end, and clusters that another command starts to be ready.
const PATIENCE: Duration = Duration::from_secs(300);
/// First process of the process namespace: it waits for whatever is left to it, and ends with the process it starts.
const INIT: &str = "\"$0\" \"$@\" & wait $!";
/// Programs of the clusters reach each other without a proxy.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

/// Whether clusters of this checkout are up.
pub(crate) fn is_up() -> bool {
    running().is_ok()
}

/// Installs and builds what clusters need.
pub(crate) fn prepare() -> Result<Outcome> {
    let directory = machine::directory();
    if let Some(why) = machine::refusal(&directory) {
        return Ok(Outcome::Skipped(why));
    }
    let _lock = lock(&directory)?;
    if let Some(why) = machine::install()? {
        return Ok(Outcome::Skipped(why));
    }
    Programs::fetch()?;
    Ok(Outcome::Done)
}

/// Starts clusters unless they are up. `tombolo` is the program of their images, in the place of the one that was built
/// last.
pub(crate) fn up(options: &Up, tombolo: Option<&Path>) -> Result<Outcome> {
    if let Outcome::Skipped(why) = prepare()? {
        return Ok(Outcome::Skipped(why));
    }
    let directory = machine::directory();
    let _lock = lock(&directory)?;
    let _machine = lock_machine()?;
    if let Some(owner) = Owner::of_machine().filter(Owner::is_alive) {
        already_up(&owner, &directory, options)?;
        return Ok(Outcome::Done);
    }
    // What an earlier run has left, of this checkout or of one that is gone.
    remove(&directory)?;
    if let Some(why) = machine::network_conflict()? {
        return Ok(Outcome::Skipped(why));
    }
    let start = Instant::now();
    if let Err(error) = start_clusters(options, tombolo, &directory) {
        end_owner()?;
        remove(&directory)?;
        return Err(error);
    }
    progress(&format!(
        "{} clusters are up, after {:.1} s: eval \"$(cargo xtask kubernetes env)\"",
        options.clusters,
        start.elapsed().as_secs_f32()
    ));
    Ok(Outcome::Done)
}

fn already_up(owner: &Owner, directory: &Path, options: &Up) -> Result<()> {
    if owner.directory != directory {
        return Err(of_another(owner));
    }
    // Another `up` that was interrupted has left them on their way.
    let start = Instant::now();
    if !directory.join(serve::READY).is_file() {
        progress("waiting for clusters that are on their way");
    }
    while !directory.join(serve::READY).is_file() {
        if !owner.is_alive() || start.elapsed() > PATIENCE {
            return Err(
                "clusters were on their way, and did not come: `cargo xtask kubernetes down`"
                    .into(),
            );
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let count = clusters(directory).count();
    if count != usize::from(options.clusters) {
        return Err(format!(
            "{count} clusters are up already: `cargo xtask kubernetes down` first"
        ));
    }
    progress(&format!("{count} clusters are up already"));
    if !options.zones.is_empty() {
        dns::forward(directory, options.zones.iter().cloned(), &[])?;
    }
    Ok(())
}

fn start_clusters(options: &Up, tombolo: Option<&Path>, directory: &Path) -> Result<()> {
    progress(&format!("starting {} clusters", options.clusters));
    for folder in ["bin", "log"] {
        let folder = directory.join(folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    dns::keep_zones(directory, &options.zones.iter().cloned().collect())?;
    // A copy: cargo may build this program again while clusters are up.
    let xtask = directory.join("bin/xtask");
    let own = env::current_exe().map_err(|error| format!("this program: {error}"))?;
    fs::copy(&own, &xtask).map_err(|error| format!("{}: {error}", xtask.display()))?;
    for (name, target) in Programs::fetch()?.links() {
        let link = directory.join("bin").join(name);
        std::os::unix::fs::symlink(target, &link)
            .map_err(|error| format!("{}: {error}", link.display()))?;
    }
    network::create(options.clusters, &Owner::of(std::process::id(), directory)?)?;
    let log_path = directory.join("log/serve.log");
    let log =
        File::create(&log_path).map_err(|error| format!("{}: {error}", log_path.display()))?;
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", INIT])
        .arg(&xtask)
        .args(["kubernetes", "serve", &options.clusters.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for this process; `down` is for that one.
        .process_group(0);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/bin:/sbin:/bin"));
    for name in PROXIES {
        command.env_remove(name);
    }
    if let Some(tombolo) = tombolo {
        command.env("TOMBOLO_BIN", tombolo);
    }
    let child = command
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    network::set_owner(&Owner::of(child.id(), directory)?)?;
    follow(child).map_err(|()| {
        let told = fs::read_to_string(&log_path).unwrap_or_default();
        let why: Vec<&str> = told
            .lines()
            .filter(|line| !line.starts_with("registry: "))
            .collect();
        format!(
            "the clusters did not come up; {} has their logs\n{}",
            directory.join("log").display(),
            why.join("\n")
        )
    })
}

/// Passes on what is told until everything is ready.
fn follow(mut child: Child) -> std::result::Result<(), ()> {
    let told = BufReader::new(child.stdout.take().expect("it is piped"));
    for line in told.lines().map_while(std::result::Result::ok) {
        if line == serve::READY {
            return Ok(());
        }
        progress(&line);
    }
    let _ = child.wait();
    Err(())
}

/// Ends the clusters of this checkout, and removes everything of them.
pub(crate) fn down() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("clusters of Kubernetes need root: there are none of yours".into());
    }
    let directory = machine::directory();
    let _lock = lock(&directory)?;
    let _machine = lock_machine()?;
    let owner = Owner::of_machine();
    if let Some(owner) = &owner
        && owner.is_alive()
        && owner.directory != directory
    {
        return Err(of_another(owner));
    }
    end_owner()?;
    remove(&directory)?;
    progress(if owner.is_some() {
        "the clusters are down"
    } else {
        "no clusters are up"
    });
    Ok(())
}

fn of_another(owner: &Owner) -> String {
    format!(
        "the clusters of this machine are those of {}: `cargo xtask kubernetes down` there first",
        owner.directory.display()
    )
}

/// Ends the process namespace of the clusters, and waits until all of its processes are gone.
fn end_owner() -> Result<()> {
    let Some(owner) = Owner::of_machine().filter(Owner::is_alive) else {
        return Ok(());
    };
    if owner.pid == std::process::id() {
        // It has not been made yet.
        return Ok(());
    }
    // The kernel ends the others before the first process of a process namespace is gone, and its parent after it.
    let first = owner.first_child().unwrap_or(owner.pid);
    let pid = i32::try_from(first)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or("process ids are positive")?;
    // It may have ended meanwhile.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    let start = Instant::now();
    while owner.is_alive() {
        if start.elapsed() > PATIENCE {
            return Err(format!("process {} does not end", owner.pid));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Removes what clusters leave once their processes have ended, but for their logs.
fn remove(directory: &Path) -> Result<()> {
    network::remove();
    cgroup::remove()?;
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if ["log", LOCK].iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

const LOCK: &str = "lock";

/// One command of a checkout at a time. The lock ends with the file.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::create(&path).map_err(failed)?;
    if file.try_lock().is_err() {
        progress("waiting for another command");
        file.lock().map_err(failed)?;
    }
    Ok(file)
}

/// One `up` or `down` of all checkouts at a time: a socket with an abstract name, of which nothing is left.
fn lock_machine() -> Result<UnixListener> {
    let failed = |error: io::Error| format!("a lock cannot be taken: {error}");
    let name = SocketAddr::from_abstract_name(network::BRIDGE).map_err(failed)?;
    let mut is_told = false;
    loop {
        match UnixListener::bind_addr(&name) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return bound.map_err(failed),
        }
        if !is_told {
            progress("waiting for another checkout");
            is_told = true;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The folder of the clusters that are up.
pub(super) fn running() -> Result<PathBuf> {
    let directory = machine::directory();
    let owner = Owner::of_machine().filter(Owner::is_alive);
    match owner {
        Some(owner) if owner.directory == directory => Ok(directory),
        Some(owner) => Err(of_another(&owner)),
        None => Err("no clusters are up: `cargo xtask kubernetes up`".into()),
    }
}

/// Changes what the DNS of the clusters that are up forwards.
pub(super) fn forward(zones: Vec<(String, std::net::SocketAddr)>, forget: &[String]) -> Result<()> {
    let directory = running()?;
    let _lock = lock(&directory)?;
    dns::forward(&directory, zones, forget)
}
