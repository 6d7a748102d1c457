//! The trust root over HTTP: what is in force, and the next document. Whether that is taken is the keeper's decision.

use axum::extract::{Request, State};
use fermion_api::TrustView;
use fermion_package::Trust;

use super::answer::{Answer, json};
use super::{Api, read_json};
use crate::Error;

fn view(trust: &Trust, changed: bool) -> TrustView {
    let document = trust.root().map(|root| root.write());
    TrustView {
        epoch: trust.epoch(),
        identity: trust.identity(),
        changed,
        document: document.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
    }
}

pub(super) async fn show(State(api): State<Api>) -> Answer {
    json(&view(&api.control.shared.parts.trust.current(), false))
}

/// Answers when what runs has been judged by the document too: then nothing that it revokes is served any more.
pub(super) async fn apply(State(api): State<Api>, request: Request) -> Answer {
    let document: serde_json::Value = read_json(request).await?;
    let bytes = serde_json::to_vec(&document).map_err(|error| Error::Request {
        what: error.to_string(),
    })?;
    let parts = &api.control.shared.parts;
    let (keeper, now) = (parts.trust.clone(), (parts.clock)());
    let take = move || {
        // What an operator has just done at the machine comes first: the files are looked at only now and then.
        keeper.reload(now);
        keeper.apply(&bytes, now)
    };
    let changed = tokio::task::spawn_blocking(take)
        .await
        .map_err(|_| Error::Stopped {
            doing: "take a trust root",
        })??;
    let current = parts.trust.current();
    api.control.wait_until_judged(current.epoch()).await?;
    json(&view(&current, changed))
}
