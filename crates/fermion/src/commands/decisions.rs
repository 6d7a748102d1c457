//! `fermion inspect --decisions`: what the gate of a running platform has decided, and why.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use fermion_api::DecisionView;
use fermion_model::{AppName, Digest};
use fermion_telemetry::rfc3339;

use crate::cli::InspectArgs;
use crate::commands::admin::client;
use crate::output;

/// Shows the decisions on an app, on a package, or all.
pub(crate) async fn run(arguments: &InspectArgs, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    let what = arguments.what.as_deref();
    let mut decisions = match what {
        None => client.decisions(None, None).await?,
        Some(text) => match text
            .rsplit('@')
            .next()
            .and_then(|text| text.parse::<Digest>().ok())
        {
            Some(digest) => client.decisions(None, Some(&digest)).await?,
            None if text.contains(':') => client.decisions(None, None).await?,
            None => {
                let app: AppName = text.parse()?;
                client.decisions(Some((&arguments.namespace, &app)), None).await?
            }
        },
    };
    if let Some((name, version)) = what
        .filter(|text| !text.contains("sha256:"))
        .and_then(|text| text.rsplit_once(':'))
    {
        decisions.retain(|decision| decision.package == name && decision.version == version);
    }
    if json {
        output::json(&decisions);
        return Ok(());
    }
    if decisions.is_empty() {
        output::line("no decision is on record");
        return Ok(());
    }
    let row = |decision: &DecisionView| {
        let release = decision
            .release
            .map_or_else(|| "-".to_owned(), |number| number.to_string());
        [
            rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(decision.at)),
            format!("{}/{}", decision.namespace, decision.app),
            release,
            format!("{}:{}", decision.package, decision.version),
            decision.action.clone(),
            decision.verdict.clone(),
            decision.by.clone(),
            decision.policies.join(", "),
        ]
    };
    let rows: Vec<_> = decisions.iter().map(row).collect();
    output::table(
        [
            "TIME", "APP", "RELEASE", "PACKAGE", "ACTION", "VERDICT", "BY", "POLICIES",
        ],
        &rows,
    );
    for decision in decisions.iter().filter(|decision| decision.verdict != "allow") {
        output::line(format!(
            "{}/{} {}: {}",
            decision.namespace, decision.app, decision.version, decision.explanation
        ));
        if let Some(reason) = &decision.override_reason {
            output::line(format!("  passed by {}: {reason}", decision.by));
        }
    }
    Ok(())
}
