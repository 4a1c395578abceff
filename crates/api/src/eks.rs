//! EKS `DescribeCluster` and `ListClusters`, for the clusters that the operator lists: controllers and scripts ask for
//! a cluster's family of addresses and its OpenID Connect issuer before they do anything else.
//!
//! ```yaml
//! clusters:
//!   - name: cluster1
//!     version: "1.34"                              # optional
//!     endpoint: https://10.0.0.10:6443             # optional: of its API server
//!     certificate-authority-data: LS0t…            # optional: base64, as in a kubeconfig
//!     issuer: https://oidc.example/cluster1        # optional: of its service accounts' tokens
//!     ip-family: ipv4                              # this one when absent; else ipv6
//!     service-cidr: 10.96.0.0/16                   # optional: of its Services' addresses
//! ```

use crate::{
    call::Call,
    error::ApiError,
    hot_reload::{FileError, HotReload},
    operation::ANY,
    wire::{json, percent},
};
use http::{Method, StatusCode, request::Parts};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, path::Path, sync::Arc};
use tombolo_document::{Limits, decode, yaml};
use tombolo_model::{FieldPath, Scope};

/// The path under which clusters are.
pub(crate) const PATH: &str = "/clusters";
/// What one page of a list holds at AWS: more are not listed here.
const MAX_CLUSTERS: usize = 100;
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    documents: 1,
    nodes: 10_000,
    depth: 8,
    aliases: true,
};

/// The clusters of a file, as it was when it was last right. Clones share them.
#[derive(Clone)]
pub struct Clusters(HotReload<Vec<Cluster>, 1>);

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    name: String,
    version: Option<String>,
    endpoint: Option<String>,
    certificate_authority_data: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    ip_family: IpFamily,
    service_cidr: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IpFamily {
    #[default]
    Ipv4,
    Ipv6,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clusters: Vec<Cluster>,
}

impl Clusters {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        HotReload::open([path], read).map(Self)
    }

    /// Reloads the file whenever it changes, and never returns. If the new version is not valid, the error is
    /// logged and the clusters stay the same.
    pub async fn reload_on_change(self) {
        self.0.reload_on_change().await;
    }

    /// The clusters as they are now.
    pub(crate) fn list(&self) -> Arc<Vec<Cluster>> {
        self.0.load()
    }
}

fn read([(path, bytes)]: [(&Path, &[u8]); 1]) -> Result<Vec<Cluster>, FileError> {
    let at = |line: usize, message: &str| {
        FileError::invalid(format!("{}:{line}", path.display()), message)
    };
    let text = std::str::from_utf8(bytes).map_err(|_| at(1, "the file is not text (UTF-8)"))?;
    let (documents, error) = yaml::read(text, &LIMITS);
    if let Some(error) = error {
        return Err(at(error.line, &error.message));
    }
    let [document] = documents.as_slice() else {
        return Err(at(1, "the file must hold one document with 'clusters:'"));
    };
    let file: Result<File, _> = decode(&document.value).map(|decoded| decoded.value);
    let File { clusters } =
        file.map_err(|error| at(document.lines.of(&error.field), &error.to_string()))?;
    let mut names = HashSet::new();
    for (i, cluster) in clusters.iter().enumerate() {
        let line = document
            .lines
            .of(&FieldPath::root().field("clusters").index(i));
        if !is_name(&cluster.name) {
            let why = "a name has 1 to 100 letters, digits, '-' and '_', and begins with a letter or digit";
            return Err(at(line, why));
        }
        if !names.insert(&cluster.name) {
            return Err(at(line, &format!("{:?} is given twice", cluster.name)));
        }
        if i >= MAX_CLUSTERS {
            return Err(at(line, "more than 100 clusters"));
        }
    }
    Ok(clusters)
}

fn is_name(name: &str) -> bool {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    (1..=100).contains(&name.len())
        && name.chars().all(is_legal)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The operations of EKS that are answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    DescribeCluster { name: String },
    ListClusters,
}

impl Operation {
    /// The names of all operations.
    pub(crate) const NAMES: &'static [&'static str] = &["DescribeCluster", "ListClusters"];

    /// Reads a request by its path.
    pub(crate) fn read(request: &Parts) -> Result<Self, ApiError> {
        let path = request.uri.path();
        let rest = path.strip_prefix(PATH).unwrap_or_default();
        if request.method == Method::GET {
            if rest.is_empty() {
                return Ok(Self::ListClusters);
            }
            let name = rest.strip_prefix('/').filter(|name| !name.contains('/'));
            if let Some(name) = name.and_then(percent::decode) {
                return Ok(Self::DescribeCluster {
                    name: name.into_owned(),
                });
            }
        }
        let why = format!(
            "of eks, only DescribeCluster and ListClusters are here, not {} {path}",
            request.method
        );
        Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "UnknownOperationException",
            why,
        ))
    }

    /// The name, as in policies.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::DescribeCluster { .. } => "DescribeCluster",
            Self::ListClusters => "ListClusters",
        }
    }

    /// The ARN of what it is about.
    pub(crate) fn resource(&self, scope: &Scope) -> String {
        match self {
            Self::DescribeCluster { name } => arn(scope, name),
            Self::ListClusters => ANY.to_owned(),
        }
    }

    /// Carries it out; answers with the JSON of its output.
    pub(crate) fn execute(&self, call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
        match self {
            Self::ListClusters => {
                let clusters = call.clusters.iter();
                let clusters = clusters.map(|cluster| cluster.name.as_str()).collect();
                Ok(json::write(&ListClustersOutput { clusters }))
            }
            Self::DescribeCluster { name } => {
                let mut clusters = call.clusters.iter();
                let found = clusters.find(|cluster| cluster.name == *name);
                let cluster = found.ok_or_else(|| {
                    let message = format!("No cluster found for name: {name}.");
                    let code = "ResourceNotFoundException";
                    ApiError::new(StatusCode::NOT_FOUND, code, message)
                })?;
                let cluster = cluster.describe(&call.scope);
                Ok(json::write(&DescribeClusterOutput { cluster }))
            }
        }
    }
}

fn arn(scope: &Scope, name: &str) -> String {
    format!(
        "arn:aws:eks:{}:{}:cluster/{name}",
        scope.region, scope.account
    )
}

#[derive(Serialize)]
struct ListClustersOutput<'a> {
    clusters: Vec<&'a str>,
}

#[derive(Serialize)]
struct DescribeClusterOutput<'a> {
    cluster: Description<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    name: &'a str,
    arn: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    kubernetes_network_config: NetworkConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_authority: Option<CertificateAuthority<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkConfig<'a> {
    ip_family: IpFamily,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_ipv4_cidr: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_ipv6_cidr: Option<&'a str>,
}

#[derive(Serialize)]
struct Identity<'a> {
    oidc: Oidc<'a>,
}

#[derive(Serialize)]
struct Oidc<'a> {
    issuer: &'a str,
}

#[derive(Serialize)]
struct CertificateAuthority<'a> {
    data: &'a str,
}

impl Cluster {
    fn describe(&self, scope: &Scope) -> Description<'_> {
        let cidr = |family| {
            self.service_cidr
                .as_deref()
                .filter(|_| self.ip_family == family)
        };
        let data = self.certificate_authority_data.as_deref();
        let issuer = self.issuer.as_deref();
        Description {
            name: &self.name,
            arn: arn(scope, &self.name),
            status: "ACTIVE",
            version: self.version.as_deref(),
            endpoint: self.endpoint.as_deref(),
            kubernetes_network_config: NetworkConfig {
                ip_family: self.ip_family,
                service_ipv4_cidr: cidr(IpFamily::Ipv4),
                service_ipv6_cidr: cidr(IpFamily::Ipv6),
            },
            identity: issuer.map(|issuer| Identity {
                oidc: Oidc { issuer },
            }),
            certificate_authority: data.map(|data| CertificateAuthority { data }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn file(text: &str) -> Result<Vec<Cluster>, String> {
        read([(Path::new("clusters.yaml"), text.as_bytes())]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_described_as_the_file_says() {
        let clusters = file(
            "clusters:\n\
             - { name: one, ip-family: ipv6, service-cidr: 'fd00::/108', issuer: 'https://oidc.example/1' }\n\
             - { name: two }\n",
        );
        let clusters = clusters.expect("a good file");
        let scope = Scope::parse("111122223333", "us-west-2").expect("a scope");
        let shown = |i: usize| serde_json::to_value(clusters[i].describe(&scope)).expect("text");
        assert_eq!(
            shown(0),
            serde_json::json!({
                "name": "one", "arn": "arn:aws:eks:us-west-2:111122223333:cluster/one", "status": "ACTIVE",
                "kubernetesNetworkConfig": {"ipFamily": "ipv6", "serviceIpv6Cidr": "fd00::/108"},
                "identity": {"oidc": {"issuer": "https://oidc.example/1"}},
            })
        );
        assert_eq!(
            shown(1)["kubernetesNetworkConfig"],
            serde_json::json!({"ipFamily": "ipv4"})
        );
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (text, expected) in [
            (
                "clusters:\n- { name: a }\n- { name: a }\n",
                "clusters.yaml:3: \"a\" is given twice",
            ),
            (
                "clusters:\n- { name: a/b }\n",
                "clusters.yaml:2: a name has",
            ),
            (
                "clusters:\n- { name: a, ip-family: ipv5 }\n",
                "clusters.yaml:2",
            ),
            ("clusters:\n- { name: a, colour: red }\n", "clusters.yaml:2"),
            ("", "clusters.yaml:1: the file must hold one document"),
        ] {
            let error = file(text).expect_err(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn only_reads_are_there() {
        let read = |method: Method, path: &str| {
            let request = Request::builder().method(method).uri(path).body(());
            Operation::read(&request.expect("a request").into_parts().0)
        };
        let describe = |name: &str| Operation::DescribeCluster { name: name.into() };
        assert_eq!(
            read(Method::GET, "/clusters/a-1").ok(),
            Some(describe("a-1"))
        );
        assert_eq!(
            read(Method::GET, "/clusters?maxResults=1").ok(),
            Some(Operation::ListClusters)
        );
        for (method, path) in [
            (Method::POST, "/clusters"),
            (Method::DELETE, "/clusters/a"),
            (Method::GET, "/clusters/a/addons"),
            (Method::GET, "/clusters/%ff"),
        ] {
            assert!(read(method, path).is_err(), "{path}");
        }
    }
}
