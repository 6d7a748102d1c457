//! `fermion judge`: the planner's judge on a file, so that an operator can try it on data of their own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fermion_planner::judge::sequential::{Call, Watch};
use fermion_planner::judge::{self, Report, document};
use fermion_planner::limits::JUDGE_DOCUMENT_BYTES_MAX;
use serde::Serialize;
use serde_json::Value;

use crate::cli::{JudgeArgs, JudgeTest};
use crate::output;

/// Judges what the file says.
pub(crate) fn run(arguments: &JudgeArgs, json: bool) -> Result<()> {
    match (&arguments.test, &arguments.file) {
        (Some(_), Some(file)) => bail!(
            "{} stands before the name of a test: give one file, last",
            file.display()
        ),
        (Some(JudgeTest::Sequential { file }), None) => sequential(file, json),
        (Some(JudgeTest::Ratio { file }), None) => ratio(file, json),
        (None, Some(file)) => samples(file, json),
        (None, None) => unreachable!("the command line demands a file"),
    }
}

/// Reads a file of bounded size and gives what `parse` makes of it. Refusals begin with the file's name.
fn read<T>(path: &Path, parse: fn(&Value) -> Result<T, fermion_planner::Error>) -> Result<T> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(JUDGE_DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("{} cannot be read", path.display()))?;
    document::text(&bytes)
        .and_then(|value| parse(&value))
        .with_context(|| format!("{} cannot be judged", path.display()))
}

fn samples(path: &Path, json: bool) -> Result<()> {
    let request = read(path, document::request)?;
    let report = judge::judge(&request);
    if json {
        output::json(&report);
        return Ok(());
    }
    let Report {
        verdict,
        score,
        groups,
        metrics,
    } = report;
    output::line(format!(
        "{}: score {score} of 100 (passes from {}, fails below {})",
        word(&verdict),
        request.pass,
        request.marginal
    ));
    let rows: Vec<_> = groups
        .into_iter()
        .map(|group| [group.name, format!("{:.2}", group.score)])
        .collect();
    output::table(["GROUP", "SCORE"], &rows);
    let rows: Vec<_> = metrics
        .into_iter()
        .map(|finding| {
            let critical = if finding.critical { "yes" } else { "" };
            [
                finding.name,
                word(&finding.classification),
                critical.to_owned(),
                finding.reason,
            ]
        })
        .collect();
    output::table(["METRIC", "FOUND", "CRITICAL", "WHY"], &rows);
    Ok(())
}

/// The word that a value has in JSON, for people too.
fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

#[derive(Serialize)]
struct Sequence {
    verdict: Call,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    e: f64,
    p: f64,
}

fn sequential(path: &Path, json: bool) -> Result<()> {
    let document = read(path, document::events)?;
    let mut watch = Watch::new(document.alpha);
    let mut aborted_at = None;
    let mut steps = Vec::with_capacity(document.events.len());
    for (index, event) in document.events.iter().enumerate() {
        watch.observe(event.arm, event.failed, event.exposure);
        if watch.call() == Call::Abort {
            aborted_at.get_or_insert(index + 1);
        }
        let evidence = watch.evidence();
        steps.push(Step {
            e: evidence.e(),
            p: evidence.p(),
        });
    }
    let verdict = watch.call();
    if json {
        output::json(&Sequence { verdict, steps });
        return Ok(());
    }
    let count = steps.len();
    let p = steps.last().map_or(1.0, |step| step.p);
    output::line(match (verdict, aborted_at) {
        (Call::Abort, Some(at)) => {
            format!("abort: at event {at} of {count} the canary is plainly worse (p {p:.2e})")
        }
        (Call::Clear, _) => {
            format!("clear: after {count} events the canary's failure rate is fine (p {p:.2e})")
        }
        _ => format!("continue: after {count} events nothing is sure yet (p {p:.2e})"),
    });
    Ok(())
}

#[derive(Serialize)]
struct Ratios {
    ln_m1: f64,
    ln_m0: f64,
    p: f64,
}

fn ratio(path: &Path, json: bool) -> Result<()> {
    let document::Counts { mut ratio, batches } = read(path, document::counts)?;
    for batch in &batches {
        ratio.observe(batch);
    }
    let (ln_m1, ln_m0, p) = (ratio.ln_m1(), ratio.ln_m0(), ratio.p());
    if json {
        output::json(&Ratios { ln_m1, ln_m0, p });
        return Ok(());
    }
    output::line(format!(
        "p {p:.2e}: if the arms had their shares, counts as far off would ever be seen with at most this chance"
    ));
    output::line(format!(
        "ln likelihood {ln_m1:.4} with other shares, {ln_m0:.4} with the expected ones; {} batches",
        batches.len()
    ));
    Ok(())
}
