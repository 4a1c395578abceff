//! App Mesh: a ledger of the expected state, and every answer checked against it.

use crate::{
    call::Call,
    cli::{Cli, Outcome},
    preconditions::{about, member, name_param, needs, parent, population, verb_and_kind},
};
use serde_json::{Map, Value, json};
use tombolo_tests::{ACCOUNT, REGION};

/// The expected state after the calls so far.
#[derive(Default)]
pub(crate) struct Ledger {
    resources: Vec<Resource>,
}

struct Resource {
    kind: String,
    names: Map<String, Value>,
    /// The last answer.
    body: Value,
}

impl Ledger {
    /// Makes a recorded call. Until its preconditions exist it must be refused; missing ones are created one at a
    /// time. Returns their number.
    pub(crate) fn replay(&mut self, cli: &mut Cli, call: &Call) -> usize {
        let mut made = self.provide(cli, call, true);
        if verb_and_kind(&call.operation).0 != "List" {
            self.make(cli, call);
            return made;
        }
        self.check_list(cli, call);
        for creation in population(call) {
            made += self.provide(cli, &creation, false) + 1;
            self.make(cli, &creation);
        }
        self.check_list(cli, call);
        made
    }

    /// Checks that a call is refused for missing preconditions; returns whether any are missing.
    pub(crate) fn check_refused(&self, cli: &mut Cli, call: &Call) -> bool {
        let missing = self.missing(call);
        if missing.is_empty() {
            return false;
        }
        let refusal = cli.refused(call, 404, "NotFoundException");
        let said = missing.iter().any(|creation| {
            let (_, kind) = verb_and_kind(&creation.operation);
            let name = creation.text(&name_param(kind)).to_owned();
            refusal
                .message
                .starts_with(&format!("{kind} with name {name} is "))
        });
        assert!(said, "{call} needs something else than {refusal:?} says");
        true
    }

    /// Checks that the server lists these meshes and no others.
    pub(crate) fn check_meshes(&self, cli: &mut Cli) {
        self.check_list(cli, &about("List", &plural("Mesh"), Map::new()));
    }

    /// The names of the existing meshes.
    pub(crate) fn meshes(&self) -> Vec<&str> {
        let meshes = self.resources.iter().filter(|held| held.kind == "Mesh");
        meshes
            .filter_map(|mesh| mesh.names["meshName"].as_str())
            .collect()
    }

    /// The calls that create the missing preconditions of a call.
    fn missing(&self, call: &Call) -> Vec<Call> {
        let (verb, _) = verb_and_kind(&call.operation);
        if matches!(verb, "Describe" | "Delete") && self.find(call).is_some() {
            return Vec::new();
        }
        let is_missing = |creation: &Call| self.find(creation).is_none();
        needs(call).into_iter().filter(is_missing).collect()
    }

    /// Creates the missing preconditions of a call; with `check` it must be refused before each one.
    fn provide(&mut self, cli: &mut Cli, call: &Call, check: bool) -> usize {
        // Called once: generated names differ on each call.
        let missing = self.missing(call);
        for creation in &missing {
            if check {
                self.check_refused(cli, call);
            }
            self.make(cli, creation);
        }
        missing.len()
    }

    /// Makes a call whose preconditions exist, and checks its answer and its effects.
    fn make(&mut self, cli: &mut Cli, call: &Call) {
        match verb_and_kind(&call.operation).0 {
            "Create" => self.create(cli, call),
            "Update" => self.update(cli, call),
            "Delete" => self.delete(cli, call),
            "Describe" => self.check_described(cli, call),
            verb => panic!("{verb} has no check yet"),
        }
    }

    fn create(&mut self, cli: &mut Cli, call: &Call) {
        let (_, kind) = verb_and_kind(&call.operation);
        let names = call.names();
        assert!(self.find(call).is_none(), "{call}: it is there already");
        let describe = about("Describe", kind, names.clone());
        cli.refused(&describe, 404, "NotFoundException");

        let body = send(cli, call);
        let metadata = &body["metadata"];
        let created = &metadata["createdAt"];
        check_time(created);
        check_uid(&metadata["uid"]);
        let mut expected = Value::Object(names.clone());
        expected["metadata"] = json!({
            "arn": arn(kind, &names), "createdAt": created, "lastUpdatedAt": created,
            "meshOwner": ACCOUNT, "resourceOwner": ACCOUNT, "uid": metadata["uid"], "version": 1,
        });
        expected["spec"] = given_spec(call);
        expected["status"] = json!({"status": "ACTIVE"});
        assert_eq!(body, expected, "{call}");
        self.resources.push(Resource {
            kind: kind.to_owned(),
            names,
            body,
        });
        self.check_after(cli, call);
        // With another token it is not a retry.
        cli.refused(call, 409, "ConflictException");
        self.check_described(cli, call);
    }

    fn update(&mut self, cli: &mut Cli, call: &Call) {
        let place = self.find(call).expect("what is updated is there");
        let body = send(cli, call);
        let before = &self.resources[place].body;
        let mut expected = before.clone();
        expected["spec"] = given_spec(call);
        expected["metadata"] = self.later(place, &body, true);
        assert_eq!(body, expected, "{call}");
        self.resources[place].body = body;
        self.check_after(cli, call);
    }

    fn delete(&mut self, cli: &mut Cli, call: &Call) {
        let (_, kind) = verb_and_kind(&call.operation);
        let place = self.find(call).expect("what is deleted is there");
        let body = only_member(cli.call(call), &member(kind));
        let mut expected = self.resources[place].body.clone();
        expected["status"] = json!({"status": "DELETED"});
        expected["metadata"] = self.later(place, &body, kind != "Mesh");
        assert_eq!(body, expected, "{call}");
        self.resources.remove(place);
        let names = call.names();
        let describe = about("Describe", kind, names.clone());
        for again in [&describe, call] {
            let refusal = cli.refused(again, 404, "NotFoundException");
            assert!(
                refusal.message.contains(own_name(kind, &names)),
                "{again}: {refusal:?}"
            );
        }
        self.check_siblings(cli, call);
    }

    /// The expected metadata of a resource after a change: a plausible time, and the next version.
    fn later(&self, place: usize, body: &Value, is_new_version: bool) -> Value {
        let mut metadata = self.resources[place].body["metadata"].clone();
        let time = &body["metadata"]["lastUpdatedAt"];
        check_time(time);
        let before = metadata["lastUpdatedAt"].as_f64();
        assert!(time.as_f64() >= before, "{body}: time goes backwards");
        metadata["lastUpdatedAt"] = time.clone();
        let version = metadata["version"].as_u64().expect("a number");
        metadata["version"] = (version + u64::from(is_new_version)).into();
        metadata
    }

    /// Checks that a changed resource is described and listed, and that its references cannot be deleted.
    fn check_after(&self, cli: &mut Cli, call: &Call) {
        self.check_described(cli, call);
        self.check_siblings(cli, call);
        for need in needs(call) {
            let (_, kind) = verb_and_kind(&need.operation);
            if need.names() == call.names() || self.find(&need).is_none() {
                continue;
            }
            let delete = about("Delete", kind, need.names());
            let refusal = cli.refused(&delete, 409, "ResourceInUseException");
            assert!(
                refusal.message.contains(own_name(kind, &need.names())),
                "{delete}: {refusal:?}"
            );
            self.check_described(cli, &need);
        }
    }

    /// Checks that describing a resource returns the last answer.
    fn check_described(&self, cli: &mut Cli, call: &Call) {
        let (verb, kind) = verb_and_kind(&call.operation);
        let describe = match verb {
            "Describe" => call.clone(),
            _ => about("Describe", kind, call.names()),
        };
        let place = self.find(call).expect("what is described is there");
        let body = only_member(cli.call(&describe), &member(kind));
        assert_eq!(body, self.resources[place].body, "{describe}");
    }

    /// Checks that the list of a resource's siblings has exactly the expected items.
    fn check_siblings(&self, cli: &mut Cli, call: &Call) {
        let (_, kind) = verb_and_kind(&call.operation);
        let mut names = call.names();
        names.remove(&name_param(kind));
        let list = about("List", &plural(kind), names);
        self.check_list(cli, &list);
    }

    fn check_list(&self, cli: &mut Cli, list: &Call) {
        let (_, kind) = verb_and_kind(&list.operation);
        let parents = list.names();
        let is_listed = |held: &&Resource| {
            let mut parents = parents.iter();
            held.kind == kind && parents.all(|(param, name)| held.names.get(param) == Some(name))
        };
        let mut expected: Vec<Value> = self
            .resources
            .iter()
            .filter(is_listed)
            .map(reference)
            .collect();
        let mut plural = plural(kind);
        plural[..1].make_ascii_lowercase();
        let listed = only_member(cli.call(list), &plural);
        let mut listed = listed.as_array().expect("a list").clone();
        for references in [&mut listed, &mut expected] {
            references.sort_by_key(|reference| reference["arn"].to_string());
        }
        assert_eq!(listed, expected, "{list}");
    }

    fn find(&self, call: &Call) -> Option<usize> {
        let (_, kind) = verb_and_kind(&call.operation);
        let names = call.names();
        let mut resources = self.resources.iter();
        resources.position(|held| held.kind == kind && held.names == names)
    }
}

/// Sends a call that creates or changes a resource, and repeats it like a client that has lost the answer: the token
/// makes it a retry with the same answer.
fn send(cli: &mut Cli, call: &Call) -> Value {
    let (_, kind) = verb_and_kind(&call.operation);
    let Outcome { sent, answer } = cli.run(call);
    let answer = answer.unwrap_or_else(|refusal| panic!("{call}: {refusal:?}"));
    let token = sent["body"]["clientToken"].as_str();
    let retry = call.with("clientToken", token.expect("the CLI gives calls a token"));
    assert_eq!(cli.call(&retry), answer, "{retry}");
    only_member(answer, &member(kind))
}

fn own_name<'a>(kind: &str, names: &'a Map<String, Value>) -> &'a str {
    let name = names.get(&name_param(kind)).and_then(Value::as_str);
    name.expect("a resource has a name")
}

/// The resource in the form of lists.
fn reference(held: &Resource) -> Value {
    let mut reference = held.names.clone();
    let metadata = held.body["metadata"].as_object().expect("an object");
    for (name, value) in metadata.iter().filter(|(name, _)| *name != "uid") {
        reference.insert(name.clone(), value.clone());
    }
    reference.into()
}

fn plural(kind: &str) -> String {
    kind.to_owned() + if kind == "Mesh" { "es" } else { "s" }
}

/// A mesh can be created without a spec, which is then empty.
fn given_spec(call: &Call) -> Value {
    let spec = call.params.get("spec").cloned();
    spec.unwrap_or_else(|| json!({}))
}

fn arn(kind: &str, names: &Map<String, Value>) -> String {
    let mut path = format!("mesh/{}", own_name("Mesh", names));
    for kind in parent(kind).into_iter().chain([kind]) {
        if kind != "Mesh" {
            path += &format!("/{}/{}", member(kind), own_name(kind, names));
        }
    }
    format!("arn:aws:appmesh:{REGION}:{ACCOUNT}:{path}")
}

#[track_caller]
fn only_member(mut answer: Value, name: &str) -> Value {
    let members = answer.as_object_mut().expect("an object");
    let member = members.remove(name);
    assert!(members.is_empty(), "more than {name}: {members:?}");
    member.unwrap_or_else(|| panic!("no {name}"))
}

/// Checks a time: seconds since the epoch, with at most milliseconds.
#[track_caller]
pub(crate) fn check_time(time: &Value) {
    let seconds = time.as_f64();
    let seconds = seconds.unwrap_or_else(|| panic!("{time} is not a number"));
    let digits = time.to_string();
    let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
    // A value in milliseconds would have three more digits.
    let range = 1e9..1e10;
    assert!(range.contains(&seconds) && fraction.len() <= 3, "{time}");
}

#[track_caller]
fn check_uid(uid: &Value) {
    let text = uid.as_str().unwrap_or_default();
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    let is_hex = |digit: char| digit == '-' || digit.is_ascii_hexdigit();
    assert!(
        groups == [8, 4, 4, 4, 12] && text.chars().all(is_hex),
        "{uid} is not a UUID"
    );
}
