//! Several users and several runs beside each other, without privileges.

use crate::demo::tally;
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};
use tombolo_tests::{Home, Program, User, need, run_name, until};

#[test]
fn runs_beside_each_other_do_not_collide() {
    let Some(binary) = need("TOMBOLO_BIN") else {
        return;
    };
    let users = User::STRANGERS.into_iter().chain([User::Caller]);
    let users: Vec<User> = users.filter(|user| user.is_possible()).collect();
    // No API address is set, so all of them want the default port. Two users may choose the same name.
    let (first, second) = (run_name(), run_name());
    let homes: Vec<(Home, &str)> = users
        .iter()
        .flat_map(|user| [&first, &second].map(|name| (Home::of(*user), name.as_str())))
        .collect();
    let children: Vec<_> = homes
        .iter()
        .map(|(home, name)| {
            let mut command = home.command(&home.reachable(&binary));
            command
                .args([
                    "demo",
                    "color",
                    "--once",
                    "--requests",
                    "20",
                    "--name",
                    name,
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.spawn().expect("TOMBOLO_BIN can be run")
        })
        .collect();
    let outputs: Vec<Output> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("it can be waited for"))
        .collect();
    for output in &outputs {
        let sum: usize = tally(output).iter().map(|(_, count)| count).sum();
        assert_eq!(sum, 20);
    }
}

#[test]
fn no_home_and_no_runtime_directory_are_needed() {
    let Some(binary) = need("TOMBOLO_BIN") else {
        return;
    };
    for user in User::all() {
        let name = run_name();
        let home = Home::of(user);
        let binary = home.reachable(&binary);
        let bare = |words: &[&str]| {
            let mut command = home.command(&binary);
            command
                .env_remove("HOME")
                .env_remove("XDG_RUNTIME_DIR")
                .env_remove("TMPDIR");
            command.args(words).args(["--name", &name]);
            command
        };
        let mut demo = bare(&["demo", "color", "--requests", "20"]);
        let mut program = Program::start(&mut demo, &home.path().join("log"));
        until("the demo waits for Ctrl-C", || {
            assert!(program.ended().is_none(), "{}", program.log());
            program.log().contains("stays up until").then_some(())
        });
        // A terminal of the same user finds the run, with `XDG_RUNTIME_DIR` and without it.
        for mut command in [bare(&["status"]), {
            let mut command = home.command(&binary);
            command.args(["status", "--name", &name]);
            command
        }] {
            let output = command.output().expect("TOMBOLO_BIN can be run");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{told}");
        }
        assert!(program.interrupt().success(), "{}", program.log());
        if let User::Stranger(id) = user {
            // Nobody else uses it.
            let place = format!("/tmp/tombolo-{id}");
            assert!(!Path::new(&place).join(&name).exists());
            let _ = fs::remove_dir(place);
        }
    }
}
