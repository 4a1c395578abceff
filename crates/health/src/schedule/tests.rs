use super::*;
use crate::target::ProbeKind;
use tombolo_model::{
    Command, Context, Timestamp, apply,
    apply::cloudmap::{self, CreateNamespace, CreateService, RegisterInstance, UpdateService},
    cloudmap::{HealthCheckConfig, HealthCheckType, NamespaceType},
};

const INTERVAL: Duration = Duration::from_secs(30);

/// A registry, a schedule that follows it, and a clock.
struct Stage {
    view: View,
    schedule: Schedule,
    now: Instant,
    service: String,
    seed: u64,
}

fn scope() -> Scope {
    Scope::new("111122223333", "us-west-2")
}

impl Stage {
    fn new(threshold: Option<u32>) -> Self {
        let mut stage = Self {
            view: View::default(),
            schedule: Schedule::new(INTERVAL),
            now: Instant::now(),
            service: String::new(),
            seed: 0,
        };
        stage.commit(cloudmap::Command::CreateNamespace(CreateNamespace {
            name: "shop.example".into(),
            kind: NamespaceType::DNS_PUBLIC,
            vpc: None,
            description: None,
            soa_ttl: None,
            creator_request_id: None,
            tags: Vec::new(),
        }));
        let state = stage.view.scope(&scope()).expect("just made");
        let namespace_id = state.namespaces().next().expect("just made").id.to_string();
        stage.commit(cloudmap::Command::CreateService(CreateService {
            name: "web".into(),
            namespace_id,
            description: None,
            dns_config: None,
            health_check: Some(HealthCheckConfig {
                kind: HealthCheckType::HTTP,
                resource_path: Some("/up".into()),
                failure_threshold: threshold,
            }),
            custom_health_check: false,
            http_only: false,
            creator_request_id: None,
            tags: Vec::new(),
        }));
        let state = stage.view.scope(&scope()).expect("just made");
        stage.service = state.services().next().expect("just made").id.to_string();
        stage
    }

    fn commit(&mut self, command: cloudmap::Command) {
        self.seed += 1;
        let context = Context {
            scope: scope(),
            now: Timestamp(self.seed),
            seed: self.seed,
            limits: tombolo_model::Limits::default(),
        };
        let applied = apply(&self.view, &context, &Command::CloudMap(command)).expect("allowed");
        for change in &applied.changes {
            self.view.apply(self.seed, change);
        }
        self.schedule.change(&self.view, &applied.changes, self.now);
    }

    fn register(&mut self, id: &str, port: u16) {
        self.commit(cloudmap::Command::RegisterInstance(RegisterInstance {
            service_id: self.service.clone(),
            instance_id: id.into(),
            attributes: [
                ("AWS_INSTANCE_IPV4".into(), "10.0.0.1".into()),
                ("AWS_INSTANCE_PORT".into(), port.to_string()),
            ]
            .into(),
            creator_request_id: None,
        }));
    }

    fn deregister(&mut self, id: &str) {
        let deregister = cloudmap::DeregisterInstance {
            service_id: self.service.clone(),
            instance_id: id.into(),
        };
        self.commit(deregister.into());
    }

    /// Takes what is due now, in order.
    fn due(&mut self) -> Vec<DueCheck> {
        std::iter::from_fn(|| self.schedule.take(self.now)).collect()
    }

    /// Makes the checks that are due, all with one result, records what they find, and goes on to the next
    /// time; answers with the findings.
    fn round(&mut self, is_healthy: bool) -> Vec<(String, Health)> {
        let mut found = Vec::new();
        for due in self.due() {
            if let Some(change) = self.schedule.result(due.number, is_healthy, self.now) {
                found.push((change.name.instance_id.to_string(), change.health));
                let record = cloudmap::RecordHealth {
                    service_id: change.name.service_id.to_string(),
                    instance_id: change.name.instance_id.to_string(),
                    operation_id: change.operation_id,
                    health: change.health,
                };
                self.commit(record.into());
            }
        }
        self.now = self.schedule.next().unwrap_or(self.now);
        found
    }
}

#[test]
fn as_many_equal_results_as_the_threshold_says_turn_the_health() {
    for (threshold, most) in [(None, 3), (Some(1), 1), (Some(10), 10)] {
        let mut stage = Stage::new(threshold);
        stage.register("one", 80);
        for is_healthy in [false, true, false] {
            let turned = if is_healthy {
                Health::Healthy
            } else {
                Health::Unhealthy
            };
            for i in 1..=most + 2 {
                let expected = (i == most).then(|| ("one".to_owned(), turned));
                assert_eq!(
                    stage.round(is_healthy),
                    Vec::from_iter(expected),
                    "threshold {threshold:?}, result {i}"
                );
            }
        }
    }
}

#[test]
fn a_result_that_agrees_starts_the_count_anew() {
    let mut stage = Stage::new(Some(3));
    stage.register("one", 80);
    for is_healthy in [false, false, true, false, false, true] {
        assert_eq!(stage.round(is_healthy), []);
    }
    assert_eq!(stage.round(false), []);
    assert_eq!(stage.round(false), []);
    assert_eq!(stage.round(false), [("one".to_owned(), Health::Unhealthy)]);
}

#[test]
fn a_finding_is_told_until_it_is_recorded() {
    let mut stage = Stage::new(Some(1));
    stage.register("one", 80);
    for _ in 0..3 {
        let due = stage.due().pop().expect("one is due");
        let change = stage.schedule.result(due.number, false, stage.now);
        assert_eq!(change.map(|f| f.health), Some(Health::Unhealthy));
        stage.now += INTERVAL;
    }
}

#[test]
fn an_instance_is_checked_at_once_and_then_at_the_interval() {
    let mut stage = Stage::new(None);
    stage.register("one", 80);
    let start = stage.now;
    let due = stage.due();
    assert_eq!(due.len(), 1);
    assert_eq!(
        due[0].target.kind,
        ProbeKind::Http {
            path: "/up".into(),
            tls: false
        }
    );
    assert!(stage.schedule.next().is_none(), "it is being made");
    stage.now += Duration::from_secs(2);
    stage.schedule.result(due[0].number, true, stage.now);
    assert_eq!(
        stage.schedule.next(),
        Some(start + Duration::from_secs(2) + INTERVAL)
    );
}

#[test]
fn what_is_gone_or_replaced_is_not_judged_by_an_old_result() {
    let mut stage = Stage::new(Some(1));
    stage.register("one", 80);
    stage.register("two", 80);
    let due = stage.due();
    stage.deregister("one");
    stage.register("two", 81);
    for due in due {
        assert_eq!(stage.schedule.result(due.number, false, stage.now), None);
    }
    let due = stage.due();
    assert_eq!(due.len(), 1, "the new registration alone");
    assert_eq!(due[0].target.address.port(), 81);
    stage.deregister("two");
    assert_eq!(stage.schedule.len(), 0);
    assert!(stage.schedule.next().is_none());
}

#[test]
fn a_change_of_the_service_changes_the_checks_of_its_instances() {
    let mut stage = Stage::new(Some(2));
    stage.register("one", 80);
    let update = |stage: &mut Stage, check: Option<HealthCheckConfig>| {
        stage.commit(cloudmap::Command::UpdateService(UpdateService {
            id: stage.service.clone(),
            service: cloudmap::ServiceChange {
                health_check: check,
                ..cloudmap::ServiceChange::default()
            },
        }));
    };
    let check = |path: &str, threshold| HealthCheckConfig {
        kind: HealthCheckType::HTTP,
        resource_path: Some(path.into()),
        failure_threshold: Some(threshold),
    };
    assert_eq!(stage.round(false), []);
    update(&mut stage, Some(check("/up", 3)));
    assert_eq!(stage.round(false), [], "now three must agree");
    assert_eq!(stage.round(false), [("one".into(), Health::Unhealthy)]);
    let due = stage.due();
    update(&mut stage, Some(check("/well", 1)));
    for due in due {
        let late = stage.schedule.result(due.number, true, stage.now);
        assert_eq!(late, None, "what the old path says counts no more");
    }
    let due = stage.due();
    let path = "/well".into();
    assert_eq!(due.len(), 1, "the new path is asked for at once");
    assert_eq!(due[0].target.kind, ProbeKind::Http { path, tls: false });
    update(&mut stage, None);
    assert_eq!(stage.schedule.len(), 0);
    update(&mut stage, Some(check("/well", 1)));
    assert_eq!(stage.round(true), [("one".into(), Health::Healthy)]);
}

#[test]
fn a_resync_keeps_what_goes_on_and_spreads_what_is_new() {
    let mut stage = Stage::new(Some(2));
    stage.register("one", 80);
    assert_eq!(stage.round(false), []);
    let known = stage.schedule.next();
    for i in 0..9 {
        stage.register(&format!("more-{i}"), 80);
    }
    let view = stage.view.clone();
    stage.schedule.resync(&view, stage.now);
    assert_eq!(stage.schedule.len(), 10);
    assert_eq!(stage.schedule.next().min(known), stage.schedule.next());

    let mut fresh = Schedule::new(INTERVAL);
    fresh.resync(&view, stage.now);
    let mut times = BTreeSet::new();
    while let Some(at) = fresh.next() {
        times.insert(at);
        fresh.take(at);
    }
    assert_eq!(times.len(), 10);
    assert!(
        times
            .last()
            .is_some_and(|last| *last < stage.now + INTERVAL)
    );

    fresh.resync(&View::default(), stage.now);
    assert_eq!(fresh.len(), 0);
}
