//! The rules of DNS records of services (facts/cloudmap-api.md §7).

use super::bounds::ttl;
use crate::{
    Rejection,
    cloudmap::{DnsConfig, DnsRecord, RecordType, RoutingPolicy},
};

/// Checks the TTLs. `at` is the path to the records in the input.
pub(super) fn check_ttls(at: &str, records: &[DnsRecord]) -> Result<(), Rejection> {
    let mut records = records.iter().enumerate();
    records.try_for_each(|(i, record)| ttl(format!("{at}[{i}].TTL"), record.ttl))
}

/// Checks the records of a new service.
pub(super) fn check(config: &DnsConfig, is_health_checked: bool) -> Result<(), Rejection> {
    let mut kinds: Vec<RecordType> = (config.dns_records.iter())
        .map(|record| record.kind)
        .collect();
    kinds.sort_unstable();
    let is_legal = matches!(kinds.as_slice(), [_] | [RecordType::A, RecordType::AAAA]);
    if !is_legal {
        return Err(Rejection::invalid(
            "DnsConfig.DnsRecords",
            "must be one of A, AAAA, A and AAAA, SRV, CNAME",
        ));
    }
    let is_weighted = config.routing_policy == Some(RoutingPolicy::Weighted);
    if publishes_cname(&config.dns_records) && !is_weighted {
        return Err(Rejection::invalid(
            "DnsConfig.RoutingPolicy",
            "must be WEIGHTED for CNAME records",
        ));
    }
    check_health("HealthCheckConfig", &config.dns_records, is_health_checked)
}

/// Checks that a service may have both these records and a health check.
pub(super) fn check_health(
    at: &str,
    records: &[DnsRecord],
    is_health_checked: bool,
) -> Result<(), Rejection> {
    if is_health_checked && publishes_cname(records) {
        let message = "must not be given with CNAME records";
        return Err(Rejection::invalid(at, message));
    }
    Ok(())
}

/// Checks the new records of a service: types may be removed, but not added.
pub(super) fn check_change(
    at: &str,
    before: Option<&DnsConfig>,
    records: &[DnsRecord],
) -> Result<(), Rejection> {
    let before = before.map_or(&[][..], |config| &config.dns_records);
    for (i, record) in records.iter().enumerate() {
        let kind = record.kind;
        if !before.iter().any(|before| before.kind == kind) {
            return Err(Rejection::invalid(
                format!("{at}[{i}].Type"),
                format!(
                    "the service publishes no {kind:?} records, and the types of its records \
                     cannot be changed; make another service"
                ),
            ));
        }
        if records[..i].iter().any(|earlier| earlier.kind == kind) {
            let message = format!("{kind:?} is there twice");
            return Err(Rejection::invalid(format!("{at}[{i}].Type"), message));
        }
    }
    Ok(())
}

fn publishes_cname(records: &[DnsRecord]) -> bool {
    records
        .iter()
        .any(|record| record.kind == RecordType::CNAME)
}
