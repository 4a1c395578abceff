//! The Resource Groups Tagging API: `GetResources`, with which generic tools list the tags of App Mesh and Cloud Map
//! resources.
//!
//! Resources without tags are not listed, even if they had tags before (AWS lists those). There are no tag
//! policies, so every resource is compliant.

use crate::{
    call::Call,
    error::ApiError,
    operation::{ANY, RpcOperation, operations, reply},
    wire::Paging,
};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use tombolo_model::{
    Scope, ScopeView,
    appmesh::{Kind, Tag},
    arn,
    cloudmap::tag_list,
};

/// The error code of invalid input.
const INVALID_PARAMETER: &str = "InvalidParameterException";

operations! {
    INVALID_PARAMETER;

    GetResources,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetResources {
    pub(crate) pagination_token: Option<String>,
    pub(crate) tag_filters: Option<Vec<TagFilter>>,
    pub(crate) resources_per_page: Option<i64>,
    pub(crate) tags_per_page: Option<i64>,
    pub(crate) resource_type_filters: Option<Vec<String>>,
    pub(crate) include_compliance_details: Option<bool>,
    pub(crate) exclude_compliant_resources: Option<bool>,
    #[serde(rename = "ResourceARNList")]
    pub(crate) resource_arn_list: Option<Vec<String>>,
}

/// A tag that a resource must have, with one of the values, or with any value if the list is empty. The key is
/// required, although AWS's API model says otherwise.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagFilter {
    pub(crate) key: Option<String>,
    pub(crate) values: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetResourcesOutput {
    /// Empty on the last page, as in AWS.
    pub(crate) pagination_token: String,
    pub(crate) resource_tag_mapping_list: Vec<ResourceTagMapping>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceTagMapping {
    #[serde(rename = "ResourceARN")]
    pub(crate) resource_arn: String,
    #[serde(with = "tag_list")]
    pub(crate) tags: Vec<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compliance_details: Option<ComplianceDetails>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ComplianceDetails {
    pub(crate) compliance_status: bool,
}

const MAX_TOKEN: usize = 2048;
const MAX_FILTERS: usize = 50;
const MAX_VALUES: usize = 20;
const MAX_TYPES: usize = 100;
const MAX_TYPE: usize = 256;
const MAX_ARNS: usize = 100;
const MAX_ARN: usize = 1011;
const MAX_RESOURCES_PER_PAGE: i64 = 100;
const TAGS_PER_PAGE: RangeInclusive<i64> = 100..=500;

/// A resource with tags.
struct Tagged<'a> {
    arn: String,
    /// The resource types that match it: `servicediscovery:service`, or for a member of a mesh the path of types
    /// in its ARN, and the last of them: `appmesh:mesh/virtualNode`, `appmesh:virtualNode`.
    types: [String; 2],
    tags: &'a [Tag],
}

impl RpcOperation for GetResources {
    type Output = GetResourcesOutput;

    fn resource(&self, _: &Scope) -> String {
        ANY.to_owned()
    }

    async fn execute(self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        self.check()?;
        let token = self.pagination_token.as_deref();
        let token = token.filter(|token| !token.is_empty());
        let limits = 1..=MAX_RESOURCES_PER_PAGE;
        let paging = Paging::new("resources", self.resources_per_page, limits, token);
        let mut paging = paging.map_err(|error| invalid(error.to_string()))?;
        let view = call.view();
        let mut found = match view.scope(&call.scope) {
            // Every resource is compliant.
            Some(_) if self.exclude_compliant_resources == Some(true) => Vec::new(),
            Some(scope) => tagged(&call.scope, scope),
            None => Vec::new(),
        };
        found.retain(|resource| self.matches(resource));
        found.sort_unstable_by(|a, b| a.arn.cmp(&b.arn));
        if let Some(max) = self.tags_per_page {
            let count = resources_within_tags(&found, paging.after(), max);
            paging = paging.at_most(count);
        }
        let page = paging.page(found.iter(), |resource| &resource.arn);
        let details = self.include_compliance_details == Some(true);
        let mapping = |resource: &Tagged<'_>| ResourceTagMapping {
            resource_arn: resource.arn.clone(),
            tags: resource.tags.to_vec(),
            compliance_details: details.then_some(ComplianceDetails {
                compliance_status: true,
            }),
        };
        reply::<Self>(&GetResourcesOutput {
            pagination_token: page.next.unwrap_or_default(),
            resource_tag_mapping_list: page.items.into_iter().map(mapping).collect(),
        })
    }
}

impl GetResources {
    fn check(&self) -> Result<(), ApiError> {
        let check = |name: &str, found: usize, unit: &str, bounds: RangeInclusive<usize>| {
            if bounds.contains(&found) {
                return Ok(());
            }
            let (min, max) = (bounds.start(), bounds.end());
            let message = format!("{name}: has {found} {unit}, allowed are {min} to {max}");
            Err(invalid(message))
        };
        let length = |name: &str, text: &str, bounds| {
            check(name, text.chars().count(), "characters", bounds)
        };
        let count = |name: &str, count, bounds| check(name, count, "items", bounds);
        if let Some(token) = &self.pagination_token {
            length("PaginationToken", token, 0..=MAX_TOKEN)?;
        }
        if let Some(filters) = &self.tag_filters {
            count("TagFilters", filters.len(), 0..=MAX_FILTERS)?;
            for filter in filters {
                let key = filter.key.as_deref();
                let key = key.ok_or_else(|| invalid("TagFilters: a filter has no Key"))?;
                length("TagFilters.Key", key, 1..=128)?;
                let values = filter.values.as_deref().unwrap_or_default();
                count("TagFilters.Values", values.len(), 0..=MAX_VALUES)?;
                for value in values {
                    length("TagFilters.Values", value, 0..=256)?;
                }
            }
        }
        if let Some(types) = &self.resource_type_filters {
            count("ResourceTypeFilters", types.len(), 0..=MAX_TYPES)?;
            for kind in types {
                length("ResourceTypeFilters", kind, 0..=MAX_TYPE)?;
            }
        }
        if let Some(count) = self.tags_per_page.filter(|n| !TAGS_PER_PAGE.contains(n)) {
            let message = format!("TagsPerPage: {count} is not between 100 and 500");
            return Err(invalid(message));
        }
        if self.exclude_compliant_resources == Some(true)
            && self.include_compliance_details != Some(true)
        {
            let message = "ExcludeCompliantResources: needs IncludeComplianceDetails";
            return Err(invalid(message));
        }
        let Some(arns) = &self.resource_arn_list else {
            return Ok(());
        };
        count("ResourceARNList", arns.len(), 1..=MAX_ARNS)?;
        for arn in arns {
            length("ResourceARNList", arn, 1..=MAX_ARN)?;
            if !arn.starts_with("arn:") {
                return Err(invalid(format!("ResourceARNList: {arn:?} is not an ARN")));
            }
        }
        let is_given = |token: &Option<String>| token.as_ref().is_some_and(|t| !t.is_empty());
        for (name, is_given) in [
            ("TagFilters", self.tag_filters.is_some()),
            ("ResourceTypeFilters", self.resource_type_filters.is_some()),
            ("ResourcesPerPage", self.resources_per_page.is_some()),
            ("TagsPerPage", self.tags_per_page.is_some()),
            ("PaginationToken", is_given(&self.pagination_token)),
        ] {
            if is_given {
                let message = format!("ResourceARNList: does not go together with {name}");
                return Err(invalid(message));
            }
        }
        Ok(())
    }

    fn matches(&self, resource: &Tagged<'_>) -> bool {
        let is_listed = |arns: &Vec<String>| arns.contains(&resource.arn);
        let is_of_type = |types: &Vec<String>| {
            types.is_empty()
                || types.iter().any(|requested| {
                    let service = resource.types[0].split(':').next();
                    Some(requested.as_str()) == service || resource.types.contains(requested)
                })
        };
        let carries = |filter: &TagFilter| {
            let of_key = |tag: &&Tag| Some(&tag.key) == filter.key.as_ref();
            let values = filter.values.as_deref().unwrap_or_default();
            let own = resource.tags.iter().find(of_key);
            own.is_some_and(|own| values.is_empty() || values.contains(&own.value))
        };
        self.resource_arn_list.as_ref().is_none_or(is_listed)
            && self.resource_type_filters.as_ref().is_none_or(is_of_type)
            && self.tag_filters.iter().flatten().all(carries)
    }
}

/// The number of resources after a key that have at most `max` tags in total; at least 1, because the tags of a
/// resource are not split across pages.
fn resources_within_tags(sorted: &[Tagged<'_>], after: Option<&str>, max: i64) -> usize {
    let mut rest = usize::try_from(max).unwrap_or_default();
    let is_after = |resource: &&Tagged<'_>| after.is_none_or(|after| *resource.arn > *after);
    let fits = |resource: &&Tagged<'_>| {
        let fits = resource.tags.len() <= rest;
        rest = rest.saturating_sub(resource.tags.len());
        fits
    };
    sorted
        .iter()
        .filter(is_after)
        .take_while(fits)
        .count()
        .max(1)
}

/// All resources of a scope that have tags.
fn tagged<'a>(scope: &Scope, view: &'a ScopeView) -> Vec<Tagged<'a>> {
    let meshes = view.meshes();
    let resources = meshes.flat_map(|mesh| {
        let members = view.mesh_members(&mesh.key.name);
        std::iter::once(mesh).chain(members)
    });
    let of_meshes = resources.map(|resource| {
        let key = &resource.key;
        let path = match (key.kind, key.kind.parent()) {
            (Kind::Mesh, _) => "mesh".to_owned(),
            (kind, None) => format!("mesh/{}", kind.path_segment()),
            (kind, Some(parent)) => {
                format!("mesh/{}/{}", parent.path_segment(), kind.path_segment())
            }
        };
        let last = path.rsplit('/').next().unwrap_or_default();
        Tagged {
            arn: resource.metadata.arn.clone(),
            types: [format!("appmesh:{path}"), format!("appmesh:{last}")],
            tags: &resource.tags,
        }
    });
    let of_registry = |arn: String, kind: &str, tags: &'a [Tag]| {
        let kind = format!("servicediscovery:{kind}");
        Tagged {
            arn,
            types: [kind.clone(), kind],
            tags,
        }
    };
    let namespaces = view.namespaces().map(|namespace| {
        let arn = arn::of_namespace(scope, &namespace.id);
        of_registry(arn, "namespace", &namespace.tags)
    });
    let services = view.services().map(|service| {
        let arn = arn::of_service(scope, &service.id);
        of_registry(arn, "service", &service.tags)
    });
    let all = of_meshes.chain(namespaces).chain(services);
    all.filter(|resource| !resource.tags.is_empty()).collect()
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(INVALID_PARAMETER, message)
}
