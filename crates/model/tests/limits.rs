//! Resources of each kind can be created up to the limit; one more is refused until one is deleted.

use serde_json::json;
use std::collections::BTreeMap;
use tombolo_model::{
    Command, Context, Limit, Limits, Reason, Rejection, Reply, Scope, Timestamp, View,
    apply::{
        appmesh,
        cloudmap::{self, CreateNamespace, CreateService, RegisterInstance},
    },
    appmesh::{Kind, ResourceKey, Spec},
    cloudmap::NamespaceType,
};

struct World {
    view: View,
    limits: Limits,
}

impl World {
    fn run(&mut self, command: &Command) -> Result<Reply, Rejection> {
        let revision = self.view.revision + 1;
        let context = Context {
            scope: scope(),
            now: Timestamp(revision),
            seed: revision,
            limits: self.limits,
        };
        let applied = tombolo_model::apply(&self.view, &context, command)?;
        for change in &applied.changes {
            self.view.apply(revision, change);
        }
        Ok(applied.reply)
    }

    fn must(&mut self, command: &Command) -> Reply {
        let result = self.run(command);
        result.unwrap_or_else(|refused| panic!("{command:?}: {refused}"))
    }

    fn namespace(&self) -> String {
        let scope = scope();
        let held = self.view.scope(&scope).expect("there is something");
        let namespace = held.namespace_by_name("first").expect("made before");
        namespace.id.to_string()
    }

    fn service(&self) -> String {
        let scope = scope();
        let held = self.view.scope(&scope).expect("there is something");
        let service = held.service_by_name(&self.namespace(), "first");
        service.expect("made before").id.to_string()
    }
}

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

fn create(key: ResourceKey) -> Command {
    let listener = json!({"portMapping": {"port": 80, "protocol": "http"}});
    let spec = match key.kind {
        Kind::Mesh | Kind::VirtualService | Kind::VirtualNode => json!({}),
        Kind::VirtualRouter | Kind::VirtualGateway => json!({"listeners": [listener]}),
        Kind::Route => json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"weightedTargets": [{"virtualNode": "first", "weight": 1}]},
        }}),
        Kind::GatewayRoute => json!({"httpRoute": {
            "match": {"prefix": "/"},
            "action": {"target": {"virtualService": {"virtualServiceName": "first"}}},
        }}),
    };
    Command::AppMesh(appmesh::Command::Create {
        spec: Spec::from_json(key.kind, spec).expect("readable"),
        key,
        tags: Vec::new(),
        client_token: None,
    })
}

fn key(kind: Kind, name: &str) -> ResourceKey {
    match kind {
        Kind::Mesh => ResourceKey::mesh(name),
        Kind::Route | Kind::GatewayRoute => ResourceKey::child("first", kind, "first", name),
        kind => ResourceKey::new("first", kind, name),
    }
}

fn namespace(name: &str) -> Command {
    Command::CloudMap(cloudmap::Command::CreateNamespace(CreateNamespace {
        name: name.into(),
        kind: NamespaceType::HTTP,
        ..CreateNamespace::default()
    }))
}

fn service(world: &World, name: &str) -> Command {
    Command::CloudMap(cloudmap::Command::CreateService(CreateService {
        name: name.into(),
        namespace_id: world.namespace(),
        ..CreateService::default()
    }))
}

fn instance(world: &World, id: &str) -> Command {
    let attributes = [("version", id)].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Command::CloudMap(cloudmap::Command::RegisterInstance(RegisterInstance {
        service_id: world.service(),
        instance_id: id.into(),
        attributes: BTreeMap::from(attributes),
        creator_request_id: None,
    }))
}

/// The command that makes one of what a limit is about.
fn one_more(world: &World, limit: Limit, name: &str) -> Command {
    let kind = match limit {
        Limit::MeshesPerAccount => Kind::Mesh,
        Limit::VirtualNodesPerMesh => Kind::VirtualNode,
        Limit::VirtualRoutersPerMesh => Kind::VirtualRouter,
        Limit::RoutesPerVirtualRouter => Kind::Route,
        Limit::VirtualServicesPerMesh => Kind::VirtualService,
        Limit::VirtualGatewaysPerMesh => Kind::VirtualGateway,
        Limit::GatewayRoutesPerVirtualGateway => Kind::GatewayRoute,
        Limit::NamespacesPerAccount => return namespace(name),
        Limit::ServicesPerNamespace => return service(world, name),
        Limit::InstancesPerService => return instance(world, name),
    };
    create(key(kind, name))
}

#[test]
fn one_more_than_the_limit_is_refused_until_one_is_gone() {
    for limit in Limit::ALL {
        let mut world = World {
            view: View::default(),
            limits: Limits::default(),
        };
        // One of each, so that everything has its parent.
        for limit in Limit::ALL {
            let command = one_more(&world, limit, "first");
            world.must(&command);
        }
        world.limits = Limits::default().with(limit, 3);
        for name in ["second", "third"] {
            let command = one_more(&world, limit, name);
            world.must(&command);
        }
        let fourth = one_more(&world, limit, "fourth");
        let refused = world.run(&fourth).expect_err("there are three");
        assert_eq!(refused.reason, Reason::LimitExceeded, "{refused}");
        assert!(refused.message.starts_with(limit.as_str()), "{refused}");
        // What is there can still be changed, and is told to be there.
        if limit == Limit::InstancesPerService {
            let again = instance(&world, "third");
            world.must(&again);
            let gone = cloudmap::DeregisterInstance {
                service_id: world.service(),
                instance_id: "second".into(),
            };
            world.must(&Command::CloudMap(gone.into()));
            world.must(&fourth);
        } else if limit == Limit::VirtualNodesPerMesh {
            let again = world.run(&create(key(Kind::VirtualNode, "third")));
            assert_eq!(again.expect_err("it exists").reason, Reason::Conflict);
            let gone = appmesh::Command::Delete {
                key: key(Kind::VirtualNode, "second"),
            };
            world.must(&Command::AppMesh(gone));
            world.must(&fourth);
        }
    }
}
