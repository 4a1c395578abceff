//! Kubernetes' rolling update as a pure function: the next number of pods of each revision of a Deployment.
//!
//! [`step`] is called after each change; repeated until it changes nothing, it ends with the newest revision alone.
//! It never plans more than `replicas + max_surge` pods, nor scales down available pods below `replicas -
//! max_unavailable`.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// The strategy of a Deployment, with percentages resolved to pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// Pods wanted at the end of the rollout.
    pub(super) replicas: u32,
    /// Pods allowed above `replicas` during the rollout.
    pub(super) max_surge: u32,
    /// Pods allowed to be missing from `replicas` during the rollout.
    pub(super) max_unavailable: u32,
    /// `Recreate`: every old pod ends before the first new one starts.
    pub(super) recreate: bool,
}

impl Policy {
    /// Reads the policy; `maxSurge` rounds up and `maxUnavailable` down, 25 % where unset.
    pub(super) fn of(spec: &DeploymentSpec) -> Self {
        let replicas = spec.replicas.unwrap_or(1);
        let replicas = u32::try_from(replicas).unwrap_or(0);
        let strategy = spec.strategy.clone().unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let max_surge = resolve(rolling.max_surge.as_ref(), replicas, true);
        let max_unavailable = resolve(rolling.max_unavailable.as_ref(), replicas, false);
        Self {
            replicas,
            max_surge,
            // If both were zero, no pod could ever be replaced.
            max_unavailable: max_unavailable.max(u32::from(max_surge == 0)),
            recreate: strategy.type_.as_deref() == Some("Recreate"),
        }
    }
}

/// A count or a percentage of `whole`; 25 % when absent or unreadable.
fn resolve(value: Option<&IntOrString>, whole: u32, round_up: bool) -> u32 {
    let percent = match value {
        Some(IntOrString::Int(count)) => return u32::try_from(*count).unwrap_or(0),
        Some(IntOrString::String(text)) => text
            .trim_end_matches('%')
            .parse::<u32>()
            .map_or(25, |percent| percent.min(100)),
        None => 25,
    };
    let scaled = u64::from(whole) * u64::from(percent);
    let rounded = if round_up {
        scaled.div_ceil(100)
    } else {
        scaled / 100
    };
    u32::try_from(rounded).unwrap_or(u32::MAX)
}

/// One revision (ReplicaSet) of a Deployment as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision {
    /// The name of the ReplicaSet.
    pub(super) name: String,
    /// `spec.replicas` of the ReplicaSet.
    pub(super) wanted: u32,
    /// Pods that are available.
    pub(super) available: u32,
    /// Pods that exist, terminating ones included.
    pub(super) present: u32,
}

/// The next `spec.replicas` of each revision that should change. `older` is oldest first.
pub(super) fn step(policy: &Policy, newest: &Revision, older: &[Revision]) -> Vec<(String, u32)> {
    if policy.recreate {
        recreate(policy, newest, older)
    } else {
        rolling_update(policy, newest, older)
    }
}

fn recreate(policy: &Policy, newest: &Revision, older: &[Revision]) -> Vec<(String, u32)> {
    let mut changes: Vec<_> = older
        .iter()
        .filter(|old| old.wanted > 0)
        .map(|old| (old.name.clone(), 0))
        .collect();
    if older.iter().all(|old| old.present == 0) && newest.wanted != policy.replicas {
        changes.push((newest.name.clone(), policy.replicas));
    }
    changes
}

fn rolling_update(policy: &Policy, newest: &Revision, older: &[Revision]) -> Vec<(String, u32)> {
    let total: u32 = newest.wanted + older.iter().map(|old| old.wanted).sum::<u32>();
    if newest.wanted > policy.replicas {
        return vec![(newest.name.clone(), policy.replicas)];
    }
    let room = (policy.replicas + policy.max_surge).saturating_sub(total);
    let growth = room.min(policy.replicas - newest.wanted);
    if growth > 0 {
        return vec![(newest.name.clone(), newest.wanted + growth)];
    }
    let least = policy.replicas.saturating_sub(policy.max_unavailable);
    let newest_missing = newest.wanted.saturating_sub(newest.available);
    let mut budget = total.saturating_sub(least).saturating_sub(newest_missing);
    // Old pods that are not available go first: their removal fails no request.
    let mut wanted: Vec<u32> = older.iter().map(|old| old.wanted).collect();
    for (old, wanted) in older.iter().zip(&mut wanted) {
        let down = old.wanted.saturating_sub(old.available).min(budget);
        *wanted -= down;
        budget -= down;
    }
    let serving = newest.available + older.iter().map(|old| old.available).sum::<u32>();
    let mut spare = serving.saturating_sub(least).min(budget);
    for wanted in &mut wanted {
        let down = (*wanted).min(spare);
        *wanted -= down;
        spare -= down;
    }
    older
        .iter()
        .zip(wanted)
        .filter(|(old, wanted)| old.wanted != *wanted)
        .map(|(old, wanted)| (old.name.clone(), wanted))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, wanted: u32, available: u32) -> Revision {
        Revision {
            name: name.into(),
            wanted,
            available,
            present: wanted,
        }
    }

    fn policy(replicas: u32, max_surge: u32, max_unavailable: u32) -> Policy {
        Policy {
            replicas,
            max_surge,
            max_unavailable,
            recreate: false,
        }
    }

    #[test]
    fn defaults_are_a_quarter_up_and_a_quarter_down() {
        let spec = DeploymentSpec {
            replicas: Some(10),
            ..Default::default()
        };
        assert_eq!(Policy::of(&spec), policy(10, 3, 2));
        assert_eq!(Policy::of(&DeploymentSpec::default()), policy(1, 1, 0));
    }

    #[test]
    fn first_revision_gets_everything_at_once() {
        assert_eq!(
            step(&policy(5, 2, 1), &revision("a", 0, 0), &[]),
            vec![("a".into(), 5)]
        );
    }

    #[test]
    fn single_pod_is_replaced_only_after_the_new_one_serves() {
        let policy = policy(1, 1, 0);
        assert_eq!(
            step(&policy, &revision("b", 0, 0), &[revision("a", 1, 1)]),
            vec![("b".into(), 1)]
        );
        assert!(step(&policy, &revision("b", 1, 0), &[revision("a", 1, 1)]).is_empty());
        assert_eq!(
            step(&policy, &revision("b", 1, 1), &[revision("a", 1, 1)]),
            vec![("a".into(), 0)]
        );
    }

    #[test]
    fn broken_old_pods_are_removed_first() {
        let changes = step(
            &policy(4, 1, 1),
            &revision("c", 1, 0),
            &[revision("a", 2, 0), revision("b", 2, 2)],
        );
        assert_eq!(changes, vec![("a".into(), 1)]);
    }

    #[test]
    fn recreate_waits_for_old_pods_to_be_gone() {
        let policy = Policy {
            recreate: true,
            ..policy(2, 0, 1)
        };
        let mut old = revision("a", 2, 2);
        assert_eq!(
            step(&policy, &revision("b", 0, 0), &[old.clone()]),
            vec![("a".into(), 0)]
        );
        old.wanted = 0;
        assert!(step(&policy, &revision("b", 0, 0), &[old.clone()]).is_empty());
        old.present = 0;
        assert_eq!(
            step(&policy, &revision("b", 0, 0), &[old]),
            vec![("b".into(), 2)]
        );
    }

    #[test]
    fn every_rollout_ends_with_the_newest_revision_and_keeps_its_bounds() {
        for replicas in 0..12 {
            for (surge, unavailable) in [(1, 0), (0, 1), (3, 2), (12, 12)] {
                let policy = policy(replicas, surge, unavailable);
                let mut newest = revision("c", 0, 0);
                let mut older = vec![
                    revision("a", replicas / 3, replicas / 3),
                    revision("b", replicas - replicas / 3, 0),
                ];
                older[1].available = older[1].wanted;
                for _ in 0..200 {
                    for (name, wanted) in step(&policy, &newest, &older) {
                        let target = if name == "c" {
                            &mut newest
                        } else {
                            older.iter_mut().find(|old| old.name == name).unwrap()
                        };
                        target.wanted = wanted;
                        target.available = target.available.min(wanted);
                    }
                    let total = newest.wanted + older.iter().map(|old| old.wanted).sum::<u32>();
                    let serving =
                        newest.available + older.iter().map(|old| old.available).sum::<u32>();
                    assert!(total <= replicas + surge);
                    assert!(serving + unavailable >= replicas);
                    // One more new pod starts to serve between steps.
                    newest.available = (newest.available + 1).min(newest.wanted);
                }
                assert_eq!(newest.wanted, replicas);
                assert!(older.iter().all(|old| old.wanted == 0));
            }
        }
    }
}
