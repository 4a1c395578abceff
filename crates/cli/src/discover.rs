//! `tombolo discover`: the instances of a service.

use crate::{
    backend::Found,
    control_plane::ApiArgs,
    error::{Error, Result},
    get::Layout,
    local::RunArgs,
    output::Format,
    resource::{
        self,
        id::Id,
        view::{Details, ResourceView},
    },
};
use std::collections::BTreeMap;
use tombolo_api::client::{Discover as Question, Discovered, Instance};
use tombolo_model::cloudmap::Health;

/// Find instances of a service in the registry, as `aws servicediscovery discover-instances` does.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  tombolo discover color.pvt.local colorapp version=blue")]
pub struct Discover {
    /// The Cloud Map namespace.
    namespace: String,
    /// The service in it.
    service: String,
    /// Only instances with these attributes.
    #[arg(value_name = "KEY=VALUE")]
    attributes: Vec<String>,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    api: ApiArgs,
    /// How: table, wide (with all attributes), json, yaml, name or jsonpath=TEMPLATE.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

impl Discover {
    /// Prints the instances.
    ///
    /// # Errors
    /// The service does not exist, or there is no answer.
    pub fn run(self) -> Result<i32> {
        let mut question = Question::new(&self.namespace, &self.service);
        for pair in &self.attributes {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("{pair:?} is not KEY=VALUE, like version=blue"))
            })?;
            question.query.insert(key.to_owned(), value.to_owned());
        }
        crate::block_on(async {
            let client = self.api.server(&self.run).await?.client()?;
            let mut instances = client.discover(&question).await?;
            // The API answers in random order; sorted output can be compared.
            instances.sort_by(|a, b| a.id.cmp(&b.id));
            let views = instances.into_iter().map(|instance| self.view(instance));
            let found = Found {
                objects: views.map(|view| resource::object(&view)).collect(),
                ..Found::default()
            };
            Layout::of(&self.output).print(&found)?;
            Ok(0)
        })
    }

    fn view(&self, instance: Discovered) -> ResourceView {
        let health = match instance.health {
            Some(Health::Healthy) => "HEALTHY",
            Some(Health::Unhealthy) => "UNHEALTHY",
            None => "UNKNOWN",
        };
        ResourceView {
            id: Id::Instance {
                namespace: self.namespace.clone(),
                service: self.service.clone(),
                name: instance.id.clone(),
            },
            tags: BTreeMap::new(),
            details: Details::Instance {
                service_id: String::new(),
                instance: Instance {
                    id: instance.id,
                    attributes: instance.attributes,
                },
                health: health.into(),
            },
        }
    }
}
