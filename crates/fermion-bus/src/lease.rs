//! Leases: one holder at a time, for a while. The fencing token counts up with every new holder, so that work done
//! under a lost lease can be refused by whoever receives it. Time is the caller's: one clock for all holders.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::document::Expect;
use crate::{Bus, Error};

/// A lease that is held, as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Greater than that of every earlier holder.
    pub fencing_token: u64,
    /// When it runs out, in milliseconds of the caller's clock.
    pub expires_at_millis: u64,
    revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    schema: u32,
    /// None once released.
    holder: Option<String>,
    fencing_token: u64,
    expires_at_millis: u64,
}

const SCHEMA: u32 = 1;

fn key(name: &str) -> String {
    format!("leases/{name}")
}

fn expiry(now_millis: u64, lasts: Duration) -> u64 {
    now_millis.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX))
}

impl Bus {
    /// Takes the lease if it is free, released or expired. `LeaseHeld` if another holds it; a holder that asks again
    /// gets a new lease with a new token, and its old one is lost.
    pub async fn lease_acquire(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
        now_millis: u64,
    ) -> Result<Lease, Error> {
        let found = self.get_json::<Stored>(&key(name)).await?;
        if let Some((_, stored)) = &found
            && let Some(other) = stored.holder.as_deref().filter(|other| *other != holder)
            && stored.expires_at_millis > now_millis
        {
            return Err(Error::LeaseHeld {
                name: name.to_owned(),
                holder: other.to_owned(),
                until_millis: stored.expires_at_millis,
            });
        }
        let stored = Stored {
            schema: SCHEMA,
            holder: Some(holder.to_owned()),
            fencing_token: found.as_ref().map_or(0, |(_, stored)| stored.fencing_token) + 1,
            expires_at_millis: expiry(now_millis, lasts),
        };
        let expect = Expect::unchanged(found.map(|(revision, _)| revision));
        let revision = self.put_json(&key(name), &stored, expect).await?;
        Ok(Lease {
            name: name.to_owned(),
            holder: holder.to_owned(),
            fencing_token: stored.fencing_token,
            expires_at_millis: stored.expires_at_millis,
            revision,
        })
    }

    /// Prolongs a lease that has not run out. `LeaseLost` if it has, or if it went to another.
    pub async fn lease_renew(&self, lease: &Lease, lasts: Duration, now_millis: u64) -> Result<Lease, Error> {
        if lease.expires_at_millis <= now_millis {
            return Err(Error::LeaseLost {
                name: lease.name.clone(),
            });
        }
        let stored = Stored {
            schema: SCHEMA,
            holder: Some(lease.holder.clone()),
            fencing_token: lease.fencing_token,
            expires_at_millis: expiry(now_millis, lasts),
        };
        let revision = self.lease_write(lease, &stored).await?;
        Ok(Lease {
            expires_at_millis: stored.expires_at_millis,
            revision,
            ..lease.clone()
        })
    }

    /// Gives the lease back at once. `LeaseLost` if it was no longer held.
    pub async fn lease_release(&self, lease: Lease) -> Result<(), Error> {
        let stored = Stored {
            schema: SCHEMA,
            holder: None,
            fencing_token: lease.fencing_token,
            expires_at_millis: 0,
        };
        self.lease_write(&lease, &stored).await.map(drop)
    }

    async fn lease_write(&self, lease: &Lease, stored: &Stored) -> Result<u64, Error> {
        match self
            .put_json(&key(&lease.name), stored, Expect::Revision(lease.revision))
            .await
        {
            Err(error) if error.is_conflict() => Err(Error::LeaseLost {
                name: lease.name.clone(),
            }),
            other => other,
        }
    }
}
