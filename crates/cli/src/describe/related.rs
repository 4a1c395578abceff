//! Resources related to a resource: its references, its referrers, its children, and its instances.

use super::{Description, Link};
use crate::{
    columns,
    resource::{
        self,
        filter::Filter,
        id::Id,
        kind::Kind,
        lookup::Lookup,
        view::{Details, ResourceView},
    },
};
use tombolo_api::client::{Error, Service};
use tombolo_model::appmesh::{
    self, ResourceKey, Spec,
    spec::virtual_node::{CloudMapDiscovery, ServiceDiscovery},
};

type Result<T> = std::result::Result<T, Error>;

/// A table of children or instances.
pub(super) struct Table {
    pub(super) title: &'static str,
    /// The name of the member in JSON.
    pub(super) member: &'static str,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) async fn describe(lookup: &Lookup, found: ResourceView) -> Result<Description> {
    Ok(Description {
        refers_to: refers_to(lookup, &found).await?,
        referred_to_by: referred_to_by(lookup, &found.id).await?,
        tables: tables(lookup, &found).await?,
        found,
    })
}

async fn refers_to(lookup: &Lookup, found: &ResourceView) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for reference in found.references() {
        let state = if_visible(state(lookup, &reference.target).await)?;
        links.push(Link {
            state: state.or_else(|| Some("not visible with these credentials".into())),
            ..Link::new(reference.role, &reference.target, reference.weight)
        });
    }
    Ok(links)
}

/// `None` for a resource of another API that the caller may not see.
fn if_visible<T>(seen: Result<T>) -> Result<Option<T>> {
    match seen {
        Err(error) if error.code() == Some("AccessDeniedException") => Ok(None),
        seen => seen.map(Some),
    }
}

/// The state of a reference's target.
async fn state(lookup: &Lookup, target: &Id) -> Result<String> {
    let Some(found) = lookup.find(target).await? else {
        return Ok("missing".into());
    };
    let instances = match (target, &found.details, found.spec()) {
        (Id::Service { namespace, .. }, Details::Service { service, .. }, _) => {
            lookup.instances(namespace, service).await?
        }
        (_, _, Some(Spec::VirtualNode(spec))) => match &spec.service_discovery {
            None => return Ok("without service discovery".into()),
            Some(ServiceDiscovery::Dns(dns)) => {
                return Ok(format!("found by DNS: {}", dns.hostname));
            }
            Some(ServiceDiscovery::AwsCloudMap(discovery)) => {
                match instances_of_node(lookup, discovery).await? {
                    Some(instances) => instances,
                    None => return Ok("its Cloud Map service is missing".into()),
                }
            }
        },
        _ => return Ok("there".into()),
    };
    Ok(healthy(&instances))
}

/// `2 of 3 instances healthy`.
fn healthy(instances: &[ResourceView]) -> String {
    let all = instances.len();
    let count = |desired: &str| {
        let is = |found: &&ResourceView| matches!(&found.details, Details::Instance { health, .. } if health == desired);
        instances.iter().filter(is).count()
    };
    match count("UNKNOWN") {
        0 => format!("{} of {all} instances healthy", count("HEALTHY")),
        _ => format!("{all} instances, health not checked"),
    }
}

/// The instances of a virtual node; none when their service does not exist.
async fn instances_of_node(
    lookup: &Lookup,
    discovery: &CloudMapDiscovery,
) -> Result<Option<Vec<ResourceView>>> {
    let (namespace, name) = (&discovery.namespace_name, &discovery.service_name);
    let Some(service) = lookup.service(namespace, name).await? else {
        return Ok(None);
    };
    let mut instances = lookup.instances(namespace, &service).await?;
    instances.retain(|found| {
        let Details::Instance { instance, .. } = &found.details else {
            return false;
        };
        let mut desired = discovery.attributes.iter().flatten();
        desired.all(|pair| instance.attributes.get(&pair.key) == Some(&pair.value))
    });
    Ok(Some(instances))
}

async fn referred_to_by(lookup: &Lookup, id: &Id) -> Result<Option<Vec<Link>>> {
    let kinds: &[appmesh::Kind] = match id.kind() {
        Kind::Service => &[appmesh::Kind::VirtualNode],
        Kind::Mesh(appmesh::Kind::VirtualNode) => {
            &[appmesh::Kind::Route, appmesh::Kind::VirtualService]
        }
        Kind::Mesh(appmesh::Kind::VirtualRouter) => &[appmesh::Kind::VirtualService],
        Kind::Mesh(appmesh::Kind::VirtualService) => {
            &[appmesh::Kind::VirtualNode, appmesh::Kind::GatewayRoute]
        }
        _ => return Ok(None),
    };
    let filter = Filter {
        mesh: match id {
            Id::Mesh(key) => Some(key.mesh.to_string()),
            _ => None,
        },
        ..Filter::default()
    };
    let mut links = Vec::new();
    for kind in kinds {
        let found = if_visible(lookup.list(Kind::Mesh(*kind), &filter, None).await)?;
        for found in found.unwrap_or_default() {
            let references = found.references().into_iter();
            let references = references.filter(|it| it.target == *id);
            links.extend(references.map(|it| Link::new(it.role, &found.id, it.weight)));
        }
    }
    Ok(Some(links))
}

async fn tables(lookup: &Lookup, found: &ResourceView) -> Result<Vec<Table>> {
    match (&found.id, &found.details) {
        (Id::Namespace { name }, _) => {
            let filter = Filter {
                namespace: Some(name.clone()),
                ..Filter::default()
            };
            let services = lookup.list(Kind::Service, &filter, None).await?;
            Ok(vec![listed(
                "Services",
                "services",
                Kind::Service,
                &services,
            )])
        }
        (Id::Service { namespace, name }, Details::Service { service, .. }) => {
            let instances = lookup.instances(namespace, service).await?;
            Ok(vec![
                records(namespace, name, service),
                listed("Instances", "instances", Kind::Instance, &instances),
            ])
        }
        (Id::Mesh(key), _) => of_mesh(lookup, key, found.spec()).await,
        _ => Ok(Vec::new()),
    }
}

async fn of_mesh(lookup: &Lookup, key: &ResourceKey, spec: Option<&Spec>) -> Result<Vec<Table>> {
    let children = |kind| lookup.members_of(&key.mesh, kind, &key.name);
    Ok(match (key.kind, spec) {
        (appmesh::Kind::Mesh, _) => vec![members(lookup, &key.name).await?],
        (appmesh::Kind::VirtualRouter, _) => {
            let kind = appmesh::Kind::Route;
            let routes = children(kind).await?;
            vec![listed("Routes", "routes", Kind::Mesh(kind), &routes)]
        }
        (appmesh::Kind::VirtualGateway, _) => {
            let kind = appmesh::Kind::GatewayRoute;
            let routes = children(kind).await?;
            vec![listed(
                "Gateway routes",
                "gatewayRoutes",
                Kind::Mesh(kind),
                &routes,
            )]
        }
        (_, Some(Spec::VirtualNode(spec))) => match &spec.service_discovery {
            Some(ServiceDiscovery::AwsCloudMap(discovery)) => {
                let instances = if_visible(instances_of_node(lookup, discovery).await)?;
                let instances = instances.flatten().unwrap_or_default();
                vec![listed("Instances", "instances", Kind::Instance, &instances)]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    })
}

/// The number of resources of each kind in a mesh.
async fn members(lookup: &Lookup, mesh: &str) -> Result<Table> {
    let mut rows = Vec::new();
    for kind in appmesh::Kind::ALL {
        if kind != appmesh::Kind::Mesh {
            let count = lookup.count(mesh, kind).await?;
            rows.push(vec![kind.as_str().to_owned(), count.to_string()]);
        }
    }
    Ok(Table {
        title: "Resources",
        member: "resources",
        header: vec!["KIND", "COUNT"],
        rows,
    })
}

/// The DNS records of a service.
fn records(namespace: &str, name: &str, service: &Service) -> Table {
    let row = |record: &tombolo_model::cloudmap::DnsRecord| {
        let kind = format!("{:?}", record.kind);
        vec![format!("{name}.{namespace}"), kind, record.ttl.to_string()]
    };
    let records = service.dns_config.iter().flat_map(|dns| &dns.dns_records);
    Table {
        title: "DNS records",
        member: "dnsRecords",
        header: vec!["NAME", "TYPE", "TTL"],
        rows: records.map(row).collect(),
    }
}

/// The table of `tombolo get`, without the columns that are equal in all rows.
fn listed(title: &'static str, member: &'static str, kind: Kind, all: &[ResourceView]) -> Table {
    let containers = Id::containers(kind).len();
    let columns = columns::aws::of(kind).iter().enumerate();
    let is_shown = |at: usize| !(1..=containers).contains(&at);
    let columns = columns.filter(|(at, column)| !column.is_wide && is_shown(*at));
    let columns: Vec<_> = columns.map(|(_, column)| column).collect();
    let row = |found: &ResourceView| {
        let object = resource::object(found);
        columns.iter().map(|column| column.cell(&object)).collect()
    };
    Table {
        title,
        member,
        header: columns.iter().map(|column| column.name).collect(),
        rows: all.iter().map(row).collect(),
    }
}
