//! Rules of many operations: pagination of lists, and idempotency tokens.

use crate::suite::{Suite, summary};
use serde_json::{Value, json};
use tombolo_tests::model::Operation;

/// More pages than any list here has.
const MOST_PAGES: usize = 1000;

/// The members of pagination; `None` for an operation without pages.
struct Pages {
    limit: &'static str,
    token: &'static str,
    /// The member with the items: a list or a map.
    items: String,
}

/// Checks every operation with pagination or an idempotency token.
pub(crate) fn run(suite: &mut Suite<'_>) {
    for operation in suite.fixture.model.operations() {
        let input = suite.fixture.builder.input(operation, &[]);
        if let Some(pages) = pages(operation) {
            if let Err(why) = read_in_pages(suite, operation, &input, &pages) {
                let expected = "the same items on pages of one";
                suite.fail(operation, pages.token, "pages", &input, expected, &why);
            }
            suite.report.paged += 1;
        }
        let members = operation
            .input()
            .into_iter()
            .flat_map(|input| input.members());
        if let Some(token) = members.into_iter().find(|member| member.is_token()) {
            if let Err(why) = repeat(suite, operation, token.name) {
                suite.fail(
                    operation,
                    token.name,
                    "token",
                    &input,
                    "the same answer",
                    &why,
                );
            }
            suite.report.repeated += 1;
        }
    }
}

fn pages(operation: Operation<'_>) -> Option<Pages> {
    let (input, output) = (operation.input()?, operation.output()?);
    let names = [("limit", "nextToken"), ("MaxResults", "NextToken")];
    let (limit, token) = names
        .into_iter()
        .find(|(limit, token)| input.member(limit).is_some() && output.member(token).is_some())?;
    let mut members = output.members();
    let items = members.find(|member| matches!(member.shape.kind(), "list" | "map"))?;
    Some(Pages {
        limit,
        token,
        items: items.name.to_owned(),
    })
}

fn read_in_pages(
    suite: &mut Suite<'_>,
    operation: Operation<'_>,
    input: &Value,
    pages: &Pages,
) -> Result<(), String> {
    let whole = page(suite, operation, input)?;
    let all = items(&whole[&pages.items]);
    if all.len() < 2 || whole.get(pages.token).is_some() {
        return Err(format!(
            "the fixture has no list of two or more here: {whole}"
        ));
    }
    let mut read = Vec::new();
    let mut input = input.clone();
    input[pages.limit] = json!(1);
    for _ in 0..MOST_PAGES {
        let page = page(suite, operation, &input)?;
        let items = items(&page[&pages.items]);
        if items.len() > 1 {
            return Err(format!("a page of one has more: {page}"));
        }
        read.extend(items);
        let Some(token) = page.get(pages.token) else {
            break;
        };
        // A page token is valid for any page size.
        let rest = whole_rest(suite, operation, &input, pages, token)?;
        if read.len() + rest != all.len() {
            return Err(format!(
                "{} read, {rest} to come, {} in all",
                read.len(),
                all.len()
            ));
        }
        input[pages.token] = token.clone();
    }
    let same = read == all;
    same.then_some(())
        .ok_or_else(|| format!("{read:?}, not {all:?}"))
}

/// The number of items after a token.
fn whole_rest(
    suite: &mut Suite<'_>,
    operation: Operation<'_>,
    input: &Value,
    pages: &Pages,
    token: &Value,
) -> Result<usize, String> {
    let mut input = input.clone();
    input
        .as_object_mut()
        .expect("inputs are objects")
        .shift_remove(pages.limit);
    input[pages.token] = token.clone();
    let page = page(suite, operation, &input)?;
    Ok(items(&page[&pages.items]).len())
}

fn page(suite: &mut Suite<'_>, operation: Operation<'_>, input: &Value) -> Result<Value, String> {
    let exchange = suite.call(operation, input)?;
    match exchange.reply.is_ok() {
        true => Ok(exchange.reply.body),
        false => Err(summary(&exchange)),
    }
}

fn items(list: &Value) -> Vec<Value> {
    match list {
        Value::Array(items) => items.clone(),
        Value::Object(items) => items
            .iter()
            .map(|(key, value)| json!([key, value]))
            .collect(),
        _ => Vec::new(),
    }
}

/// Sends a call twice, unchanged.
fn repeat(suite: &mut Suite<'_>, operation: Operation<'_>, token: &str) -> Result<(), String> {
    let mut input = suite.fixture.builder.input(operation, &[]);
    input[token] = json!("$unique");
    let input = suite.fixture.resolve(&input);
    let first = suite.fixture.send(operation, &input);
    let second = suite.fixture.send(operation, &input);
    suite.report.calls += 2;
    if !first.reply.is_ok() || first.reply.body != second.reply.body {
        return Err(format!("{}, then {}", summary(&first), summary(&second)));
    }
    suite.fixture.leave(operation, &second)
}
