//! After a run nothing is left: no process, namespace, link or file.

use crate::sample::{IMAGES, Sample};
use std::{collections::BTreeSet, fs};
use tombolo_tests::{ProxyKind, Up, User, until};

/// Names of the interfaces of this network namespace.
fn interfaces() -> BTreeSet<String> {
    let listed = fs::read_dir("/sys/class/net").expect("sysfs is mounted");
    listed
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

fn is_alive(pid: u64) -> bool {
    // A zombie has ended; its parent has not reaped it yet.
    fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("State:\tZ"))
}

#[test]
fn kill_9_of_the_launcher_leaves_no_process_and_no_interface() {
    for user in User::all() {
        leaves_nothing(user);
    }
}

fn leaves_nothing(user: User) {
    let before = interfaces();
    let Some(up) = Up::by(user, ProxyKind::Tombolo) else {
        return;
    };
    let sample = Sample::plain();
    let mut clusters = up
        .cluster("cluster1", &sample.front())
        .cluster("cluster2", &sample.colors())
        .images(IMAGES)
        .start();
    let status = clusters.status();
    let mut processes: Vec<u64> = status["pods"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|pod| pod["processes"].as_array().expect("a list"))
        .filter_map(|process| process["pid"].as_u64())
        .collect();
    processes.extend(status["info"]["server_pid"].as_u64());
    assert!(
        processes.len() > 6 && processes.iter().all(|pid| is_alive(*pid)),
        "{status}"
    );
    clusters.program().kill();
    until("every process is gone", || {
        processes.iter().all(|pid| !is_alive(*pid)).then_some(())
    });
    // Only those processes held the namespaces. The host's interfaces are unchanged.
    assert_eq!(interfaces(), before);
}

#[test]
fn interrupt_ends_everything_in_order() {
    for user in User::all() {
        ends_in_order(user);
    }
}

fn ends_in_order(user: User) {
    let Some(up) = Up::by(user, ProxyKind::Tombolo) else {
        return;
    };
    let mut clusters = up
        .cluster("c", &Sample::plain().colors())
        .images(IMAGES)
        .start();
    let status = clusters.status();
    let directory = status["info"]["run_dir"]
        .as_str()
        .expect("a path")
        .to_owned();
    let server = status["info"]["server_pid"].as_u64().expect("it runs");
    let ended = clusters.program().interrupt();
    assert!(ended.success(), "{ended}");
    assert!(!is_alive(server));
    assert!(
        !std::path::Path::new(&directory).exists(),
        "{directory} is still there"
    );
}
