//! Several replicas over one etcd: they agree, they catch up, and they say when they cannot.

use crate::{
    create_mesh, create_router, delete_mesh,
    etcd::{Etcd, Wire, ask, until},
    mesh_names, records, scope,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tombolo_store::{CommitError, Event, FullState, OpenError, Store, etcd::Options};

fn options(at: SocketAddr, case: &str) -> Options {
    format!("etcd://{at}/{case}").parse().expect("legal")
}

async fn connect(at: SocketAddr, case: &str) -> Store {
    Store::connect(options(at, case))
        .await
        .expect("etcd serves")
}

#[tokio::test]
async fn replicas_agree() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    a_refusal_is_never_decided_on_an_old_state(&etcd).await;
    concurrent_writers_on_all_replicas_agree(&etcd).await;
    the_others_are_told_which_call_made_a_change(&etcd).await;
    a_replaced_state_reaches_the_others(&etcd).await;
    one_replica_leads_and_the_next_follows_with_a_greater_token(&etcd).await;
    they_share_a_secret(&etcd).await;
}

async fn they_share_a_secret(etcd: &Etcd) {
    // The first of them makes it; they start together.
    let (a, b) = tokio::join!(connect(etcd.at, "secret"), connect(etcd.at, "secret"));
    assert_eq!(a.secret(), b.secret());
    let first = a.secret().clone();
    drop((a, b));
    let (again, other) = (
        connect(etcd.at, "secret").await,
        connect(etcd.at, "other").await,
    );
    assert_eq!(*again.secret(), first);
    assert_ne!(*other.secret(), first);
}

async fn a_refusal_is_never_decided_on_an_old_state(etcd: &Etcd) {
    let (a, b) = (connect(etcd.at, "old").await, connect(etcd.at, "old").await);
    for n in 0..50 {
        let name = format!("m{n}");
        a.commit(scope(), create_mesh(&name)).await.expect("new");
        // The other has perhaps not seen the mesh yet.
        b.commit(scope(), create_router(&name, "r"))
            .await
            .expect("the mesh is there");
        let taken = a.commit(scope(), create_router(&name, "r")).await;
        assert!(matches!(taken, Err(CommitError::Rejected(_))), "{taken:?}");
    }
}

async fn concurrent_writers_on_all_replicas_agree(etcd: &Etcd) {
    const NAMES: usize = 60;
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(connect(etcd.at, "agree").await);
    }
    let mut attempts = Vec::new();
    for store in &replicas {
        for n in 0..NAMES {
            let store = store.clone();
            attempts.push(tokio::spawn(async move {
                let name = format!("m{n}");
                let created = store.commit(scope(), create_mesh(&name)).await.is_ok();
                if created && n % 3 == 0 {
                    let deleted = store.commit(scope(), delete_mesh(&name)).await;
                    deleted.expect("it is there");
                }
                created
            }));
        }
    }
    let mut winners = 0;
    for attempt in attempts {
        winners += usize::from(attempt.await.expect("no panic"));
    }
    assert!(winners >= NAMES, "{winners}");
    let newest = replicas.iter().map(|store| store.view().revision).max();
    let newest = newest.expect("three");
    for store in &replicas {
        until("the replicas converge", || {
            (store.view().revision == newest).then_some(())
        })
        .await;
        assert_eq!(
            FullState::of(&store.view()),
            FullState::of(&replicas[0].view())
        );
    }
    let fresh = connect(etcd.at, "agree").await;
    assert_eq!(
        FullState::of(&fresh.view()),
        FullState::of(&replicas[0].view())
    );
}

async fn the_others_are_told_which_call_made_a_change(etcd: &Etcd) {
    let (a, b) = (
        connect(etcd.at, "causes").await,
        connect(etcd.at, "causes").await,
    );
    let mut watch = b.watch();
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    let id = tombolo_telemetry::RequestId::new("call-a");
    let committed = a.commit_for(id, scope(), create_mesh("a")).await;
    committed.expect("new");
    let Some(Event::Changed { causes, .. }) = watch.next().await else {
        panic!("a change")
    };
    assert_eq!(causes.to_string(), "call-a");
}

async fn a_replaced_state_reaches_the_others(etcd: &Etcd) {
    let (a, b) = (
        connect(etcd.at, "replaced").await,
        connect(etcd.at, "replaced").await,
    );
    a.commit(scope(), create_mesh("a")).await.expect("new");
    let state = FullState::of(&a.view());
    b.commit(scope(), create_mesh("b")).await.expect("new");
    let revision = b.replace(state.clone(), true).await.expect("allowed");
    until("the other sees it", || {
        (a.view().revision == revision).then_some(())
    })
    .await;
    assert_eq!(records(&a.view()).records, state.records);
    a.commit(scope(), create_mesh("b")).await.expect("new");
    until("it goes on from there", || {
        (mesh_names(&b.view()).len() == 2).then_some(())
    })
    .await;
}

async fn one_replica_leads_and_the_next_follows_with_a_greater_token(etcd: &Etcd) {
    let wire = Wire::to(etcd.at).await;
    let (a, b, far) = (
        connect(etcd.at, "lead").await,
        connect(etcd.at, "lead").await,
        connect(wire.at, "lead").await,
    );
    let mut first = far.election("work");
    while first.leadership().is_none() {
        first.changed().await;
    }
    let lead = first.leadership().expect("just seen");
    let mut second = b.election("work");
    assert_eq!(second.leadership(), None);
    a.commit_as_leader(&lead, scope(), create_mesh("a"))
        .await
        .expect("it leads");
    // Nobody says that it is over: the lease runs out.
    wire.cut();
    while second.leadership().is_none() {
        second.changed().await;
    }
    let next = second.leadership().expect("just seen");
    assert!(next.token > lead.token, "{next:?} {lead:?}");
    let late = a.commit_as_leader(&lead, scope(), create_mesh("b")).await;
    assert!(
        matches!(&late, Err(CommitError::Unavailable(why)) if why.contains("another replica")),
        "{late:?}"
    );
    b.commit_as_leader(&next, scope(), create_mesh("b"))
        .await
        .expect("it leads");
}

/// While etcd is away readers go on, writers are told in bounded time, and afterwards all is as before.
#[tokio::test]
async fn a_replica_survives_the_loss_of_etcd() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let wire = Wire::to(etcd.at).await;
    let far = connect(wire.at, "loss").await;
    let near = connect(etcd.at, "loss").await;
    far.commit(scope(), create_mesh("a")).await.expect("new");
    wire.cut();
    until("it is noticed", || far.condition().problem).await;
    assert_eq!(far.condition().member, None);
    let start = Instant::now();
    // Others come all the time; nobody waits longer for that.
    let crowd = {
        let far = far.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let far = far.clone();
                tokio::spawn(
                    async move { far.commit(scope(), delete_mesh(&format!("x{n}"))).await },
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let refused = far.commit(scope(), create_mesh("b")).await;
    crowd.abort();
    assert!(
        matches!(&refused, Err(CommitError::Unavailable(why)) if why.contains("try again")),
        "{refused:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(20));
    assert_eq!(mesh_names(&far.view()), ["a"]);
    near.commit(scope(), create_mesh("c")).await.expect("new");
    let mut watch = far.watch();
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    wire.mend(etcd.at);
    far.commit(scope(), create_mesh("d")).await.expect("back");
    assert_eq!(far.condition().problem, None);
    let names = mesh_names(&far.view());
    assert!(names.contains(&"c".to_owned()), "{names:?}");
    assert!(
        matches!(watch.next().await, Some(Event::Changed { .. })),
        "what was missed is told change by change"
    );
}

/// A member that is stopped answers nothing, and closes nothing either.
#[tokio::test]
async fn a_write_in_doubt_is_settled_when_the_member_goes_on() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let store = connect(etcd.at, "doubt").await;
    for round in 0..3 {
        let name = format!("m{round}");
        etcd.pause(true);
        let writing = {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { store.commit(scope(), create_mesh(&name)).await })
        };
        until("the silence is noticed", || store.condition().problem).await;
        etcd.pause(false);
        writing
            .await
            .expect("no panic")
            .expect("stored exactly once, whichever attempt it was");
        assert!(mesh_names(&store.view()).contains(&name));
    }
    assert_eq!(store.view().revision, 3);
}

/// A replica that ends in good order leaves its leads to the others at once: no lease stays behind.
#[tokio::test]
async fn leases_are_revoked_when_a_lead_or_the_store_ends() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let leases = || {
        ask(etcd.at, "/v3/lease/leases", &json!({}))["leases"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let store = connect(etcd.at, "graceful").await;
    until("compaction has a leader", || (leases() == 1).then_some(())).await;
    let mut first = store.election("work");
    while first.leadership().is_none() {
        first.changed().await;
    }
    assert_eq!(leases(), 2);
    let mut second = store.election("work");
    first.resign().await;
    while second.leadership().is_none() {
        second.changed().await;
    }
    drop(second);
    until("dropping it gives it up too", || {
        (leases() == 1).then_some(())
    })
    .await;
    let stopped = std::future::ready(());
    store
        .election("work")
        .run(stopped, |_| std::future::pending())
        .await;
    store.close().await;
    assert_eq!(leases(), 0);
}

/// After etcd has compacted missed revisions, the full state is loaded, and watchers get a resync.
#[tokio::test]
async fn a_replica_that_missed_what_was_compacted_loads_everything() {
    let Some(etcd) = Etcd::start() else {
        return;
    };
    let wire = Wire::to(etcd.at).await;
    let far = connect(wire.at, "compaction").await;
    let near = connect(etcd.at, "compaction").await;
    near.commit(scope(), create_mesh("gone"))
        .await
        .expect("new");
    until("it is followed", || {
        (far.view().revision == 1).then_some(())
    })
    .await;
    let mut watch = far.watch();
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    wire.cut();
    until("it is noticed", || far.condition().problem).await;
    near.commit(scope(), delete_mesh("gone"))
        .await
        .expect("there");
    near.commit(scope(), create_mesh("new")).await.expect("new");
    compact(etcd.at);
    wire.mend(etcd.at);
    until("it has caught up", || {
        (far.view().revision == 3).then_some(())
    })
    .await;
    assert_eq!(mesh_names(&far.view()), ["new"]);
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    far.commit(scope(), create_mesh("more")).await.expect("new");
}

/// Makes etcd forget everything but the present.
fn compact(at: SocketAddr) {
    let present = ask(at, "/v3/kv/range", &json!({"key": "AA=="}));
    let revision = &present["header"]["revision"];
    ask(at, "/v3/kv/compaction", &json!({"revision": revision}));
}

/// A backup of etcd that is put back: what was shown is not taken back behind anybody's back.
#[tokio::test]
async fn an_older_state_is_not_taken() {
    let (Some(etcd), Some(older)) = (Etcd::start(), Etcd::start()) else {
        return;
    };
    let wire = Wire::to(etcd.at).await;
    let store = connect(wire.at, "older").await;
    for name in ["a", "b"] {
        store.commit(scope(), create_mesh(name)).await.expect("new");
    }
    let elsewhere = connect(older.at, "older").await;
    elsewhere
        .commit(scope(), create_mesh("c"))
        .await
        .expect("new");
    wire.mend(older.at);
    until("it is told", || {
        let problem = store.condition().problem?;
        problem.contains("older (revision 1)").then_some(())
    })
    .await;
    assert_eq!(mesh_names(&store.view()), ["a", "b"]);
    wire.mend(etcd.at);
    store
        .commit(scope(), create_mesh("c"))
        .await
        .expect("as before");
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named() {
    let nowhere: Options = "etcd://127.0.0.1:1".parse().expect("legal");
    match Store::connect(nowhere).await.err() {
        Some(OpenError::Cluster { cluster, reason }) => {
            assert_eq!(cluster, "etcd://127.0.0.1:1/tombolo");
            assert!(reason.contains("127.0.0.1:1: "), "{reason}");
            assert!(reason.contains("refused"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
