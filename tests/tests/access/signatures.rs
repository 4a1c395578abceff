//! Every request that botocore signs is accepted, and rejected when anything in it is changed.

use crate::authenticated::{ADMIN, AuthenticatedServer, HERE, TEMPORARY, python};
use serde_json::{Value, json};
use tombolo_model::entropy::Entropy;
use tombolo_tests::http::{Connection, Request};

const REQUESTS: u64 = 300;
/// The signed host. The server's own name is irrelevant.
const HOST: &str = "mesh.example.com:8490";

/// A signed request that can be changed.
#[derive(Clone, Debug)]
struct Signed {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_presigned: bool,
}

impl Signed {
    fn read(value: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let headers = value["headers"].as_array().expect("a list");
        Self {
            method: text(&value["method"]),
            target: text(&value["target"]),
            headers: headers
                .iter()
                .map(|pair| (text(&pair[0]), text(&pair[1])))
                .collect(),
            body: decode(&text(&value["body"])),
            is_presigned: value["presigned"] == true,
        }
    }

    /// The error code with which the server rejects the caller; `None` when the caller is authenticated.
    fn refusal(&self, server: &AuthenticatedServer) -> Option<String> {
        let mut request = Request::new(&self.method, &self.target).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(name, value.as_str());
        }
        let mut connection = Connection::open(server.api).expect("it listens");
        let answer = connection.send(&request).expect("an answer");
        let text = answer.text();
        let code = match serde_json::from_str::<Value>(&text) {
            // Tombolo's own paths have another member for it than AWS.
            Ok(json) => {
                let code = json["__type"].as_str().or_else(|| json["code"].as_str());
                code.unwrap_or_default().to_owned()
            }
            Err(_) => {
                let code = text
                    .split_once("<Code>")
                    .and_then(|(_, rest)| rest.split_once('<'));
                code.map(|(code, _)| code.to_owned()).unwrap_or_default()
            }
        };
        let is_refusal = [
            "IncompleteSignature",
            "InvalidSignature",
            "SignatureDoesNotMatch",
            "MissingAuthenticationToken",
            "UnrecognizedClient",
            "InvalidClientTokenId",
            "ExpiredToken",
            "RequestExpired",
            "AccessDenied",
        ];
        is_refusal
            .iter()
            .any(|refusal| code.starts_with(refusal))
            .then_some(format!("{code} {text}"))
    }

    /// Changed versions without a valid signature.
    fn mutations(&self, entropy: &mut Entropy) -> Vec<(String, Self)> {
        let mut all = Vec::new();
        let mut add = |what: &str, change: &dyn Fn(&mut Self)| {
            let mut changed = self.clone();
            change(&mut changed);
            all.push((what.to_owned(), changed));
        };
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        add("method", &|r| {
            r.method = if r.method == "PUT" { "DELETE" } else { "PUT" }.into()
        });
        add("path", &|r| r.target = format!("{path}x?{query}"));
        add("dot in the path", &|r| r.target = format!("/.{}", r.target));
        add("query", &|r| r.target = format!("{path}?{query}&y=z"));
        add("body", &|r| r.body.push(b' '));
        add("a header more", &|r| {
            r.headers.push(("x-amz-more".into(), "1".into()))
        });
        if self.is_presigned {
            let parts: Vec<&str> = query.split('&').collect();
            for i in 0..parts.len() {
                let mut fewer = parts.clone();
                let gone = fewer.remove(i);
                add(&format!("without {gone}"), &|r| {
                    r.target = format!("{path}?{}", fewer.join("&"))
                });
                let mut other = parts.clone();
                let changed = flipped(other[i], entropy);
                other[i] = &changed;
                add(&changed, &|r| {
                    r.target = format!("{path}?{}", other.join("&"))
                });
            }
            return all;
        }
        for i in 0..self.headers.len() {
            let (name, value) = &self.headers[i];
            let name = name.to_ascii_lowercase();
            if name != "authorization" {
                add(&format!("{name} changed"), &|r| r.headers[i].1.push('x'));
                add(&format!("without {name}"), &|r| drop(r.headers.remove(i)));
                continue;
            }
            let digit = value.len() - 1 - (entropy.next_u64() % 64) as usize;
            add("signature", &|r| {
                let other = if &value[digit..=digit] == "0" {
                    "1"
                } else {
                    "0"
                };
                r.headers[i].1.replace_range(digit..=digit, other);
            });
            for (from, to) in [
                ("Credential=", "Credential=X"),
                ("/us-west-2/", "/eu-north-1/"),
                ("/aws4_request", "/aws4_requesT"),
                ("/20", "/19"),
                ("host;", ""),
                (";host", ""),
                ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            ] {
                if value.contains(from) {
                    add(&format!("{from} -> {to}"), &|r| {
                        r.headers[i].1 = value.replacen(from, to, 1)
                    });
                }
            }
        }
        all
    }
}

/// A text whose last character is replaced.
fn flipped(text: &str, entropy: &mut Entropy) -> String {
    let mut text = text.to_owned();
    let last = text.pop().unwrap_or('a');
    let other = ['0', '1', '2'][(entropy.next_u64() % 3) as usize];
    text.push(if other == last { '3' } else { other });
    text
}

fn decode(base64: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in base64.bytes().filter(|byte| *byte != b'=') {
        bits = bits << 6 | u32::from(digit(byte));
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

fn signed(seed: u64, unsigned: bool) -> Option<Vec<Signed>> {
    let requests = python(&json!({
        "do": "sign", "seed": seed, "count": REQUESTS, "host": HOST, "region": HERE,
        "key": ADMIN.0, "secret": ADMIN.1, "temporary": [TEMPORARY.0, TEMPORARY.1],
        "token": TEMPORARY.2, "unsigned": unsigned,
    }))?;
    Some(requests.iter().map(Signed::read).collect())
}

fn seed() -> u64 {
    let given = std::env::var("TOMBOLO_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("TOMBOLO_SEED={seed}");
    seed
}

#[test]
fn what_botocore_signs_is_accepted_and_no_other_version_of_it() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let seed = seed();
    let Some(requests) = signed(seed, false) else {
        return;
    };
    assert_eq!(requests.len() as u64, REQUESTS);
    assert!(requests.iter().any(|request| request.is_presigned));
    let mut entropy = Entropy::new(seed);
    let mut mutations = 0;
    for request in &requests {
        let refusal = request.refusal(&server);
        assert_eq!(refusal, None, "seed {seed}: {request:?}");
        for (what, changed) in request.mutations(&mut entropy) {
            mutations += 1;
            let refusal = changed.refusal(&server);
            assert!(
                refusal.is_some(),
                "seed {seed}: {what} is accepted: {changed:?}"
            );
        }
    }
    println!("{REQUESTS} requests accepted, {mutations} changed ones refused");
}

#[test]
fn bodies_that_are_declared_unsigned_are_not_covered() {
    let Some(server) = AuthenticatedServer::start() else {
        return;
    };
    let seed = seed();
    let Some(requests) = signed(seed, true) else {
        return;
    };
    let mut unsigned = 0;
    for mut request in requests {
        assert_eq!(request.refusal(&server), None, "seed {seed}: {request:?}");
        if request
            .headers
            .iter()
            .any(|(_, value)| value == "UNSIGNED-PAYLOAD")
        {
            unsigned += 1;
            request.body.push(b' ');
            assert_eq!(request.refusal(&server), None, "seed {seed}: {request:?}");
        }
    }
    assert!(unsigned > 0);
}
