//! Watching a prefix without a queue: a watch remembers the last revision it has given and reads on from there, so a
//! slow watcher costs no memory, misses no document's newest state, and skips the states in between.

use tokio::sync::watch;

use crate::bus::Shared;
use crate::document::Event;
use crate::{Bus, Error};

/// The changes under one prefix. Holds the bus open.
#[derive(Debug)]
pub struct Watch {
    bus: Bus,
    prefix: String,
    latest: watch::Receiver<u64>,
    /// Everything up to this revision has been given or skipped.
    seen: u64,
    /// The revision at which the watch began, until `Event::Current` has been given.
    current_at: Option<u64>,
}

impl Watch {
    pub(crate) fn new(bus: Bus, prefix: &str) -> Self {
        let latest = bus.shared.latest.subscribe();
        let began = *latest.borrow();
        Self {
            bus,
            prefix: prefix.to_owned(),
            latest,
            seen: 0,
            current_at: Some(began),
        }
    }

    /// The next event. May be dropped at any await and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            let known = *self.latest.borrow_and_update();
            if self.seen >= known {
                if self.current_at.take().is_some() {
                    return Ok(Event::Current);
                }
                if self.latest.changed().await.is_err() {
                    return Err(Error::Stopped {
                        doing: "watch documents",
                    });
                }
                continue;
            }
            let (prefix, after) = (self.prefix.clone(), self.seen);
            let look = move |shared: &Shared| shared.store.next_change(&prefix, after);
            let step = self.bus.blocking("watch documents", look).await?;
            if self.current_at.is_some_and(|began| step.through > began) {
                self.current_at = None;
                return Ok(Event::Current);
            }
            self.seen = step.through;
            match step.event {
                // What was gone before the watch began is no news.
                Some(Event::Delete { .. }) if self.current_at.is_some() => {}
                Some(event) => return Ok(event),
                None => {}
            }
        }
    }
}
