//! One request id, from the answer of a call over commit and publication to the last acknowledgement.

use serde_json::json;
use tokio::sync::watch;
use tombolo_tests::{
    Server,
    http::{Connection, Request},
    until,
};
use tombolo_xds::{Client, ClientOptions, Node};

const PROXIES: usize = 3;

/// Changes the listener of the node that all proxies belong to; the id of the call.
fn change(server: &Server, port: u16) -> String {
    let body = json!({"spec": {
        "listeners": [{"portMapping": {"port": port, "protocol": "http"}}],
        "serviceDiscovery": {"dns": {"hostname": "web.local"}},
    }});
    call(server, "/v20190125/meshes/m/virtualNodes/web", &body)
}

fn call(server: &Server, path: &str, body: &serde_json::Value) -> String {
    let mut connection = Connection::open(server.api()).expect("it listens");
    let request = Request::app_mesh("PUT", path, body);
    let answer = connection.send(&request).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-amzn-requestid").expect("a request id");
    id.to_owned()
}

/// Proxies that acknowledge everything; the first one pauses while it is held.
fn connect(server: &Server) -> watch::Sender<bool> {
    let (hold, held) = watch::channel(false);
    for number in 0..PROXIES {
        let node = Node {
            id: "mesh/m/virtualNode/web".into(),
            ..Node::default()
        };
        let options = ClientOptions::new(format!("http://{}", server.xds()), node);
        let mut client = Client::start(options).expect("an endpoint");
        let mut held = held.clone();
        tokio::spawn(async move {
            while let Some(update) = client.next().await {
                if number == 0 {
                    held.wait_for(|held| !held).await.expect("the test runs");
                }
                update.accept();
            }
        });
    }
    hold
}

/// The number of log lines with this id and this message.
fn count(log: &str, id: &str, message: &str) -> usize {
    let lines = log.lines().filter(|line| line.contains(id));
    lines.filter(|line| line.contains(message)).count()
}

/// Waits for the last acknowledgement of a call's change; all earlier steps are in the log then.
#[track_caller]
fn follow(server: &Server, id: &str) {
    until("every proxy has answered", || {
        (count(&server.log(), id, "answered by every proxy") > 0).then_some(())
    });
    let log = server.log();
    for (message, expected) in [
        (" committed ", 1),
        (" published ", 1),
        (" acknowledged ", PROXIES),
        (" answered by every proxy ", 1),
    ] {
        let found = count(&log, id, message);
        assert_eq!(found, expected, "{message:?} of {id}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_in_the_log_from_the_call_to_the_last_acknowledgement() {
    let directory = tempfile::tempdir().expect("a directory");
    let debug = [("TOMBOLO_LOG", "debug")];
    let Some(server) = Server::start_in(directory, &[], &debug) else {
        return;
    };
    call(&server, "/v20190125/meshes", &json!({"meshName": "m"}));
    let node = json!({"virtualNodeName": "web", "spec": {}});
    call(&server, "/v20190125/meshes/m/virtualNodes", &node);
    let hold = connect(&server);
    until("all proxies have what there is", || {
        let status = server.status()?;
        let is_complete = status["proxies"].as_array()?.len() == PROXIES;
        (is_complete && status["synced"] == true).then_some(())
    });

    follow(&server, &change(&server, 8000));

    // A busy proxy gets the next change too, and acknowledges both together.
    hold.send_replace(true);
    let first = change(&server, 8001);
    until("the others have it", || {
        (count(&server.log(), &first, " acknowledged ") == PROXIES - 1).then_some(())
    });
    let second = change(&server, 8002);
    until("it is published, too", || {
        (count(&server.log(), &second, " published ") == 1).then_some(())
    });
    hold.send_replace(false);
    follow(&server, &first);
    follow(&server, &second);

    // Calls that arrive during a publication are published together, each with its id.
    let mut port = 9000;
    let (first, second) = until("two calls are published together", || {
        port += 3;
        hold.send_replace(true);
        change(&server, port);
        let (first, second) = (change(&server, port + 1), change(&server, port + 2));
        hold.send_replace(false);
        follow(&server, &first);
        follow(&server, &second);
        let log = server.log();
        let mut published = log.lines().filter(|line| line.contains(" published "));
        let are_together = published.any(|line| line.contains(&first) && line.contains(&second));
        are_together.then_some((first, second))
    });
    assert_ne!(first, second);
}
