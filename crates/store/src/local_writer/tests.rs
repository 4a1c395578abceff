use super::*;
use crate::{secret::Secret, store::Store};
use parking_lot::Mutex;
use redb::{Database, StorageBackend};
use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};
use tokio::time::timeout;
use tombolo_model::{Command, Scope};

const LONG: Duration = Duration::from_secs(30);
const NEVER: u32 = u32::MAX;

/// A disk that outlives the databases on it.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Calls that change something until one fails, and all after it.
    calls_left: Arc<AtomicU32>,
}

impl Disk {
    fn new() -> Self {
        Self {
            bytes: Arc::default(),
            calls_left: Arc::new(AtomicU32::new(NEVER)),
        }
    }

    fn fail_after(&self, calls: u32) {
        self.calls_left.store(calls, SeqCst);
    }

    fn heal(&self) {
        self.fail_after(NEVER);
    }

    fn call(&self) -> io::Result<()> {
        let spend = |left| match left {
            NEVER => Some(NEVER),
            left => left.checked_sub(1),
        };
        let spent = self.calls_left.fetch_update(SeqCst, SeqCst, spend);
        spent.map_err(|_| io::ErrorKind::StorageFull)?;
        Ok(())
    }

    fn open(&self) -> Result<Database, OpenError> {
        let made = Database::builder().create_with_backend(self.clone());
        made.map_err(|error| OpenError::Unreadable {
            path: PathBuf::from("disk"),
            reason: error.to_string(),
        })
    }

    /// A store on this disk.
    fn store(&self) -> Store {
        let disk = self.clone();
        let opened = Engine::with(PathBuf::from("disk"), Box::new(move || disk.open()));
        let (engine, view) = opened.expect("the disk works");
        Store::start(engine, view, Condition::healthy("redb"), Secret::random())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock();
        let found = bytes.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call()?;
        self.bytes.lock().resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call()?;
        self.bytes.lock()[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

async fn create(store: &Store, name: &str) -> Result<Committed, CommitError> {
    use tombolo_model::{
        apply::appmesh,
        appmesh::{Kind, ResourceKey, Spec},
    };
    let command = Command::AppMesh(appmesh::Command::Create {
        key: ResourceKey::mesh(name),
        spec: Spec::from_json(Kind::Mesh, serde_json::json!({})).expect("a readable spec"),
        tags: Vec::new(),
        client_token: None,
    });
    let committed = timeout(LONG, store.commit(scope(), command)).await;
    committed.expect("every command is answered")
}

fn names(store: &Store) -> Vec<String> {
    let view = store.view();
    let Some(state) = view.scope(&scope()) else {
        return Vec::new();
    };
    state
        .meshes()
        .map(|mesh| mesh.key.name.to_string())
        .collect()
}

async fn until_recovered(store: &Store) {
    let recovered = async {
        while store.condition().problem.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, recovered)
        .await
        .expect("it recovers by itself");
}

#[tokio::test]
async fn after_an_error_the_problem_is_told_and_the_store_comes_back_by_itself() {
    let disk = Disk::new();
    let store = disk.store();
    create(&store, "before").await.expect("new");
    disk.fail_after(0);
    for name in ["lost", "lost as well"] {
        let error = create(&store, name).await.expect_err("the disk is full");
        assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
    }
    let problem = store.condition().problem.expect("it is told");
    assert!(!problem.is_empty());
    assert_eq!(names(&store), ["before"], "readers go on");
    disk.heal();
    until_recovered(&store).await;
    create(&store, "lost").await.expect("it takes writes again");
    store.close().await;
    assert_eq!(names(&disk.store()), ["before", "lost"]);
}

/// Wherever an error comes, what was acknowledged stays, and memory and disk agree afterwards.
#[tokio::test]
async fn an_error_at_any_call_loses_nothing_that_was_acknowledged() {
    for calls in 0..60 {
        let disk = Disk::new();
        let store = disk.store();
        create(&store, "m0").await.expect("new");
        let mut acknowledged = vec!["m0".to_owned()];
        disk.fail_after(calls);
        for number in 1..8 {
            let name = format!("m{number}");
            if create(&store, &name).await.is_ok() {
                acknowledged.push(name);
            }
        }
        disk.heal();
        until_recovered(&store).await;
        create(&store, "m9").await.expect("it takes writes again");
        acknowledged.push("m9".into());
        let shown = names(&store);
        for name in acknowledged {
            assert!(shown.contains(&name), "failing after {calls} calls: {name}");
        }
        let state = FullState::of(&store.view());
        store.close().await;
        let found = FullState::of(&disk.store().view());
        assert_eq!(found, state, "failing after {calls} calls");
    }
}

#[tokio::test]
async fn a_disk_that_forgot_acknowledged_changes_gets_them_again() {
    let disk = Disk::new();
    let store = disk.store();
    create(&store, "a").await.expect("new");
    let earlier = disk.bytes.lock().clone();
    create(&store, "b").await.expect("new");
    disk.fail_after(0);
    create(&store, "c").await.expect_err("the disk fails");
    *disk.bytes.lock() = earlier;
    disk.heal();
    until_recovered(&store).await;
    store.close().await;
    assert_eq!(names(&disk.store()), ["a", "b"]);
}
