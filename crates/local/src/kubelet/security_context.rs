//! `securityContext`: the privileges of a container, and the fields that are not honoured.
//!
//! Containers have no privilege that they did not request: no capability, a read-only view of the machine, no devices
//! ([`tombolo_linux::container`]). So `readOnlyRootFilesystem` only affects `/tmp`, and `capabilities.drop` only
//! removes capabilities of `add`.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SecurityContext};
use tombolo_kube::{FieldPath, PodSpecExt, Violation};
use tombolo_linux::CapabilitySet;
use tombolo_linux::container::Privileges;

/// The privileges that a container requests. A privileged one has every capability.
pub(super) fn privileges(container: &Container) -> Privileges {
    let context = container.security_context.as_ref();
    Privileges {
        capabilities: context.map_or(CapabilitySet::empty(), capabilities),
        no_new_privileges: context
            .is_some_and(|context| context.allow_privilege_escalation == Some(false)),
    }
}

/// Whether `/tmp` is read-only too.
pub(super) fn read_only_root(container: &Container) -> bool {
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
pub(super) fn must_not_be_root(pod: &Pod, container: &Container) -> bool {
    let pods = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let pods = pods.and_then(|context| context.run_as_non_root);
    let own = container.security_context.as_ref();
    let own = own.and_then(|context| context.run_as_non_root);
    own.or(pods) == Some(true)
}

/// The fields of the security contexts of a pod that are not honoured. `path` is the path of its spec. Without root
/// (`rootless`) only one user exists.
pub(super) fn not_honoured(pod: &PodSpec, path: &FieldPath, rootless: bool) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut add = |path: FieldPath, fields: Vec<(&'static str, String)>| {
        let path = path.field("securityContext");
        let violation = |(field, why)| Violation::new(path.clone().field(field), why);
        found.extend(fields.into_iter().map(violation));
    };
    if let Some(context) = &pod.security_context {
        add(path.clone(), of_pod(context, rootless));
    }
    for (list, index, container) in pod.all_containers() {
        if let Some(context) = &container.security_context {
            let path = path.clone().field(list).index(index);
            add(path, of_container(context, rootless));
        }
    }
    found
}

const ONE_USER: &str =
    "is ignored: without root there is one user, who is root inside of the pod and nobody outside";
const NOT_DONE: &str = "is ignored: Tombolo does not do this";

/// The fields of a security context that select a user other than root while only one user exists, and those of
/// `$field` that are set.
macro_rules! ignored {
    ($context:ident, $rootless:ident, $($field:literal $is_set:expr,)+) => {{
        let users = [
            ("runAsUser", $context.run_as_user.is_some_and(|uid| uid != 0)),
            ("runAsGroup", $context.run_as_group.is_some_and(|gid| gid != 0)),
            ("runAsNonRoot", $context.run_as_non_root == Some(true)),
        ];
        let users = users.into_iter().filter(|(_, is_set)| *is_set && $rootless);
        let others = [
            $(($field, $is_set),)+
            ("seccompProfile", $context.seccomp_profile.is_some()),
            ("appArmorProfile", $context.app_armor_profile.is_some()),
            ("seLinuxOptions", $context.se_linux_options.is_some()),
            ("windowsOptions", $context.windows_options.is_some()),
        ];
        let others = others.into_iter().filter(|(_, is_set)| *is_set);
        let others = others.map(|(field, _)| (field, NOT_DONE.to_owned()));
        users.map(|(field, _)| (field, ONE_USER.to_owned())).chain(others).collect()
    }};
}

fn of_pod(context: &PodSecurityContext, rootless: bool) -> Vec<(&'static str, String)> {
    ignored!(
        context,
        rootless,
        "fsGroup" context.fs_group.is_some(),
        "fsGroupChangePolicy" context.fs_group_change_policy.is_some(),
        "supplementalGroups" context.supplemental_groups.is_some(),
        "supplementalGroupsPolicy" context.supplemental_groups_policy.is_some(),
        "sysctls" context.sysctls.is_some(),
    )
}

fn of_container(context: &SecurityContext, rootless: bool) -> Vec<(&'static str, String)> {
    let proc_mount = context.proc_mount.as_deref();
    let mut found: Vec<(&'static str, String)> = ignored!(
        context,
        rootless,
        "procMount" proc_mount.is_some_and(|kind| kind != "Default"),
    );
    if context.privileged == Some(true) {
        let why = "gives every capability, but neither devices nor files of this machine to write";
        found.push(("privileged", why.to_owned()));
    }
    let asked = context.capabilities.clone().unwrap_or_default();
    for name in [asked.add, asked.drop].into_iter().flatten().flatten() {
        if capability(&name).is_none() {
            let why = format!("names {name:?}, which is no capability");
            found.push(("capabilities", why));
        }
    }
    found
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
                .iter()
                .map(|violation| violation.field.to_string())
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
