//! `fermion why`: what is wrong with an app now, in plain words.

use anyhow::Result;
use fermion_api::{WhyFinding, WhyView};

use crate::cli::AppArgs;
use crate::commands::admin::client;
use crate::output;

/// Asks, and shows the gravest first.
pub(crate) async fn run(arguments: &AppArgs, json: bool) -> Result<()> {
    let view = client(&arguments.admin)?
        .why(&arguments.namespace, &arguments.app)
        .await?;
    if json {
        output::json(&view);
    } else {
        show(&view);
    }
    Ok(())
}

fn show(view: &WhyView) {
    let name = format!("{}/{}", view.namespace, view.app);
    if view.findings.is_empty() {
        output::line(format!("{name}: nothing is wrong"));
    } else {
        let also = match view.findings.len() {
            1 => String::new(),
            count => format!(" ({count} findings, the gravest first)"),
        };
        output::line(format!("{name} is not well{also}"));
    }
    output::line(format!("  {}", view.summary));
    for (number, finding) in view.findings.iter().enumerate() {
        one(number + 1, finding);
    }
}

fn one(number: usize, finding: &WhyFinding) {
    output::line(format!(
        "\n{number}. {} [{}]\n   {}",
        finding.cause, finding.grade, finding.sentence
    ));
    for evidence in &finding.evidence {
        output::line(format!("   - {evidence}"));
    }
    for next in &finding.next {
        output::line(format!("   > {next}"));
    }
}
