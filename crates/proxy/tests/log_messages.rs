//! Messages that operators search for in the log of a proxy.

mod rig;

use tombolo_proxy::{Options, Proxy};
use tombolo_xds::Resource;

use rig::control::{Control, follow, mesh};
use rig::resources::*;
use rig::upstream::Upstream;
use rig::{log, wait_for, wait_until};

#[test]
fn the_reason_of_a_refusal_is_logged_once() {
    log::capture();
    let up = Upstream::start("up");
    let good = mesh(1, &[up.address]);
    let control = Control::start(good.clone());
    let proxy = follow(&control, None);
    let secured = with_tls(static_cluster("secured", &[up.address]));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let mut unbindable = http_ingress(&manager(everything_to("app")));
    unbindable.name = "unbindable".to_owned();
    unbindable.address = Some(address(taken.local_addr().expect("bound")));
    let bad = |revision| {
        good.edit(revision)
            .with(Resource::encode("secured", &secured))
            .with(Resource::encode("unbindable", &unbindable))
    };
    control.publish(bad(2).build());
    let refusals = |name| log::lines(&["resource rejected", name]);
    wait_until("both refusals", || {
        refusals("secured").len() == 1 && refusals("unbindable").len() == 1
    });
    assert!(refusals("secured")[0].contains("transport_socket"));
    assert!(refusals("unbindable")[0].contains("cannot listen on"));

    // Another update does not log them again.
    let other = static_cluster("other", &[up.address]);
    let next = bad(3).with(Resource::encode("other", &other));
    control.publish(next.build());
    wait_until("the other cluster", || {
        proxy.admin("GET /clusters").text().contains("other::")
    });
    assert_eq!(refusals("secured").len(), 1);
    assert_eq!(refusals("unbindable").len(), 1);
}

#[test]
fn the_configuration_of_another_node_is_refused_and_logged() {
    log::capture();
    let up = Upstream::start("up");
    let directory = tempfile::tempdir().expect("a directory");
    let control = Control::start(mesh(5, &[up.address]));
    let proxy = follow(&control, Some(directory.path()));
    let file = directory.path().join("last-good.snapshot");
    wait_until("the file", || file.exists());
    drop(proxy);
    let other = Proxy::start(Options {
        node_id: "mesh/m/virtualNode/other".to_owned(),
        state_dir: Some(directory.path().to_owned()),
        workers: 1,
        ..Options::default()
    })
    .expect("starts");
    let refused = wait_for("the refusal", || {
        log::lines(&["last good configuration refused"]).pop()
    });
    assert!(refused.contains("mesh/m/virtualNode/front"), "{refused}");
    assert!(!other.is_live());
    other.shutdown().expect("clean shutdown");
}
