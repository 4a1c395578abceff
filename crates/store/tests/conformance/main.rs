//! The contract of a store, tested on each kind of store.

mod etcd;
mod replicas;
mod secured;
mod suite;

use tombolo_model::{
    Change, Command, Scope, View,
    apply::{appmesh, cloudmap},
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};
use tombolo_store::{FullState, OpenError, Store};

/// The location of the stores of one kind.
pub(crate) enum Home {
    Memory,
    Redb(tempfile::TempDir),
    Etcd(tombolo_store::etcd::Options),
}

impl Home {
    /// Opens the store; with what was there, where this kind is durable.
    pub(crate) async fn open(&self) -> Store {
        match self {
            Home::Memory => Store::memory(),
            Home::Redb(directory) => Store::open(directory.path()).expect("a directory"),
            Home::Etcd(options) => Store::connect(options.clone()).await.expect("etcd serves"),
        }
    }

    pub(crate) fn is_durable(&self) -> bool {
        !matches!(self, Home::Memory)
    }
}

#[tokio::test]
async fn memory() {
    suite::run(|_| Home::Memory).await;
}

#[tokio::test]
async fn redb() {
    suite::run(|_| Home::Redb(tempfile::tempdir().expect("a directory"))).await;
}

#[tokio::test]
async fn an_empty_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tombolo.redb");
    std::fs::write(&file, b"").expect("writable");
    let error = Store::open(directory.path()).err().expect("refused");
    assert!(matches!(error, OpenError::Empty(_)), "{error}");
    assert!(
        error.to_string().contains("tombolo.redb is empty"),
        "{error}"
    );
    std::fs::remove_file(&file).expect("there");
    let store = Store::open(directory.path()).expect("a new state");
    let second = Store::open(directory.path()).err().expect("in use");
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
    store.close().await;
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["tombolo.redb"], "nothing is left of its making");
}

#[tokio::test]
async fn etcd() {
    let Some(etcd) = etcd::Etcd::start() else {
        return;
    };
    suite::run(|case| {
        let address = format!("etcd://{}/{case}", etcd.at);
        Home::Etcd(address.parse().expect("legal"))
    })
    .await;
}

pub(crate) fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

pub(crate) fn create_mesh(name: &str) -> Command {
    Command::AppMesh(appmesh::Command::Create {
        key: ResourceKey::mesh(name),
        spec: Spec::from_json(Kind::Mesh, serde_json::json!({})).expect("a readable spec"),
        tags: Vec::new(),
        client_token: None,
    })
}

pub(crate) fn delete_mesh(name: &str) -> Command {
    Command::AppMesh(appmesh::Command::Delete {
        key: ResourceKey::mesh(name),
    })
}

pub(crate) fn create_router(mesh: &str, name: &str) -> Command {
    let listeners =
        serde_json::json!({"listeners": [{"portMapping": {"port": 80, "protocol": "http"}}]});
    Command::AppMesh(appmesh::Command::Create {
        key: ResourceKey::new(mesh, Kind::VirtualRouter, name),
        spec: Spec::from_json(Kind::VirtualRouter, listeners).expect("a readable spec"),
        tags: Vec::new(),
        client_token: None,
    })
}

pub(crate) fn create_namespace(name: &str) -> Command {
    Command::CloudMap(cloudmap::Command::CreateNamespace(
        cloudmap::CreateNamespace {
            name: name.to_owned(),
            kind: NamespaceType::HTTP,
            vpc: None,
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        },
    ))
}

pub(crate) fn mesh_names(view: &View) -> Vec<String> {
    let Some(scope) = view.scope(&scope()) else {
        return Vec::new();
    };
    scope
        .meshes()
        .map(|mesh| mesh.key.name.to_string())
        .collect()
}

/// A view that is built from what watchers are told alone.
#[derive(Default)]
pub(crate) struct Replay(View);

impl Replay {
    pub(crate) fn take(&mut self, event: tombolo_store::Event) {
        match event {
            tombolo_store::Event::Resync { view } => self.0 = View::clone(&view),
            tombolo_store::Event::Changed { view, changes, .. } => {
                self.change(view.revision, &changes);
            }
        }
    }

    fn change(&mut self, revision: u64, changes: &[Change]) {
        for change in changes {
            self.0.apply(revision, change);
        }
    }

    pub(crate) fn records(&self) -> FullState {
        FullState {
            revision: 0,
            ..FullState::of(&self.0)
        }
    }
}

/// The records of a view, without its revision.
pub(crate) fn records(view: &View) -> FullState {
    FullState {
        revision: 0,
        ..FullState::of(view)
    }
}
