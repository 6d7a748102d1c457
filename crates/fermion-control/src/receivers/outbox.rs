//! Messages that wait on the bus, a queue for each receiver: bounded, in order, and gone only when they have arrived or
//! nobody can want them any more.

use fermion_api::ReceiverView;
use fermion_bus::{Expect, Op};
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::control::check_schema;
use crate::limits::{OUTBOX_BYTES_MAX, OUTBOX_MAX};
use crate::{Control, Error};

const DELIVERY_SCHEMA: u32 = 1;

/// One message for one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    schema: u32,
    pub(super) message: Message,
}

fn folder(receiver: &str) -> String {
    format!("outbox/{receiver}/")
}

/// In order of time; what is of the same second, in any order that stays the same.
fn key(receiver: &str, message: &Message) -> String {
    format!("{}{:020}-{}", folder(receiver), message.at(), message.key())
}

impl Control {
    /// What has to be written so that these messages will be delivered. A queue that is full loses its oldest.
    pub(crate) async fn outbox_ops(&self, messages: &[Message]) -> Result<Vec<Op>, Error> {
        let receivers = &self.shared.parts.receivers;
        let mut ops = Vec::new();
        for name in receivers.targets.keys() {
            let is_own = |message: &&Message| match message {
                Message::Alert(notice) => {
                    let alert = &notice.alert;
                    let names = receivers
                        .rules
                        .receivers_of(&alert.severity, alert.owner.as_deref());
                    names.contains(&name.as_str())
                }
                Message::Rollout(_) => receivers.rules.rollouts.contains(name),
            };
            let own: Vec<_> = messages.iter().filter(is_own).collect();
            if own.is_empty() {
                continue;
            }
            let waiting = self.bus().list(&folder(name)).await?;
            let over = (waiting.len() + own.len()).saturating_sub(OUTBOX_MAX);
            for entry in waiting.into_iter().take(over) {
                tracing::error!(
                    receiver = name,
                    key = entry.key,
                    "too many messages wait; the oldest is dropped"
                );
                let expect = Expect::Any;
                ops.push(Op::Delete {
                    key: entry.key,
                    expect,
                });
            }
            for message in own {
                let delivery = Delivery {
                    schema: DELIVERY_SCHEMA,
                    message: message.clone(),
                };
                ops.push(Op::put_json(key(name, message), &delivery, Expect::Any)?);
            }
        }
        Ok(ops)
    }

    /// The message that a receiver gets next. One that cannot be read is removed.
    pub(super) async fn next_delivery(&self, receiver: &str) -> Result<Option<(String, Delivery)>, Error> {
        for entry in self.bus().list(&folder(receiver)).await? {
            let read = entry.json::<Delivery>().map_err(Error::from);
            let read = read.and_then(|delivery| {
                check_schema(&entry.key, delivery.schema, DELIVERY_SCHEMA)?;
                Ok(delivery)
            });
            match read {
                Ok(delivery) => return Ok(Some((entry.key, delivery))),
                Err(error) => {
                    tracing::error!(key = entry.key, %error, "a message for a receiver cannot be read; it is dropped");
                    self.delivered(entry.key).await?;
                }
            }
        }
        Ok(None)
    }

    /// It has arrived, or is given up.
    pub(super) async fn delivered(&self, key: String) -> Result<(), Error> {
        let expect = Expect::Any;
        self.bus().commit(vec![Op::Delete { key, expect }]).await?;
        Ok(())
    }

    /// What waits for whom.
    pub(crate) async fn receiver_views(&self) -> Result<Vec<ReceiverView>, Error> {
        let mut views = Vec::new();
        for name in self.shared.parts.receivers.targets.keys() {
            let waiting = self.bus().list(&folder(name)).await?;
            let oldest = waiting.first().and_then(|entry| {
                let (at, _) = entry.key.rsplit_once('/')?.1.split_once('-')?;
                at.parse().ok()
            });
            views.push(ReceiverView {
                name: name.clone(),
                waiting: waiting.len() as u64,
                oldest_at: oldest,
            });
        }
        Ok(views)
    }
}

const _: () = assert!(OUTBOX_MAX * OUTBOX_BYTES_MAX <= 16 * 1024 * 1024);
