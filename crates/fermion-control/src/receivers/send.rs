//! Delivers what waits, one message after the other for each receiver, and tries again with growing pauses. A receiver
//! that is slow or gone holds up nobody but itself.

use std::process::Stdio;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::outbox::Delivery;
use super::{Patience, Secret, Target, format};
use crate::limits::{DELIVERY_AGE_MAX, SEND_WAIT_MAX};
use crate::{Control, Error};

/// Carries the message's key: the same for every attempt.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// `t=SECONDS,v1=HEX`: an HMAC-SHA256 over the time, a point and the body.
pub(super) const SIGNATURE: &str = "fermion-signature";

/// Why an attempt was in vain.
pub(super) enum Failure {
    /// It may go better later.
    Later(String),
    /// It never will: the receiver has understood the message and does not want it.
    Never(String),
}

impl Control {
    /// Delivers until cancelled. What has not arrived by then stays on the bus.
    pub(crate) async fn run_receivers(&self, shutdown: CancellationToken) {
        let receivers = &self.shared.parts.receivers;
        if receivers.targets.is_empty() {
            return;
        }
        let mut roads = JoinSet::new();
        for (name, target) in &receivers.targets {
            let client = match client(receivers.patience, target.is_near()) {
                Ok(client) => client,
                Err(error) => {
                    tracing::error!(receiver = name, error, "messages cannot be sent by HTTP");
                    continue;
                }
            };
            let (control, name, shutdown) = (self.clone(), name.clone(), shutdown.clone());
            roads.spawn(async move {
                let delivering = control.deliver_all(&name, &client);
                shutdown.run_until_cancelled(delivering).await;
            });
        }
        while roads.join_next().await.is_some() {}
    }

    async fn deliver_all(&self, name: &str, client: &reqwest::Client) {
        let receivers = &self.shared.parts.receivers;
        let Some(target) = receivers.targets.get(name) else {
            return;
        };
        let mut pause = receivers.patience.backoff_min;
        loop {
            let seen = self.bus().revision();
            match self.deliver_next(name, target, client).await {
                Ok(Some(true)) => pause = receivers.patience.backoff_min,
                Ok(None) => {
                    if self.bus().changed_since(seen).await.is_err() {
                        return;
                    }
                }
                Ok(Some(false)) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(receivers.patience.backoff_max);
                }
                Err(error) => {
                    tracing::error!(receiver = name, %error, "messages that wait cannot be read; trying again");
                    tokio::time::sleep(receivers.patience.backoff_max).await;
                }
            }
        }
    }

    /// None if nothing waits; otherwise whether it is done with.
    async fn deliver_next(
        &self,
        name: &str,
        target: &Target,
        client: &reqwest::Client,
    ) -> Result<Option<bool>, Error> {
        let Some((key, delivery)) = self.next_delivery(name).await? else {
            return Ok(None);
        };
        let now = self.now();
        let patience = self.shared.parts.receivers.patience;
        let (id, subject) = (delivery.message.key(), delivery.message.subject());
        match attempt(target, client, &delivery, now, patience.attempt_max).await {
            Ok(()) => tracing::info!(receiver = name, key = id, subject, "message delivered"),
            Err(Failure::Never(why)) => {
                tracing::error!(
                    receiver = name,
                    key = id,
                    subject,
                    why,
                    "message refused by its receiver; dropped"
                );
            }
            Err(Failure::Later(why)) => {
                let age = now.saturating_sub(delivery.message.at());
                if age <= DELIVERY_AGE_MAX.as_secs() {
                    tracing::warn!(
                        receiver = name,
                        key = id,
                        subject,
                        why,
                        "message not delivered; trying again"
                    );
                    return Ok(Some(false));
                }
                tracing::error!(
                    receiver = name,
                    key = id,
                    subject,
                    why,
                    "message not delivered for a day; dropped"
                );
            }
        }
        self.delivered(key).await?;
        Ok(Some(true))
    }
}

pub(super) fn client(patience: Patience, is_near: bool) -> Result<reqwest::Client, String> {
    // The same provider that every other part of the process uses; whoever comes second finds it there.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = reqwest::Client::builder();
    if is_near {
        // What is on this machine is not behind the proxy that the environment names.
        builder = builder.no_proxy();
    }
    builder
        .user_agent(concat!("fermion/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .timeout(patience.attempt_max)
        .build()
        .map_err(|error| error.to_string())
}

impl Target {
    /// Whether it is on this machine.
    pub(super) fn is_near(&self) -> bool {
        let (Self::Webhook { url, .. }
        | Self::Slack { url }
        | Self::PagerDuty { url, .. }
        | Self::Alertmanager { url }) = self
        else {
            return true;
        };
        let uri = url.0.parse::<http::Uri>().ok();
        let host = uri.as_ref().and_then(http::Uri::host);
        host.is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"))
    }
}

async fn attempt(
    target: &Target,
    client: &reqwest::Client,
    delivery: &Delivery,
    now: u64,
    attempt_max: Duration,
) -> Result<(), Failure> {
    let message = &delivery.message;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let key =
        HeaderValue::from_str(message.key()).map_err(|_| Failure::Never("its key is damaged".to_owned()))?;
    headers.insert(IDEMPOTENCY_KEY, key);
    let (url, body) = match target {
        Target::Webhook { url, secret } => {
            let body = format::own(message).to_string();
            if let Some(secret) = secret {
                let signed = signature(secret, now, body.as_bytes());
                let signed = signed.ok_or_else(|| Failure::Never("its secret cannot sign".to_owned()))?;
                headers.insert(SIGNATURE, signed);
            }
            (url, body)
        }
        Target::Slack { url } => (url, format::slack(message).to_string()),
        Target::PagerDuty {
            url,
            routing_key: Secret(routing_key),
        } => {
            let Message::Alert(notice) = message else {
                return Ok(());
            };
            match format::pagerduty(notice, routing_key) {
                Some(event) => (url, event.to_string()),
                None => return Ok(()),
            }
        }
        Target::Alertmanager { url } => {
            let Message::Alert(notice) = message else {
                return Ok(());
            };
            (url, format::alertmanager(notice).to_string())
        }
        Target::Email(line) => return line.send(message, attempt_max).await,
        Target::Command { program, arguments } => {
            let body = format::own(message).to_string();
            let run = command(program, arguments, body);
            let ended = tokio::time::timeout(attempt_max.max(SEND_WAIT_MAX), run).await;
            return ended.unwrap_or_else(|_| Err(Failure::Later("it took too long".to_owned())));
        }
    };
    post(client, url, headers, body).await
}

async fn post(
    client: &reqwest::Client,
    url: &Secret,
    headers: HeaderMap,
    body: String,
) -> Result<(), Failure> {
    let sent = client.post(&url.0).headers(headers).body(body).send().await;
    // The address may be a secret: it is in no message.
    let answer = sent.map_err(|error| Failure::Later(chain(&error.without_url())))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let why = format!("answered {}", status.as_u16());
    match status.as_u16() {
        400 | 413 | 422 => Err(Failure::Never(why)),
        _ => Err(Failure::Later(why)),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// None if the secret is none that can sign.
pub(super) fn signature(Secret(secret): &Secret, now: u64, body: &[u8]) -> Option<HeaderValue> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{now}.").as_bytes());
    mac.update(body);
    let text = format!("t={now},v1={}", hex::encode(mac.finalize().into_bytes()));
    HeaderValue::from_str(&text).ok()
}

/// Runs a program with the document as its standard input, and nothing of our environment but where programs are.
pub(super) async fn command(
    program: &std::path::Path,
    arguments: &[String],
    body: String,
) -> Result<(), Failure> {
    let later = |error: std::io::Error| Failure::Later(format!("{}: {error}", program.display()));
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(later)?;
    if let Some(mut input) = child.stdin.take() {
        // A program that does not read all of it says by its status whether it is content.
        drop(input.write_all(body.as_bytes()).await);
    }
    let status = child.wait().await.map_err(later)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Later(format!("{}: {status}", program.display())))
}
