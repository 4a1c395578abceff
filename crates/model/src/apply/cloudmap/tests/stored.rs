//! Records that earlier versions stored are still readable.

use crate::Record;
use serde_json::{Value, json};

/// Reads a record and writes it as this version does.
#[track_caller]
fn round(text: &str) -> Value {
    let record: Record = serde_json::from_str(text).expect("what was stored stays readable");
    serde_json::to_value(&record).expect("records have string keys")
}

#[test]
fn records_of_earlier_versions_are_read_and_written_back_as_they_were() {
    for text in [
        r#"{"Namespace":{"id":"ns-1","name":"a.local","http_name":"a.local","kind":"DNS_PRIVATE",
            "vpc":"vpc-1","description":null,"hosted_zone_id":"Z1","soa_ttl":15,
            "creator_request_id":"t","created_at":4}}"#,
        r#"{"Service":{"id":"srv-1","name":"s","namespace_id":"ns-1","description":"of the test",
            "dns_config":{"RoutingPolicy":"MULTIVALUE","DnsRecords":[{"Type":"A","TTL":60}]},
            "health_check":null,"custom_health_check":true,"creator_request_id":null,
            "created_at":5}}"#,
        r#"{"Operation":{"id":"0001","kind":"CREATE_NAMESPACE","targets":{"NAMESPACE":"ns-1"},
            "at":6}}"#,
    ] {
        let stored: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(round(text), stored);
    }
}

#[test]
fn what_is_new_is_stored_where_it_is_there() {
    let service = r#"{"Service":{"id":"srv-1","name":"s","namespace_id":"ns-1","description":null,
        "dns_config":null,"health_check":null,"custom_health_check":false,"creator_request_id":null,
        "created_at":5,"attributes":{"owner":"me"}}}"#;
    assert_eq!(
        round(service)["Service"]["attributes"],
        json!({"owner": "me"})
    );
    let operation = r#"{"Operation":{"id":"0001","kind":"UPDATE_NAMESPACE","targets":{},"at":6,
        "request":{"token":"t","soa_ttl":0}}}"#;
    assert_eq!(
        round(operation)["Operation"]["request"],
        json!({"token": "t", "soa_ttl": 0})
    );
}
