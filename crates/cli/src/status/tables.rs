//! The tables of `tombolo status`.

use super::StatusReport;
use crate::{
    table::Table,
    terminal::{bounded_line, escaped_line},
};
use std::fmt::Write as _;
use tombolo_local::control_socket::Status as RunStatus;
use tombolo_operator::{ProxyStatus, Status, StoreStatus};

/// All tables, without the problems.
pub(super) fn all(report: &StatusReport) -> String {
    let run = report.run.as_ref().map(run).unwrap_or_default();
    run + &match &report.control_plane {
        Ok(status) => control_plane(status),
        Err(_) => "CONTROL PLANE  does not answer\n\n".into(),
    }
}

fn run(run: &RunStatus) -> String {
    let info = &run.info;
    let mut out = format!(
        "RUN            {} ({} sidecars, {})\n\
         AWS APIS       {}  account {}  region {}\n",
        info.name, info.proxy, info.mode, info.api, info.account, info.region
    );
    for balancer in &info.load_balancers {
        let _ = writeln!(
            out,
            "LOAD BALANCER  http://{}  {}/{} port {} of {}",
            balancer.address, balancer.namespace, balancer.service, balancer.port, balancer.cluster
        );
    }
    out.push('\n');
    if run.workloads.is_empty() {
        return out;
    }
    let mut table = Table::new(["WORKLOAD", "NAMESPACE", "READY", "WAITING", "CLUSTER"]);
    for workload in &run.workloads {
        table.push([
            workload.object.clone(),
            workload.namespace.clone(),
            format!("{}/{}", workload.ready, workload.total),
            workload.waiting.clone().unwrap_or_default(),
            workload.cluster.clone(),
        ]);
    }
    let _ = writeln!(out, "{table}");
    out
}

fn control_plane(status: &Status) -> String {
    let mut out = format!(
        "CONTROL PLANE  revision {}, published {}{}\n\n",
        status.revision,
        status.published_revision,
        store(&status.store)
    );
    if status.proxies.is_empty() {
        return out + "no proxy has connected yet\n\n";
    }
    let mut table = Table::new([
        "PROXY",
        "NODE",
        "AGENT",
        "STATE",
        "WANTED",
        "ACKED",
        "LAST NACK",
        "CLUSTER",
    ]);
    for proxy in &status.proxies {
        table.push(proxy_cells(proxy));
    }
    let _ = writeln!(out, "{table}");
    out
}

/// `, state in etcd at etcd-0:2379`; empty for servers that do not report it.
fn store(store: &StoreStatus) -> String {
    let kind = escaped_line(&store.kind);
    match &store.member {
        _ if kind.is_empty() => String::new(),
        Some(member) => format!(", state in {kind} at {}", escaped_line(member)),
        None if store.problem.is_some() => format!(", state in {kind}, not writable"),
        None => format!(", state in {kind}"),
    }
}

fn proxy_cells(proxy: &ProxyStatus) -> [String; 8] {
    let node = &proxy.node;
    let agent = format!("{} {}", node.user_agent, node.user_agent_version);
    let nack = proxy.last_nack();
    let wanted = proxy.revision_wanted.map(|it| it.to_string());
    let nack = nack.map(|(kind, nack)| shortened(&format!("{kind}: {}", nack.reason)));
    [
        proxy.name().to_owned(),
        (node.id.rsplit_once("mesh/")).map_or(node.id.clone(), |(_, path)| path.to_owned()),
        agent.trim().to_owned(),
        proxy.sync_state().as_str().to_owned(),
        wanted.unwrap_or_default(),
        proxy.revision_acked.to_string(),
        nack.unwrap_or_default(),
        (node.metadata_str("tombolo.io/cluster").unwrap_or_default()).to_owned(),
    ]
}

/// The first line of a reason, cut at a character boundary.
fn shortened(text: &str) -> String {
    bounded_line(text.lines().next().unwrap_or_default(), 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tombolo_operator::{Nack, TypeStatus};

    #[test]
    fn long_reasons_are_cut_between_letters() {
        assert_eq!(shortened("a\nb"), "a");
        assert_eq!(shortened(&"ä".repeat(61)), "ä".repeat(60) + "…");
    }

    #[test]
    fn what_a_proxy_says_of_itself_breaks_no_table_and_reaches_no_terminal() {
        let hostile = format!("\u{1b}[2J{}\nforged", "x".repeat(70_000));
        let mut proxy = ProxyStatus {
            connected: true,
            ..ProxyStatus::default()
        };
        proxy.node.id.clone_from(&hostile);
        proxy.node.user_agent.clone_from(&hostile);
        let metadata = &mut proxy.node.metadata;
        metadata.insert("tombolo.io/pod".into(), hostile.as_str().into());
        metadata.insert("tombolo.io/cluster".into(), hostile.as_str().into());
        let nack = Nack {
            reason: hostile.clone(),
            revision: 1,
            ..Nack::default()
        };
        let rejected = TypeStatus {
            nack: Some(nack),
            ..TypeStatus::default()
        };
        proxy.kinds = BTreeMap::from([("listener".into(), rejected)]);
        let status = Status {
            proxies: vec![proxy],
            ..Status::default()
        };
        let text = control_plane(&status);
        assert!(!text.contains('\u{1b}'), "an escape sequence is printed");
        assert_eq!(text.lines().count(), 5, "a line is forged");
        let problems = super::super::problem::all(None, Ok(&status));
        let lines = super::super::problem::lines(&problems);
        assert!(
            !lines.contains('\u{1b}') && lines.lines().count() == 1,
            "{lines:.200}"
        );
    }
}
