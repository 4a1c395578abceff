//! The messages of the etcd v3 API that the store uses, with the field numbers of etcd's `rpc.proto` and
//! `kv.proto`. They are written by hand because generated ones would need `protoc` on the build machine
//! (docs/decisions/0009). Unused fields are left out: protobuf skips them.

use prost::{Enumeration, Message, Oneof};

/// Declares messages: each field with its type, and in parentheses its prost attributes.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = ($($prost:tt)+)),* $(,)? }
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Message)]
            pub(crate) struct $name {
                $($(#[$field_doc])* #[prost($($prost)+)] pub(crate) $field: $type,)*
            }
        )+
    };
}

messages! {
    ResponseHeader { revision: i64 = (int64, tag = "3") }
    KeyValue {
        key: Vec<u8> = (bytes = "vec", tag = "1"),
        create_revision: i64 = (int64, tag = "2"),
        mod_revision: i64 = (int64, tag = "3"),
        value: Vec<u8> = (bytes = "vec", tag = "5"),
    }
    RangeRequest {
        key: Vec<u8> = (bytes = "vec", tag = "1"),
        range_end: Vec<u8> = (bytes = "vec", tag = "2"),
        limit: i64 = (int64, tag = "3"),
        revision: i64 = (int64, tag = "4"),
    }
    RangeResponse {
        header: Option<ResponseHeader> = (message, optional, tag = "1"),
        kvs: Vec<KeyValue> = (message, repeated, tag = "2"),
        more: bool = (bool, tag = "3"),
    }
    PutRequest {
        key: Vec<u8> = (bytes = "vec", tag = "1"),
        value: Vec<u8> = (bytes = "vec", tag = "2"),
        lease: i64 = (int64, tag = "3"),
    }
    DeleteRangeRequest {
        key: Vec<u8> = (bytes = "vec", tag = "1"),
        range_end: Vec<u8> = (bytes = "vec", tag = "2"),
    }
    RequestOp { request: Option<Request> = (oneof = "Request", tags = "1, 2, 3") }
    ResponseOp { response: Option<Response> = (oneof = "Response", tags = "1") }
    /// The comparison operator is its default, "equal".
    Compare {
        target: i32 = (enumeration = "CompareTarget", tag = "2"),
        key: Vec<u8> = (bytes = "vec", tag = "3"),
        with: Option<CompareWith> = (oneof = "CompareWith", tags = "5, 6"),
    }
    TxnRequest {
        compare: Vec<Compare> = (message, repeated, tag = "1"),
        success: Vec<RequestOp> = (message, repeated, tag = "2"),
        failure: Vec<RequestOp> = (message, repeated, tag = "3"),
    }
    TxnResponse {
        header: Option<ResponseHeader> = (message, optional, tag = "1"),
        succeeded: bool = (bool, tag = "2"),
        responses: Vec<ResponseOp> = (message, repeated, tag = "3"),
    }
    CompactionRequest { revision: i64 = (int64, tag = "1") }
    WatchRequest { request: Option<WatchRequestUnion> = (oneof = "WatchRequestUnion", tags = "1, 3") }
    WatchCreateRequest {
        key: Vec<u8> = (bytes = "vec", tag = "1"),
        range_end: Vec<u8> = (bytes = "vec", tag = "2"),
        start_revision: i64 = (int64, tag = "3"),
    }
    WatchResponse {
        created: bool = (bool, tag = "3"),
        canceled: bool = (bool, tag = "4"),
        compact_revision: i64 = (int64, tag = "5"),
        cancel_reason: String = (string, tag = "6"),
        events: Vec<Event> = (message, repeated, tag = "11"),
    }
    Event {
        kind: i32 = (enumeration = "EventType", tag = "1"),
        kv: Option<KeyValue> = (message, optional, tag = "2"),
    }
    LeaseGrantRequest {
        /// Seconds.
        ttl: i64 = (int64, tag = "1"),
    }
    /// The response to LeaseGrant and LeaseKeepAlive.
    LeaseResponse {
        id: i64 = (int64, tag = "2"),
        /// Seconds; 0 from LeaseKeepAlive for a lease that has ended.
        ttl: i64 = (int64, tag = "3"),
    }
    /// The request of LeaseRevoke and LeaseKeepAlive.
    LeaseRequest { id: i64 = (int64, tag = "1") }
    AuthenticateRequest {
        name: String = (string, tag = "1"),
        password: String = (string, tag = "2"),
    }
    AuthenticateResponse { token: String = (string, tag = "2") }
    Empty {}
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Request {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Response {
    #[prost(message, tag = "1")]
    Range(RangeResponse),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum CompareTarget {
    Version = 0,
    Create = 1,
    Mod = 2,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub(crate) enum CompareWith {
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum WatchRequestUnion {
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
    #[prost(message, tag = "3")]
    Progress(Empty),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(crate) enum EventType {
    Put = 0,
    Delete = 1,
}

impl From<Request> for RequestOp {
    fn from(request: Request) -> Self {
        Self {
            request: Some(request),
        }
    }
}

impl RequestOp {
    pub(crate) fn put(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self::put_with_lease(0, key, value)
    }

    /// Puts a key that is deleted when the lease expires or is revoked.
    pub(crate) fn put_with_lease(lease: i64, key: Vec<u8>, value: Vec<u8>) -> Self {
        Request::Put(PutRequest { key, value, lease }).into()
    }

    pub(crate) fn delete(key: Vec<u8>) -> Self {
        let range_end = Vec::new();
        Request::DeleteRange(DeleteRangeRequest { key, range_end }).into()
    }

    pub(crate) fn get(key: Vec<u8>) -> Self {
        Request::Range(RangeRequest::key(key)).into()
    }
}

impl RangeRequest {
    /// The range of a single key.
    pub(crate) fn key(key: Vec<u8>) -> Self {
        Self {
            key,
            ..Self::default()
        }
    }
}

impl Compare {
    /// Compares the revision of the key's last write; 0 if the key does not exist.
    pub(crate) fn mod_revision(key: Vec<u8>, revision: i64) -> Self {
        Self {
            target: CompareTarget::Mod.into(),
            key,
            with: Some(CompareWith::ModRevision(revision)),
        }
    }

    /// Compares the revision of the key's creation; 0 if the key does not exist.
    pub(crate) fn create_revision(key: Vec<u8>, revision: i64) -> Self {
        Self {
            target: CompareTarget::Create.into(),
            key,
            with: Some(CompareWith::CreateRevision(revision)),
        }
    }
}

impl TxnResponse {
    /// The first key of the result of the nth operation, a range.
    pub(crate) fn range_result(&self, n: usize) -> Option<&KeyValue> {
        match self.responses.get(n)?.response.as_ref()? {
            Response::Range(range) => range.kvs.first(),
        }
    }

    /// The etcd revision after the transaction.
    pub(crate) fn revision(&self) -> i64 {
        self.header.as_ref().map_or(0, |header| header.revision)
    }
}
