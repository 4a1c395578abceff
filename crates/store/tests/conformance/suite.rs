//! The promises, one function each.

use crate::{
    Home, Replay, create_mesh, create_namespace, create_router, delete_mesh, mesh_names, records,
    scope,
};
use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};
use tombolo_model::{
    Reason, Record, Timestamp,
    cloudmap::{Operation, OperationType},
};
use tombolo_store::{CommitError, Event, FullState, ReplaceError};
use tombolo_telemetry::RequestId;

type Case = fn(Home) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! cases {
    ($($name:ident)*) => {
        &[$((stringify!($name), |home| Box::pin($name(home)))),*]
    };
}

const CASES: &[(&str, Case)] = cases![
    what_is_acknowledged_is_visible_and_there_after_reopening
    a_rejected_command_changes_nothing
    concurrent_writers_of_one_name_agree_on_one_winner
    a_watch_starts_with_the_state_and_tells_each_change
    a_watch_tells_which_calls_made_its_changes
    many_commands_at_once_each_get_a_revision_of_their_own
    a_name_that_goes_and_comes_within_a_batch_stays
    a_state_is_put_in_place_whole_and_only_over_nothing
    a_state_can_take_the_place_of_another
    a_command_may_change_more_than_fits_into_one_transaction
    somebody_leads
];

/// Runs every case on a new store of a kind.
pub(crate) async fn run(home: impl Fn(&str) -> Home) {
    for (name, case) in CASES {
        println!("{name}");
        case(home(name)).await;
    }
}

async fn what_is_acknowledged_is_visible_and_there_after_reopening(home: Home) {
    let store = home.open().await;
    for name in ["a", "b", "c"] {
        store.commit(scope(), create_mesh(name)).await.expect("new");
        assert!(mesh_names(&store.view()).contains(&name.to_owned()));
    }
    store
        .commit(scope(), delete_mesh("b"))
        .await
        .expect("there");
    let before = FullState::of(&store.view());
    assert_eq!(before.revision, 4);
    let mut watch = store.watch();
    drop(store);
    while watch.next().await.is_some() {}
    drop(watch);
    if home.is_durable() {
        let store = home.open().await;
        assert_eq!(FullState::of(&store.view()), before);
        assert_eq!(store.condition().problem, None);
    }
}

async fn a_rejected_command_changes_nothing(home: Home) {
    let store = home.open().await;
    store.commit(scope(), create_mesh("a")).await.expect("new");
    let before = FullState::of(&store.view());
    let error = store
        .commit(scope(), create_mesh("a"))
        .await
        .expect_err("taken");
    assert!(matches!(error, CommitError::Rejected(r) if r.reason == Reason::Conflict));
    assert_eq!(FullState::of(&store.view()), before);
}

async fn concurrent_writers_of_one_name_agree_on_one_winner(home: Home) {
    let store = home.open().await;
    let attempts: Vec<_> = (0..64)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.commit(scope(), create_mesh("a")).await.is_ok() })
        })
        .collect();
    let mut winners = 0;
    for attempt in attempts {
        winners += usize::from(attempt.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
}

async fn a_watch_starts_with_the_state_and_tells_each_change(home: Home) {
    let store = home.open().await;
    store.commit(scope(), create_mesh("a")).await.expect("new");
    let mut watch = store.watch();
    let Some(Event::Resync { view }) = watch.next().await else {
        panic!("the state first")
    };
    assert_eq!(mesh_names(&view), ["a"]);
    store.commit(scope(), create_mesh("b")).await.expect("new");
    let Some(Event::Changed { view, changes, .. }) = watch.next().await else {
        panic!("a change")
    };
    assert_eq!((mesh_names(&view).len(), changes.len()), (2, 1));
}

async fn a_watch_tells_which_calls_made_its_changes(home: Home) {
    let store = home.open().await;
    let mut watch = store.watch();
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    for (name, expected) in [("a", "call-a"), ("b", "call-b")] {
        let id = RequestId::new(expected);
        let committed = store.commit_for(id, scope(), create_mesh(name)).await;
        committed.expect("new");
        // A refused call has made nothing.
        let refused = RequestId::new("refused");
        let committed = store.commit_for(refused, scope(), create_mesh(name)).await;
        assert!(matches!(committed, Err(CommitError::Rejected(_))));
        let Some(Event::Changed { causes, .. }) = watch.next().await else {
            panic!("a change")
        };
        assert_eq!(causes.to_string(), expected);
    }
}

async fn many_commands_at_once_each_get_a_revision_of_their_own(home: Home) {
    const COMMANDS: usize = 700;
    let store = home.open().await;
    let mut watch = store.watch();
    let attempts: Vec<_> = (0..COMMANDS)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let committed = store
                    .commit(scope(), create_mesh(&format!("m{n}")))
                    .await
                    .expect("new");
                assert!(store.view().revision >= committed.revision);
                committed.revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for attempt in attempts {
        revisions.push(attempt.await.expect("no panic"));
    }
    revisions.sort_unstable();
    let each: Vec<u64> = (1..=COMMANDS as u64).collect();
    assert_eq!(revisions, each);
    let mut replay = Replay::default();
    while replay.records() != records(&store.view()) {
        replay.take(watch.next().await.expect("more to tell"));
    }
}

/// Commands that are queued together become one transaction, in which a record is written once.
async fn a_name_that_goes_and_comes_within_a_batch_stays(home: Home) {
    let store = home.open().await;
    let all = (0..40).flat_map(|_| [create_mesh("a"), create_namespace("n"), delete_mesh("a")]);
    let attempts: Vec<_> = all
        .chain([create_mesh("a")])
        .map(|command| {
            let store = store.clone();
            // Queued in this order: the runtime of this test has one thread.
            tokio::spawn(async move { store.commit(scope(), command).await.is_ok() })
        })
        .collect();
    let mut successes = 0;
    for attempt in attempts {
        successes += usize::from(attempt.await.expect("no panic"));
    }
    assert_eq!(
        successes, 82,
        "a mesh comes and goes, a namespace comes once"
    );
    assert_eq!(mesh_names(&store.view()), ["a"]);
    if home.is_durable() {
        let before = FullState::of(&store.view());
        let mut watch = store.watch();
        drop(store);
        while watch.next().await.is_some() {}
        drop(watch);
        assert_eq!(FullState::of(&home.open().await.view()), before);
    }
}

fn operations(count: usize) -> Vec<(tombolo_model::Scope, Record)> {
    let operation = |n: usize| Operation {
        id: format!("{n:08}").into(),
        kind: OperationType::RegisterInstance,
        targets: BTreeMap::new(),
        at: Timestamp(7),
        request: None,
    };
    (0..count)
        .map(|n| (scope(), Record::Operation(Arc::new(operation(n)))))
        .collect()
}

async fn a_state_is_put_in_place_whole_and_only_over_nothing(home: Home) {
    let store = home.open().await;
    let mut watch = store.watch();
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    let state = FullState {
        revision: 1234,
        records: operations(1000),
    };
    let revision = store.replace(state.clone(), false).await.expect("empty");
    assert_eq!(revision, 1234);
    assert_eq!(FullState::of(&store.view()), state);
    assert!(matches!(watch.next().await, Some(Event::Resync { view }) if view.revision == 1234));
    let refused = store.replace(state.clone(), false).await;
    assert_eq!(refused, Err(ReplaceError::NotEmpty { records: 1000 }));
    let committed = store.commit(scope(), create_mesh("a")).await.expect("new");
    assert_eq!(committed.revision, 1235);
    if home.is_durable() {
        let before = FullState::of(&store.view());
        drop(watch);
        let mut watch = store.watch();
        drop(store);
        while watch.next().await.is_some() {}
        drop(watch);
        assert_eq!(FullState::of(&home.open().await.view()), before);
    }
}

async fn a_state_can_take_the_place_of_another(home: Home) {
    let store = home.open().await;
    for name in ["a", "b"] {
        store.commit(scope(), create_mesh(name)).await.expect("new");
    }
    let state = FullState {
        revision: 1,
        records: operations(3),
    };
    let revision = store.replace(state.clone(), true).await.expect("allowed");
    assert_eq!(revision, 3, "revisions only grow");
    assert_eq!(records(&store.view()).records, state.records);
    store.commit(scope(), create_mesh("b")).await.expect("new");
    assert_eq!(mesh_names(&store.view()), ["b"]);
}

/// More operations than are remembered: the next command forgets all that are too many.
async fn a_command_may_change_more_than_fits_into_one_transaction(home: Home) {
    let store = home.open().await;
    let state = FullState {
        revision: 1,
        records: operations(10_300),
    };
    store.replace(state, false).await.expect("empty");
    store
        .commit(scope(), create_mesh("before"))
        .await
        .expect("new");
    let committed = store
        .commit(scope(), create_namespace("n"))
        .await
        .expect("new");
    assert_eq!(committed.revision, 3);
    let view = store.view();
    let held = view.scope(&scope()).expect("filled");
    assert_eq!(held.operation_count(), 10_000);
    store
        .commit(scope(), create_router("before", "r"))
        .await
        .expect("new");
    if home.is_durable() {
        let before = FullState::of(&store.view());
        let mut watch = store.watch();
        drop(store);
        while watch.next().await.is_some() {}
        drop(watch);
        assert_eq!(FullState::of(&home.open().await.view()), before);
    }
}

async fn somebody_leads(home: Home) {
    let store = home.open().await;
    let mut election = store.election("test");
    while election.leadership().is_none() {
        election.changed().await;
    }
    let lead = election.leadership().expect("just seen");
    assert_eq!(lead.name, "test");
    store
        .commit_as_leader(&lead, scope(), create_mesh("a"))
        .await
        .expect("it leads");
}
