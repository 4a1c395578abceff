//! The App Mesh door: REST with JSON (facts/appmesh-api.md §1-§4).

mod errors;
mod list;
pub(crate) mod names;
mod resource;
pub(crate) mod routing;
mod shape;
mod tags;

use crate::wire::{Call, Failure, percent};
use http::StatusCode;
use routing::{Operation, Verb};

/// The code of input that breaks the model.
const BAD_REQUEST: &str = "BadRequestException";

/// Routes a call and carries it out.
pub(crate) async fn answer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let operation = routing::operation(&call.request.method, call.request.uri.path())?;
    tracing::trace!(%operation, scope = %call.scope, request_id = call.request_id, "called");
    operation.check_names()?;
    check_owner(call, &operation)?;
    let answer = match operation {
        Operation::Collection(Verb::Create, ref collection) => {
            resource::create(call, collection).await
        }
        Operation::Collection(_, ref collection) => list::list(call, collection),
        Operation::Item(Verb::Update, key) => resource::update(call, key).await,
        Operation::Item(Verb::Delete, key) => resource::delete(call, key).await,
        Operation::Item(_, key) => resource::describe(call, &key),
        Operation::TagResource => tags::tag(call).await,
        Operation::UntagResource => tags::untag(call).await,
        Operation::ListTagsForResource => tags::list(call),
    }?;
    Ok(answer.to_string().into_bytes())
}

/// `meshOwner` names the account of a shared mesh. Accounts share nothing here, so every other account's
/// mesh is one that does not exist.
fn check_owner(call: &Call<'_>, operation: &Operation) -> Result<(), Failure> {
    let Some(owner) = percent::query_value(call.query(), "meshOwner") else {
        return Ok(());
    };
    if owner.len() != 12 || !owner.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Failure::bad(
            BAD_REQUEST,
            format!("meshOwner: {owner:?} is not an account of twelve digits"),
        ));
    }
    if *owner == *call.scope.account {
        return Ok(());
    }
    let mesh = operation.mesh().unwrap_or_default();
    Err(Failure::new(
        StatusCode::NOT_FOUND,
        "NotFoundException",
        format!("Mesh with name {mesh} is not present for account {owner}"),
    ))
}
