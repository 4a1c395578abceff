//! `tombolo network`: the rules between clusters.

use crate::{
    error::{Error, Result},
    local::RunArgs,
    output::{ReportFormat, print_value},
    table::Table,
    terminal,
};
use tombolo_local::{control_socket::PortRule, parse_ports};

/// Show or change which ports clusters let in from each other.
#[derive(clap::Args)]
pub struct Network {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show the rules, one line for each pair of clusters.
    List(List),
    /// Let one cluster reach a port of another.
    Allow(Rule),
    /// Refuse it, also where a virtual node listens there.
    Deny(Rule),
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    run: RunArgs,
    /// How: a table, JSON or YAML.
    #[arg(short, long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
}

#[derive(clap::Args)]
struct Rule {
    /// The cluster that calls.
    #[arg(long, value_name = "CLUSTER")]
    from: String,
    /// The cluster that is called.
    #[arg(long, value_name = "CLUSTER")]
    to: String,
    /// A port, or a range: 8080 or 8080-8090.
    #[arg(long, value_name = "PORTS")]
    port: String,
    #[command(flatten)]
    run: RunArgs,
}

impl Network {
    /// Shows or changes rules.
    ///
    /// # Errors
    /// A cluster does not exist, or no run answers.
    pub fn run(self) -> Result<i32> {
        crate::block_on(async {
            match self.action {
                Action::List(list) => list.run().await?,
                Action::Allow(rule) => {
                    rule.run.client()?.allow(&rule.opening()?).await?;
                    rule.show("may")?;
                }
                Action::Deny(rule) => {
                    rule.run.client()?.deny(&rule.opening()?).await?;
                    rule.show("may no longer")?;
                }
            }
            Ok(0)
        })
    }
}

impl Rule {
    fn opening(&self) -> Result<PortRule> {
        let ports = parse_ports(&self.port).ok_or_else(|| {
            let port = &self.port;
            Error::usage(format!("--port {port}: give a port or a range, like 8080"))
        })?;
        Ok(PortRule {
            from: self.from.clone(),
            to: self.to.clone(),
            ports,
        })
    }

    fn show(&self, may: &str) -> Result<()> {
        let Self { from, to, port, .. } = self;
        terminal::print(format_args!("{from} {may} reach port {port} of {to}\n"))
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let rules = self.run.client()?.rules().await?;
        if let Some(form) = self.output.data() {
            let json = serde_json::to_value(&rules)?;
            return print_value(form, &json);
        }
        let mut table = Table::new(["FROM", "TO", "OPEN", "AUTO", "ALLOWED", "DENIED"]);
        for rule in rules {
            table.push([
                rule.from,
                rule.to,
                rule.open,
                rule.auto,
                rule.allowed,
                rule.denied,
            ]);
        }
        terminal::print(table)
    }
}
