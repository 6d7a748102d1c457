//! Messages: what is worth something now and nothing later. They are not stored; whoever listens too slowly, or not yet,
//! misses them and learns how many.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::limits::MESSAGES_WAITING_MAX;
use crate::{Bus, Error};

/// One message under its subject. Clones share the bytes.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is about: `frames/local`.
    pub subject: Arc<str>,
    /// Its content.
    pub bytes: Arc<[u8]>,
}

/// What a listener gets.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A message.
    Message(Message),
    /// So many messages, of whatever subject, were missed.
    Missed(u64),
}

/// Messages under a prefix, from the moment on at which this was made.
#[derive(Debug)]
pub struct Listener {
    receiver: broadcast::Receiver<Message>,
    prefix: String,
}

pub(crate) fn channel() -> broadcast::Sender<Message> {
    broadcast::Sender::new(MESSAGES_WAITING_MAX)
}

impl Bus {
    /// Sends a message to whoever listens now. Never waits.
    pub fn send(&self, subject: &str, bytes: impl Into<Arc<[u8]>>) {
        let message = Message {
            subject: subject.into(),
            bytes: bytes.into(),
        };
        // An error says that nobody listens, which is nobody's mistake.
        drop(self.shared.messages.send(message));
    }

    /// Listens for messages whose subject begins with `prefix` (any text).
    pub fn listen(&self, prefix: &str) -> Listener {
        Listener {
            receiver: self.shared.messages.subscribe(),
            prefix: prefix.to_owned(),
        }
    }
}

impl Listener {
    /// The next message. Safe to drop while it waits.
    ///
    /// # Errors
    /// `Stopped` when the bus is closed.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        loop {
            match self.receiver.recv().await {
                Ok(message) if message.subject.starts_with(&self.prefix) => {
                    return Ok(Heard::Message(message));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(count)) => return Ok(Heard::Missed(count)),
                Err(broadcast::error::RecvError::Closed) => {
                    return Err(Error::Stopped {
                        doing: "wait for a message",
                    });
                }
            }
        }
    }
}
