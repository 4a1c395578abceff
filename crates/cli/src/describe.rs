//! `tombolo describe`: a resource of a control plane with everything around it.

use super::{
    output::Report,
    resource::{Api, Containers, Question},
    run::Run,
};

/// Show resources of a control plane with everything around them.
///
/// That is what they refer to and what refers to them, the routes of a router, the nodes of a route with their
/// weights, the instances of a node and of a service with their health, the services of a namespace.
#[derive(clap::Args)]
#[command(after_help = "\
Kinds: meshes, virtualnodes (vn), virtualrouters (vr), routes, virtualservices (vs),
virtualgateways (vg), gatewayroutes (gr), and of Cloud Map namespaces (ns), services (svc),
instances.

A name that is there several times is told apart by what it is in: front/all, shop/front/all.

Examples:
  tombolo describe virtualnode front
  tombolo describe route shop/front/all
  tombolo describe vr --mesh shop
  tombolo describe service shop.local/front -o json
  tombolo describe arn:aws:appmesh:us-west-2:111122223333:mesh/shop/virtualNode/front")]
pub(crate) struct Describe {
    /// What: a kind, KIND/NAME, or an ARN.
    kind: String,
    /// Which: one name or several; all where absent.
    names: Vec<String>,
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    api: Api,
    #[command(flatten)]
    containers: Containers,
    /// Only resources of this Cloud Map namespace.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// How: sections, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    output: Report,
}

impl Describe {
    pub(crate) fn run(self) -> Result<i32, String> {
        let question = Question {
            api: &self.api,
            run: &self.run,
            containers: &self.containers,
            namespace: self.namespace.as_deref(),
            kind: &self.kind,
            names: &self.names,
        };
        super::runtime()?.block_on(question.describe(self.output))
    }
}
