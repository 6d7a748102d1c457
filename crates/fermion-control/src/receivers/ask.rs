//! Gates that ask: a webhook or a command of `alerts.toml` says whether a rollout may go on.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::send::{Failure, IDEMPOTENCY_KEY, SIGNATURE, chain, client, command, signature};
use super::{Receivers, Target};
use crate::limits::GATE_REASON_CHARACTERS_MAX;

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// It may go on.
    Yes,
    /// Not now, and why, for people.
    No(String),
}

impl Receivers {
    /// Asks. Success (2xx, exit status 0) is a yes, everything else a no: also that nobody could be asked.
    pub(crate) async fn ask(&self, name: &str, key: &str, question: &Value, now: u64) -> Word {
        let Some(target) = self.targets.get(name) else {
            return Word::No(format!("alerts.toml has no receiver {name}"));
        };
        let body = question.to_string();
        match target {
            Target::Webhook { url, secret } => {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                if let Ok(key) = HeaderValue::from_str(key) {
                    headers.insert(IDEMPOTENCY_KEY, key);
                }
                if let Some(secret) = secret {
                    let Some(signed) = signature(secret, now, body.as_bytes()) else {
                        return Word::No(format!("the secret of {name} cannot sign"));
                    };
                    headers.insert(SIGNATURE, signed);
                }
                let client = match client(self.patience, target.is_near()) {
                    Ok(client) => client,
                    Err(why) => return Word::No(format!("{name} cannot be asked: {why}")),
                };
                let request = client.post(&url.0).headers(headers).body(body);
                answered(name, request).await
            }
            Target::Command { program, arguments } => {
                let run = command(program, arguments, body);
                match tokio::time::timeout(self.patience.attempt_max, run).await {
                    Ok(Ok(())) => Word::Yes,
                    Ok(Err(Failure::Later(why) | Failure::Never(why))) => {
                        Word::No(format!("{name} says no: {why}"))
                    }
                    Err(_) => Word::No(format!("{name} does not answer in time")),
                }
            }
            Target::Slack { .. }
            | Target::PagerDuty { .. }
            | Target::Alertmanager { .. }
            | Target::Email(_) => Word::No(format!(
                "{name} is neither a webhook nor a command, so it cannot be asked"
            )),
        }
    }
}

async fn answered(name: &str, request: reqwest::RequestBuilder) -> Word {
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        // The address may be a secret: it is in no message.
        Err(error) => return Word::No(format!("{name} does not answer: {}", chain(&error.without_url()))),
    };
    let status = answer.status();
    if status.is_success() {
        return Word::Yes;
    }
    // Only the beginning is read: it is shown to people.
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        text.extend_from_slice(&chunk);
        if text.len() >= GATE_REASON_CHARACTERS_MAX {
            break;
        }
    }
    let said = String::from_utf8_lossy(&text);
    let said = said.chars().filter(|letter| !letter.is_control());
    let said: String = said.take(GATE_REASON_CHARACTERS_MAX).collect();
    let separator = if said.is_empty() { "" } else { ": " };
    Word::No(format!("{name} says no ({}){separator}{said}", status.as_u16()))
}
