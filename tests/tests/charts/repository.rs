//! A Helm repository of the charts, on this machine, and the lines of the walkthroughs that install from one.

use crate::Tools;
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::PathBuf,
    process::Command,
    thread,
};

/// Lines of public walkthroughs, with the variables of their shells filled in. The address of the repository is the
/// test's, nothing is kept (`--dry-run=server`), and the namespace is one that is there.
const LINES: [&str; 5] = [
    "helm upgrade -i appmesh-controller eks/appmesh-controller --namespace appmesh-system",
    "helm upgrade -i appmesh-inject eks/appmesh-inject --namespace appmesh-system --set mesh.create=true --set \
     mesh.name=global",
    "helm upgrade -i appmesh-inject eks/appmesh-inject --namespace appmesh-system --set tracing.enabled=true --set \
     tracing.provider=x-ray",
    "helm upgrade -i appmesh-controller eks/appmesh-controller --namespace appmesh-system --set region=us-west-2 --set \
     serviceAccount.create=false --set serviceAccount.name=appmesh-controller",
    "helm upgrade -i appmesh-controller eks/appmesh-controller --namespace appmesh-system --set region=us-west-2 --set \
     accountId=012345678901 --set clusterName=east",
];

/// Serves the files of a folder over HTTP until the process ends; answers with the URL.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("/");
            let (status, body) = match std::fs::read(folder.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // A client that went away needs no answer.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    format!("http://{address}")
}

/// The repository that `cargo xtask chart` makes.
fn package(tools: &Tools, words: &[&str]) -> PathBuf {
    let index = tools.file("charts/none", "");
    let folder = index.parent().expect("it lies in a folder").to_owned();
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["xtask", "chart", "--output"])
        .arg(&folder)
        .args(words)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let output = command.output().expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder
}

#[test]
fn lines_of_walkthroughs_install_from_our_repository() {
    let Some(tools) = Tools::find() else { return };
    let server = "https://tombolo.example:8490";
    let url = serve(package(&tools, &["--server", server]));
    tools.apply_definitions();
    tools.helm(&["repo", "add", "eks", &url]);
    for line in LINES {
        let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
        words.push("--dry-run=server");
        let told = tools.helm(&words);
        assert!(told.contains("STATUS: pending-install"), "{line}\n{told}");
        let expected = match line {
            line if line.contains("x-ray") => "--enable-xray-tracing=true",
            line if line.contains("mesh.create") => "kind: Mesh\nmetadata:\n  name: \"global\"",
            line if line.contains("clusterName") => "--cluster-name=east",
            _ => "- --endpoint=https://tombolo.example:8490",
        };
        assert!(told.contains(expected), "{line}: no {expected}\n{told}");
    }
    let about = tools.helm(&["search", "repo", "eks/", "-o", "json"]);
    assert!(
        about.contains("appmesh-controller") && about.contains("appmesh-inject"),
        "{about}"
    );
}

#[test]
fn packages_are_the_same_bytes_each_time() {
    let Some(tools) = Tools::find() else { return };
    let index = || std::fs::read(package(&tools, &[]).join("index.yaml")).expect("it was written");
    assert_eq!(index(), index());
}
