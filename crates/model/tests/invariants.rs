//! Whatever is asked for in whatever order, the state stays whole: nothing refers to what is not
//! there, and no stored object breaks a rule.
//! Commands are drawn from a seed, which a failure prints; `TOMBOLO_SEED` runs one again.

use serde_json::json;
use tombolo_model::{
    Command, Context, Scope, ScopeView, Timestamp, View,
    apply::appmesh,
    appmesh::{Kind, ResourceKey, Spec, spec::virtual_service::Provider},
    entropy::Entropy,
};

const SEEDS: u64 = 300;
const COMMANDS: usize = 150;

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

struct Draw(Entropy);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    /// Few names, so that commands meet.
    fn name(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.below(3))
    }

    fn key(&mut self) -> ResourceKey {
        let mesh = self.name("m");
        match Kind::ALL[self.below(7) as usize] {
            Kind::Mesh => ResourceKey::mesh(mesh),
            kind @ (Kind::Route | Kind::GatewayRoute) => {
                ResourceKey::child(mesh, kind, self.name("p"), self.name("c"))
            }
            kind => ResourceKey::new(mesh, kind, self.name("p")),
        }
    }

    /// Often none.
    fn port(&mut self) -> Option<u64> {
        Some(79 + self.below(3)).filter(|port| *port > 79)
    }

    fn spec(&mut self, kind: Kind) -> Spec {
        let listener = |port| json!({"portMapping": {"port": port, "protocol": "http"}});
        let listeners = match self.below(4) {
            0 => json!([listener(80), listener(81)]),
            more => json!([listener(79 + more)]),
        };
        let spec = match kind {
            Kind::Mesh => json!({}),
            Kind::VirtualNode => json!({
                "listeners": listeners,
                "serviceDiscovery": {"dns": {"hostname": "h"}},
                "backends": [{"virtualService": {"virtualServiceName": self.name("p")}}],
            }),
            Kind::VirtualRouter | Kind::VirtualGateway => json!({ "listeners": listeners }),
            Kind::Route => json!({"httpRoute": {
                "match": {"prefix": "/", "port": self.port()},
                "action": {"weightedTargets": [{
                    "virtualNode": self.name("p"), "weight": self.below(102), "port": self.port(),
                }]},
            }}),
            Kind::VirtualService => match self.below(3) {
                0 => json!({}),
                1 => json!({"provider": {"virtualNode": {"virtualNodeName": self.name("p")}}}),
                _ => json!({"provider": {"virtualRouter": {"virtualRouterName": self.name("p")}}}),
            },
            Kind::GatewayRoute => json!({"httpRoute": {
                "match": {"prefix": "/", "port": self.port()},
                "action": {"target": {
                    "virtualService": {"virtualServiceName": self.name("p")}, "port": self.port(),
                }},
            }}),
        };
        Spec::from_json(kind, spec).expect("a readable spec")
    }

    fn command(&mut self) -> appmesh::Command {
        let key = self.key();
        let client_token = (self.below(2) == 0).then(|| self.name("t"));
        match self.below(4) {
            0 => appmesh::Command::Delete { key },
            1 => appmesh::Command::Update {
                spec: self.spec(key.kind),
                key,
                client_token,
            },
            _ => appmesh::Command::Create {
                spec: self.spec(key.kind),
                key,
                tags: Vec::new(),
                client_token,
            },
        }
    }
}

/// Every reference that must hold does.
fn assert_whole(view: &ScopeView) {
    let there = |mesh: &str, kind: Kind, name: &str| {
        let key = match kind {
            Kind::Mesh => ResourceKey::mesh(name),
            kind => ResourceKey::new(mesh, kind, name),
        };
        assert!(
            view.resource(&key).is_some(),
            "{key} is referred to and not there"
        );
    };
    for mesh in ["m0", "m1", "m2"] {
        for resource in view.mesh_members(mesh) {
            there(mesh, Kind::Mesh, mesh);
            if let Some(kind) = resource.key.kind.parent() {
                there(mesh, kind, &resource.key.parent);
            }
            match &resource.spec {
                Spec::Route(spec) => {
                    for target in spec
                        .action()
                        .into_iter()
                        .flat_map(|(_, a)| &a.weighted_targets)
                    {
                        there(mesh, Kind::VirtualNode, &target.virtual_node);
                    }
                }
                Spec::VirtualService(spec) => {
                    if let Some((kind, name)) = spec.provider.as_ref().map(Provider::target) {
                        there(mesh, kind, name);
                    }
                }
                Spec::GatewayRoute(spec) => {
                    let (_, target) = spec.target().expect("it has one");
                    let name = &target.virtual_service.virtual_service_name;
                    there(mesh, Kind::VirtualService, name);
                }
                _ => {}
            }
            // What `import` asks of each record, so that each state can be exported and imported.
            let checked = appmesh::check_stored(view, &scope(), resource);
            checked.unwrap_or_else(|rejection| panic!("{}: {rejection}", resource.key));
        }
    }
}

#[test]
fn no_sequence_of_commands_leaves_a_dangling_reference() {
    let only = std::env::var("TOMBOLO_SEED")
        .ok()
        .and_then(|seed| seed.parse::<u64>().ok());
    let (mut carried_out, mut refused) = (0, 0);
    for seed in only.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let run = std::panic::catch_unwind(|| walk(seed));
        let (yes, no) = run.unwrap_or_else(|_| panic!("TOMBOLO_SEED={seed} fails"));
        carried_out += yes;
        refused += no;
    }
    // Otherwise the walk would prove nothing.
    assert!(carried_out > 100 && refused > 100 || only.is_some());
}

fn walk(seed: u64) -> (usize, usize) {
    let mut draw = Draw(Entropy::new(seed));
    let mut view = View::default();
    let (mut carried_out, mut refused) = (0, 0);
    for step in 0..COMMANDS {
        let command = Command::AppMesh(draw.command());
        let context = Context {
            scope: scope(),
            now: Timestamp(step as u64),
            seed: step as u64,
            limits: tombolo_model::Limits::default(),
        };
        let decided = tombolo_model::apply(&view, &context, &command);
        // A decision is a function: asked again, it is the same.
        let again = tombolo_model::apply(&view, &context, &command);
        match (decided, again) {
            (Ok(applied), Ok(same)) => {
                assert_eq!(applied.changes, same.changes);
                let revision = view.revision + 1;
                applied
                    .changes
                    .iter()
                    .for_each(|change| view.apply(revision, change));
                carried_out += 1;
            }
            (Err(rejection), Err(same)) => {
                assert_eq!(rejection, same);
                assert!(!rejection.message.is_empty());
                refused += 1;
            }
            _ => panic!("decided one way, then the other"),
        }
        if let Some(view) = view.scope(&scope()) {
            assert_whole(view);
        }
    }
    (carried_out, refused)
}
