//! The tables of `tombolo status`.

use super::Picture;
use crate::command::run::text;
use serde_json::Value;
use std::fmt::Write as _;
use tombolo_kube::render::Table;
use tombolo_local::control::Status as RunStatus;

/// Everything but what is wrong.
pub(super) fn all(picture: &Picture) -> String {
    let run = picture.run.as_ref().map(run).unwrap_or_default();
    run + &match &picture.control_plane {
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
    let mut table = Table::of(["WORKLOAD", "NAMESPACE", "READY", "WAITING", "CLUSTER"]);
    for workload in &run.workloads {
        table.push(
            "",
            [
                workload.object.clone(),
                workload.namespace.clone(),
                format!("{}/{}", workload.ready, workload.total),
                workload.waiting.clone().unwrap_or_else(|| "-".into()),
                workload.cluster.clone(),
            ],
        );
    }
    let _ = writeln!(out, "{table}");
    out
}

fn control_plane(status: &Value) -> String {
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
    let store = &status["store"];
    let place = match (store["kind"].as_str(), store["member"].as_str()) {
        (Some(kind), Some(member)) => format!(", state in {kind} at {member}"),
        (Some(kind), None) if store["problem"].is_string() => format!(", state in {kind}, away"),
        (Some(kind), None) => format!(", state in {kind}"),
        (None, _) => String::new(),
    };
    let mut out = format!(
        "CONTROL PLANE  revision {}, published {}{place}\n\n",
        number("revision"),
        number("publishedRevision")
    );
    let proxies = status["proxies"].as_array();
    let proxies = proxies.map(Vec::as_slice).unwrap_or_default();
    if proxies.is_empty() {
        return out + "no proxy has connected yet\n\n";
    }
    let mut table = Table::of([
        "PROXY",
        "NODE",
        "AGENT",
        "STATE",
        "WANTED",
        "ACKED",
        "LAST NACK",
        "CLUSTER",
    ]);
    for proxy in proxies {
        table.push("", proxy_cells(proxy));
    }
    let _ = writeln!(out, "{table}");
    out
}

fn proxy_cells(proxy: &Value) -> [String; 8] {
    let node = text(proxy, "/node/id");
    let agent = format!(
        "{} {}",
        text(proxy, "/node/user_agent"),
        text(proxy, "/node/user_agent_version")
    );
    let revision = |field: &str| proxy[field].as_u64().map(|number| number.to_string());
    [
        proxy_name(proxy),
        node.rsplit_once("mesh/")
            .map_or(node.clone(), |(_, path)| path.to_owned()),
        or_dash(agent.trim().to_owned()),
        state(proxy).to_owned(),
        or_dash(revision("revision_wanted").unwrap_or_default()),
        or_dash(revision("revision_acked").unwrap_or_default()),
        or_dash(last_nack(proxy).map_or_else(String::new, |nack| shortened(&nack))),
        or_dash(metadata(proxy, "tombolo.io/cluster")),
    ]
}

/// The proxy's pod, or where it calls from.
pub(super) fn proxy_name(proxy: &Value) -> String {
    match metadata(proxy, "tombolo.io/pod") {
        pod if pod.is_empty() => or_dash(text(proxy, "/peer")),
        pod => pod,
    }
}

fn metadata(proxy: &Value, key: &str) -> String {
    let value = proxy["node"]["metadata"][key].as_str();
    value.unwrap_or_default().to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

/// How far a proxy has come.
pub(super) fn state(proxy: &Value) -> &'static str {
    let rejects = |kind: &Value| {
        kind["nack"]["revision"].as_u64().is_some_and(|nacked| {
            kind["revision_acked"]
                .as_u64()
                .is_none_or(|acked| acked < nacked)
        })
    };
    let kinds = proxy["kinds"].as_object();
    if proxy["connected"] != true {
        "disconnected"
    } else if kinds.is_some_and(|kinds| kinds.values().any(rejects)) {
        "rejected"
    } else if proxy["revision_acked"].as_u64() >= proxy["revision_wanted"].as_u64() {
        "synced"
    } else {
        "pending"
    }
}

/// The newest rejection of any kind of resource.
pub(super) fn last_nack(proxy: &Value) -> Option<String> {
    let kinds = proxy["kinds"].as_object()?;
    let nacks = kinds.iter().filter(|(_, kind)| kind["nack"].is_object());
    let (kind, progress) = nacks.max_by_key(|(_, kind)| kind["nack"]["at_ms"].as_u64())?;
    Some(format!("{kind}: {}", text(progress, "/nack/reason")))
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_proxy_is_synced_pending_rejected_or_gone() {
        let proxy = |acked: u64, nacked: Option<u64>, connected: bool| {
            let nack = nacked.map(|revision| json!({"revision": revision, "reason": "x"}));
            json!({
                "connected": connected, "revision_acked": acked, "revision_wanted": 5,
                "kinds": {"route": {"revision_acked": acked, "nack": nack}},
            })
        };
        assert_eq!(state(&proxy(5, None, true)), "synced");
        assert_eq!(state(&proxy(4, None, true)), "pending");
        assert_eq!(state(&proxy(4, Some(5), true)), "rejected");
        assert_eq!(state(&proxy(5, Some(4), true)), "synced", "mended since");
        assert_eq!(state(&proxy(5, None, false)), "disconnected");
    }

    #[test]
    fn long_reasons_are_cut_between_letters() {
        assert_eq!(shortened("a\nb"), "a");
        assert_eq!(shortened(&"ä".repeat(61)), "ä".repeat(60) + "…");
    }
}
