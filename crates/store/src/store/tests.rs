use super::*;
use crate::Event;
use tombolo_model::{
    Reason,
    apply::mesh,
    mesh::{Kind, ResourceKey, Spec},
};

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

fn create_mesh(name: &str) -> Command {
    Command::Mesh(mesh::Command::Create {
        key: ResourceKey::mesh(name),
        spec: Spec::from_json(Kind::Mesh, serde_json::json!({})).expect("a readable spec"),
        tags: Vec::new(),
        client_token: None,
    })
}

fn mesh_names(view: &View) -> Vec<String> {
    let Some(scope) = view.scope(&scope()) else {
        return Vec::new();
    };
    scope
        .meshes()
        .map(|mesh| mesh.key.name.to_string())
        .collect()
}

#[tokio::test]
async fn what_is_acknowledged_is_visible_and_there_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path()).expect("a new store");
    for name in ["a", "b", "c"] {
        store.commit(scope(), create_mesh(name)).await.expect("new");
        assert!(mesh_names(&store.view()).contains(&name.to_owned()));
    }
    let revision = store.view().revision;
    assert!(matches!(
        Store::open(directory.path()),
        Err(OpenError::InUse(_))
    ));
    let mut watch = store.watch();
    drop(store);
    while watch.next().await.is_some() {}
    drop(watch);
    let store = reopen(directory.path()).await;
    assert_eq!(mesh_names(&store.view()), ["a", "b", "c"]);
    assert_eq!(store.view().revision, revision);
}

/// The writer closes the file just after it has told the watchers that it ends.
async fn reopen(path: &Path) -> Store {
    loop {
        match Store::open(path) {
            Ok(store) => return store,
            Err(OpenError::InUse(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_rejected_command_changes_nothing() {
    let store = Store::memory();
    store.commit(scope(), create_mesh("a")).await.expect("new");
    let revision = store.view().revision;
    let error = store
        .commit(scope(), create_mesh("a"))
        .await
        .expect_err("taken");
    assert!(matches!(error, CommitError::Rejected(r) if r.reason == Reason::Conflict));
    assert_eq!(store.view().revision, revision);
}

#[tokio::test]
async fn concurrent_writers_of_one_name_agree_on_one_winner() {
    let store = Store::memory();
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

#[tokio::test]
async fn a_watch_starts_with_the_state_and_tells_each_change() {
    let store = Store::memory();
    store.commit(scope(), create_mesh("a")).await.expect("new");
    let mut watch = store.watch();
    let Some(Event::Resync { view }) = watch.next().await else {
        panic!("the state first")
    };
    assert_eq!(mesh_names(&view), ["a"]);
    store.commit(scope(), create_mesh("b")).await.expect("new");
    let Some(Event::Changed { view, changes }) = watch.next().await else {
        panic!("a change")
    };
    assert_eq!((mesh_names(&view).len(), changes.len()), (2, 1));
}

#[tokio::test]
async fn a_watcher_that_fell_behind_is_told_the_whole_state() {
    let watchers = Watchers::default();
    let mut watch = watchers.add(Arc::new(Arc::<View>::default));
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
    let key = tombolo_model::RecordKey::Namespace("n".into());
    let changes = vec![Change::Delete(scope(), key); 5000];
    for _ in 0..3 {
        watchers.announce(&changes);
    }
    assert!(
        matches!(watch.next().await, Some(Event::Changed { changes, .. }) if changes.len() == 15_000)
    );
    for _ in 0..4 {
        watchers.announce(&changes);
    }
    assert!(matches!(watch.next().await, Some(Event::Resync { .. })));
}
