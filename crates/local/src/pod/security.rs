//! `securityContext`: what a container may do, and what of it cannot be honoured here.
//!
//! Containers have no privilege that they did not ask for: no capability, a read-only view of the machine, no devices
//! ([`tombolo_linux::container`]). So `readOnlyRootFilesystem` takes away `/tmp` alone, and `capabilities.drop` only what
//! `add` gave.

use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, SecurityContext};
use tombolo_kube::FieldPath;
use tombolo_linux::CapabilitySet;
use tombolo_linux::container::Privileges;

/// What a container asks for. A privileged one has every capability.
pub fn privileges(container: &Container) -> Privileges {
    let context = container.security_context.as_ref();
    Privileges {
        capabilities: context.map_or(CapabilitySet::empty(), capabilities),
        no_new_privileges: context
            .is_some_and(|context| context.allow_privilege_escalation == Some(false)),
    }
}

/// Whether not even `/tmp` can be written.
pub fn read_only_root(container: &Container) -> bool {
    let context = container.security_context.as_ref();
    context.is_some_and(|context| context.read_only_root_filesystem == Some(true))
}

fn capabilities(context: &SecurityContext) -> CapabilitySet {
    if context.privileged == Some(true) {
        return CapabilitySet::all();
    }
    let asked = context.capabilities.as_ref();
    let set = |names: Option<&Vec<String>>| {
        let names = names.into_iter().flatten();
        names.fold(CapabilitySet::empty(), |set, name| {
            set | capability(name).unwrap_or(CapabilitySet::empty())
        })
    };
    let added = set(asked.and_then(|asked| asked.add.as_ref()));
    added - set(asked.and_then(|asked| asked.drop.as_ref()))
}

/// A capability by its name, with or without `CAP_`; `ALL` is every one.
fn capability(name: &str) -> Option<CapabilitySet> {
    let upper = name.to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    match name {
        "ALL" => Some(CapabilitySet::all()),
        name => CapabilitySet::from_name(name),
    }
}

/// Whether a container must not run as root.
pub fn must_not_be_root(pod: Option<&PodSpec>, container: &Container) -> bool {
    let own = container.security_context.as_ref();
    let pods = pod.and_then(|spec| spec.security_context.as_ref());
    let own = own.and_then(|context| context.run_as_non_root);
    own.or(pods.and_then(|context| context.run_as_non_root)) == Some(true)
}

/// What of the security contexts of a pod is not honoured, by field. `spec` is the path of its `PodSpec`. With one user
/// (`rootless`), nobody can be somebody else.
pub fn not_honoured(pod: &PodSpec, spec: &FieldPath, rootless: bool) -> Vec<(FieldPath, String)> {
    let mut found = Vec::new();
    if let Some(context) = &pod.security_context {
        let path = spec.clone().field("securityContext");
        for (field, why) in of_pod(context, rootless) {
            found.push((path.clone().field(field), why));
        }
    }
    let lists = [
        (
            "initContainers",
            pod.init_containers.as_deref().unwrap_or_default(),
        ),
        ("containers", &pod.containers[..]),
    ];
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let Some(context) = &container.security_context else {
                continue;
            };
            let path = spec
                .clone()
                .field(list)
                .index(index)
                .field("securityContext");
            for (field, why) in of_container(context, rootless) {
                found.push((path.clone().field(field), why));
            }
        }
    }
    found
}

const ONE_USER: &str =
    "is ignored: without root there is one user, who is root inside of the pod and nobody outside";
const NOT_DONE: &str = "is ignored: Tombolo does not do this";

fn of_pod(context: &PodSecurityContext, rootless: bool) -> Vec<(&'static str, String)> {
    let users = [
        ("runAsUser", context.run_as_user.is_some_and(|uid| uid != 0)),
        (
            "runAsGroup",
            context.run_as_group.is_some_and(|gid| gid != 0),
        ),
        ("runAsNonRoot", context.run_as_non_root == Some(true)),
    ];
    let others = [
        ("fsGroup", context.fs_group.is_some()),
        (
            "fsGroupChangePolicy",
            context.fs_group_change_policy.is_some(),
        ),
        ("supplementalGroups", context.supplemental_groups.is_some()),
        (
            "supplementalGroupsPolicy",
            context.supplemental_groups_policy.is_some(),
        ),
        ("sysctls", context.sysctls.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("windowsOptions", context.windows_options.is_some()),
    ];
    told(&users, &others, rootless)
}

fn of_container(context: &SecurityContext, rootless: bool) -> Vec<(&'static str, String)> {
    let users = [
        ("runAsUser", context.run_as_user.is_some_and(|uid| uid != 0)),
        (
            "runAsGroup",
            context.run_as_group.is_some_and(|gid| gid != 0),
        ),
        ("runAsNonRoot", context.run_as_non_root == Some(true)),
    ];
    let others = [
        (
            "procMount",
            context
                .proc_mount
                .as_deref()
                .is_some_and(|kind| kind != "Default"),
        ),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("windowsOptions", context.windows_options.is_some()),
    ];
    let mut found = told(&users, &others, rootless);
    if context.privileged == Some(true) {
        let why = "gives every capability, but neither devices nor files of this machine to write";
        found.push(("privileged", why.to_owned()));
    }
    let asked = context.capabilities.as_ref();
    let names = asked
        .into_iter()
        .flat_map(|asked| [&asked.add, &asked.drop]);
    for name in names.flatten().flatten() {
        if capability(name).is_none() {
            found.push((
                "capabilities",
                format!("names {name:?}, which is no capability"),
            ));
        }
    }
    found
}

fn told(
    users: &[(&'static str, bool)],
    others: &[(&'static str, bool)],
    rootless: bool,
) -> Vec<(&'static str, String)> {
    let users = users.iter().filter(|(_, is_set)| *is_set && rootless);
    let others = others.iter().filter(|(_, is_set)| *is_set);
    users
        .map(|(field, _)| (*field, ONE_USER.to_owned()))
        .chain(others.map(|(field, _)| (*field, NOT_DONE.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tombolo_kube::Codec;

    fn container(context: serde_json::Value) -> Container {
        Codec::from_json(&json!({"name": "web", "securityContext": context})).unwrap()
    }

    #[test]
    fn nothing_is_given_that_was_not_asked_for() {
        let plain: Container = Codec::from_json(&json!({"name": "web"})).unwrap();
        assert_eq!(privileges(&plain), Privileges::default());
        let full = container(json!({
            "readOnlyRootFilesystem": true,
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN", "CAP_CHOWN", "SYS_TIME"], "drop": ["SYS_TIME"]},
        }));
        let asked = privileges(&full);
        assert!(read_only_root(&full) && asked.no_new_privileges);
        assert_eq!(
            asked.capabilities,
            CapabilitySet::NET_ADMIN | CapabilitySet::CHOWN
        );
        let dropped = json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}});
        assert_eq!(
            privileges(&container(dropped)).capabilities,
            CapabilitySet::empty()
        );
    }

    #[test]
    fn each_field_that_is_not_honoured_is_named() {
        let pod: PodSpec = Codec::from_json(&json!({
            "securityContext": {"fsGroup": 1, "runAsUser": 1000, "sysctls": [{"name": "a", "value": "b"}]},
            "containers": [
                {"name": "a", "securityContext": {"runAsNonRoot": true, "privileged": true, "seccompProfile": {"type": "RuntimeDefault"}}},
                {"name": "b", "securityContext": {"capabilities": {"add": ["FLY"], "drop": ["ALL"]}, "readOnlyRootFilesystem": true}},
            ],
        }))
        .unwrap();
        let fields = |rootless| -> Vec<String> {
            let found = not_honoured(&pod, &FieldPath::from("spec"), rootless);
            found
                .into_iter()
                .map(|(field, _)| field.to_string())
                .collect()
        };
        let always = [
            "spec.securityContext.fsGroup",
            "spec.securityContext.sysctls",
            "spec.containers[0].securityContext.seccompProfile",
            "spec.containers[0].securityContext.privileged",
            "spec.containers[1].securityContext.capabilities",
        ];
        assert_eq!(fields(false), always);
        let rootless = fields(true);
        assert_eq!(rootless.len(), always.len() + 2);
        for field in [
            "spec.securityContext.runAsUser",
            "spec.containers[0].securityContext.runAsNonRoot",
        ] {
            assert!(rootless.iter().any(|found| found == field), "{rootless:?}");
        }
    }
}
