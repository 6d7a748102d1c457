//! `fermion freeze`: times in which no release goes forward.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use fermion_api::{FreezeList, FreezeRequest};
use fermion_telemetry::rfc3339;
use jiff::Timestamp;

use crate::cli::{FreezeAction, FreezeArgs};
use crate::commands::admin::client;
use crate::output;
use crate::sink::seconds_now;

/// Lists, orders or ends freezes.
pub(crate) async fn run(arguments: FreezeArgs, json: bool) -> Result<()> {
    let list = match arguments.action {
        None => client(&arguments.admin)?.freezes().await?,
        Some(FreezeAction::List { admin }) => client(&admin)?.freezes().await?,
        Some(FreezeAction::Remove { id, admin }) => client(&admin)?.thaw(&id).await?,
        Some(FreezeAction::Add {
            app,
            namespace,
            from,
            until,
            time,
            reason,
            admin,
        }) => {
            let from = from.map(seconds).transpose()?;
            let until = match (until, time) {
                (Some(until), _) => seconds(until)?,
                (None, time) => {
                    let length = time.unwrap_or_default().as_secs();
                    from.unwrap_or_else(seconds_now).saturating_add(length)
                }
            };
            let request = FreezeRequest {
                namespace,
                app,
                from,
                until,
                reason,
            };
            client(&admin)?.freeze(&request).await?
        }
    };
    show(&list, json);
    Ok(())
}

fn seconds(time: Timestamp) -> Result<u64> {
    u64::try_from(time.as_second()).with_context(|| format!("{time} is before 1970"))
}

fn show(list: &FreezeList, json: bool) {
    if json {
        return output::json(list);
    }
    if list.freezes.is_empty() {
        return output::line("nothing is frozen");
    }
    let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let rows: Vec<_> = list
        .freezes
        .iter()
        .map(|freeze| {
            let namespace = freeze.namespace.as_ref().map_or("*", |name| name.as_str());
            let app = freeze.app.as_ref().map_or("*", |name| name.as_str());
            [
                freeze.id.clone(),
                format!("{namespace}/{app}"),
                at(freeze.from),
                at(freeze.until),
                freeze.by.clone(),
                freeze.reason.clone(),
            ]
        })
        .collect();
    output::table(["FREEZE", "APPS", "FROM", "UNTIL", "BY", "WHY"], &rows);
}
