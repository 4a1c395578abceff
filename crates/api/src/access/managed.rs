//! The AWS managed policies that allow actions of the supported services.

/// The names and actions of the policies, each on every resource.
const POLICIES: &[(&str, &[&str])] = &[
    ("AdministratorAccess", &["*"]),
    (
        "AWSAppMeshFullAccess",
        &[
            "appmesh:Create*",
            "appmesh:Delete*",
            "appmesh:Describe*",
            "appmesh:List*",
            "appmesh:TagResource",
            "appmesh:UntagResource",
            "appmesh:Update*",
        ],
    ),
    (
        "AWSAppMeshReadOnly",
        &["appmesh:Describe*", "appmesh:List*"],
    ),
    (
        "AWSAppMeshEnvoyAccess",
        &["appmesh:StreamAggregatedResources"],
    ),
    ("AWSCloudMapFullAccess", &["servicediscovery:*"]),
    (
        "AWSCloudMapReadOnlyAccess",
        &[
            "servicediscovery:DiscoverInstances*",
            "servicediscovery:Get*",
            "servicediscovery:List*",
        ],
    ),
    ("ResourceGroupsandTagEditorReadOnlyAccess", &["tag:Get*"]),
    (
        "AWSCloudMapDiscoverInstanceAccess",
        &["servicediscovery:DiscoverInstances*"],
    ),
    (
        "AWSCloudMapRegisterInstanceAccess",
        &[
            "servicediscovery:DeregisterInstance",
            "servicediscovery:DiscoverInstances*",
            "servicediscovery:Get*",
            "servicediscovery:List*",
            "servicediscovery:RegisterInstance",
        ],
    ),
];

/// The actions of a managed policy; `None` if there is no such policy.
pub(super) fn actions(name: &str) -> Option<&'static [&'static str]> {
    let found = POLICIES.iter().find(|(policy, _)| *policy == name);
    found.map(|(_, actions)| *actions)
}

/// The names of all managed policies.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    POLICIES.iter().map(|(name, _)| *name)
}
