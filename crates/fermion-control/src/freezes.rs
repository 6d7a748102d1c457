//! Freezes: times in which no release goes forward. Rollouts wait at their next step, deploys that would take over at once
//! are refused; going back is always allowed.

use fermion_api::{FreezeList, FreezeRequest, FreezeView};
use fermion_bus::Expect;
use fermion_model::{AppName, Namespace, Release};
use serde::{Deserialize, Serialize};

use crate::control::check_schema;
use crate::limits::{CONFLICT_TRIES_MAX, FREEZE_AHEAD_MAX, FREEZES_MAX, SILENCE_REASON_BYTES_MAX};
use crate::{Control, Error};

const FREEZES: &str = "freezes";
const FREEZES_SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FreezesDocument {
    schema: u32,
    /// How many there ever were: no name is given twice.
    count: u64,
    freezes: Vec<FreezeView>,
}

impl Control {
    async fn read_freezes(&self) -> Result<(Option<u64>, FreezesDocument), Error> {
        let empty = FreezesDocument {
            schema: FREEZES_SCHEMA,
            count: 0,
            freezes: Vec::new(),
        };
        let read = self.bus().get_json::<FreezesDocument>(FREEZES).await?;
        let (revision, mut document) = read.map_or((None, empty), |(at, document)| (Some(at), document));
        check_schema(FREEZES, document.schema, FREEZES_SCHEMA)?;
        let now = self.now();
        document.freezes.retain(|freeze| freeze.until > now);
        document.freezes.sort_by_key(|freeze| freeze.from);
        Ok((revision, document))
    }

    /// Freezes that are in force or to come.
    pub async fn freezes(&self) -> Result<FreezeList, Error> {
        let (_, document) = self.read_freezes().await?;
        Ok(FreezeList {
            freezes: document.freezes,
        })
    }

    /// The freeze that holds an app back now.
    pub(crate) async fn frozen(
        &self,
        namespace: &Namespace,
        app: &AppName,
    ) -> Result<Option<FreezeView>, Error> {
        let (_, document) = self.read_freezes().await?;
        let now = self.now();
        let holds = |freeze: &FreezeView| {
            freeze.from <= now
                && freeze.namespace.as_ref().is_none_or(|named| named == namespace)
                && freeze.app.as_ref().is_none_or(|named| named == app)
        };
        Ok(document.freezes.into_iter().find(holds))
    }

    /// Refuses a release that would take over at once while its app is frozen: what is rolled out waits at its gates.
    pub(crate) async fn check_frozen(&self, release: &Release) -> Result<(), Error> {
        match self.frozen(&release.namespace, &release.app).await? {
            None => Ok(()),
            Some(freeze) => Err(Error::Frozen {
                app: release.app.clone(),
                freeze: Box::new(freeze),
            }),
        }
    }

    /// Orders one.
    pub async fn freeze(&self, request: FreezeRequest, by: &str) -> Result<FreezeList, Error> {
        let now = self.now();
        let from = request.from.unwrap_or(now);
        let refuse = |what: String| Err(Error::Request { what });
        if request.until <= from.max(now) {
            return refuse("until: it is not after the beginning, or is over already".to_owned());
        }
        if request.until > now.saturating_add(FREEZE_AHEAD_MAX.as_secs()) {
            let days = FREEZE_AHEAD_MAX.as_secs() / (24 * 3600);
            return refuse(format!("until: at most {days} days ahead"));
        }
        let reason = request.reason.trim();
        if reason.is_empty()
            || reason.len() > SILENCE_REASON_BYTES_MAX
            || reason.chars().any(char::is_control)
        {
            return refuse(format!(
                "reason: from 1 to {SILENCE_REASON_BYTES_MAX} bytes of plain text; whoever is held up reads it"
            ));
        }
        if request.app.is_some() && request.namespace.is_none() {
            return refuse("namespace: an app is named in its namespace".to_owned());
        }
        self.change_freezes(|document| {
            if document.freezes.len() >= FREEZES_MAX {
                return Err(Error::Busy { what: "freezes" });
            }
            document.count += 1;
            document.freezes.push(FreezeView {
                id: format!("f{}", document.count),
                namespace: request.namespace.clone(),
                app: request.app.clone(),
                from,
                until: request.until,
                reason: reason.to_owned(),
                by: by.to_owned(),
            });
            Ok(())
        })
        .await
    }

    /// Ends one.
    pub async fn thaw(&self, id: &str) -> Result<FreezeList, Error> {
        self.change_freezes(|document| {
            let before = document.freezes.len();
            document.freezes.retain(|freeze| freeze.id != id);
            if document.freezes.len() == before {
                return Err(Error::NoSuchFreeze { id: id.to_owned() });
            }
            Ok(())
        })
        .await
    }

    async fn change_freezes(
        &self,
        change: impl Fn(&mut FreezesDocument) -> Result<(), Error>,
    ) -> Result<FreezeList, Error> {
        for _ in 0..CONFLICT_TRIES_MAX {
            let (revision, mut document) = self.read_freezes().await?;
            change(&mut document)?;
            match self
                .bus()
                .put_json(FREEZES, &document, Expect::unchanged(revision))
                .await
            {
                Ok(_) => return self.freezes().await,
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy { what: "freezes" })
    }
}
