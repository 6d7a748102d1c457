//! `fermion slo`: what apps promise, and how much of their error budgets is left.

use anyhow::Result;
use fermion_api::{BurnView, Indicator, ObjectiveList, ObjectiveView};
use fermion_model::objective::ObjectiveSpec;

use crate::cli::SloArgs;
use crate::commands::admin::client;
use crate::output;

/// The windows of the table, in seconds.
const WINDOWS: [u64; 3] = [300, 3_600, 6 * 3_600];

/// Shows one app's objectives, or those of every app.
pub(crate) async fn run(arguments: &SloArgs, json: bool) -> Result<()> {
    let client = client(&arguments.admin)?;
    let apps = match &arguments.app {
        Some(app) => vec![app.clone()],
        None => {
            let apps = client.apps(&arguments.namespace).await?;
            apps.into_iter().map(|app| app.app).collect()
        }
    };
    let mut lists = Vec::new();
    for app in &apps {
        lists.push(client.objectives(&arguments.namespace, app).await?);
    }
    if json {
        match (&arguments.app, lists.first()) {
            (Some(_), Some(list)) => output::json(list),
            _ => output::json(&lists),
        }
        return Ok(());
    }
    let rows: Vec<_> = lists
        .iter()
        .flat_map(|list| list.objectives.iter().map(|objective| row(list, objective)))
        .collect();
    if rows.is_empty() {
        output::line("nothing is promised");
        return Ok(());
    }
    output::table(
        [
            "APP",
            "OBJECTIVE",
            "TARGET",
            "OVER",
            "GOOD",
            "EVENTS",
            "BUDGET LEFT",
            "BURN 5m",
            "1h",
            "6h",
            "GONE IN",
            "CALLS FOR",
        ],
        &rows,
    );
    for list in lists.iter().filter(|list| !list.telemetry) {
        output::line(format!(
            "{}/{}: nodes have sent nothing for a while; nothing is known of now",
            list.namespace, list.app
        ));
    }
    Ok(())
}

fn row(list: &ObjectiveList, view: &ObjectiveView) -> [String; 12] {
    let spec: ObjectiveSpec = view.objective.clone().into();
    let name = match view.objective.indicator {
        Indicator::LatencyBelow(_) => format!("{} ({})", spec.name, spec.indicator),
        _ => spec.name.clone(),
    };
    let [five, hour, six] = WINDOWS.map(|seconds| {
        let burn = view.burns.iter().find(|burn| burn.window_seconds == seconds);
        number(burn.and_then(|burn| burn.burn))
    });
    let actions = match view.actions.join(", ") {
        text if text.is_empty() => "-".to_owned(),
        text => text,
    };
    [
        format!("{}/{}", list.namespace, list.app),
        name,
        spec.target.to_string(),
        time(spec.window),
        good(&view.whole),
        view.whole.total.to_string(),
        view.budget_left
            .map_or_else(no_data, |left| format!("{:.1}%", left * 100.0)),
        five,
        hour,
        six,
        view.exhausted_in_seconds.map_or_else(|| "-".to_owned(), time),
        actions,
    ]
}

fn good(burn: &BurnView) -> String {
    if burn.total == 0 {
        return no_data();
    }
    #[expect(clippy::cast_precision_loss, reason = "shown to three decimals")]
    let share = burn.good as f64 / burn.total as f64;
    format!("{:.3}%", share * 100.0)
}

/// What never happened is neither good nor bad.
fn no_data() -> String {
    "no data".to_owned()
}

fn number(burn: Option<f64>) -> String {
    burn.map_or_else(|| "-".to_owned(), |burn| format!("{burn:.1}"))
}

/// The largest unit of which there are at least two, or one exactly.
pub(crate) fn time(seconds: u64) -> String {
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if seconds == unit || seconds >= 2 * unit {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn times_are_short() {
        let words = [0, 59, 60, 119, 120, 3_600, 9_000, 86_400, 30 * 86_400].map(time);
        assert_eq!(words, ["0s", "59s", "1m", "119s", "2m", "1h", "2h", "1d", "30d"]);
    }
}
