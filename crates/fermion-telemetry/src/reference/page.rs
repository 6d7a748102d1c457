//! The published page: the same table for people.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{FAMILIES, export};
use crate::Signal;
use crate::control_metrics::{Deployed, Heard, Order, REGISTRY_OPERATIONS, ROLLOUT_OUTCOMES};
use crate::doors::{Compilation, Door, Wake};
use crate::keyvalue_metrics::{StoreOperation, StoreResult};
use crate::objectives::{BURN_WINDOWS, SEVERITIES};
use crate::release_metrics::{BLAMES, CLASSES, PHASES};
use crate::upstreams::CallResult;

/// The reference as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nGenerated from the table that the metrics are made of; `UPDATE_REFERENCES=1 cargo test -p \
         fermion-telemetry` writes it again. How to scrape them is in [operating.md](../operating.md).\n\n\
         | metric | type | unit | labels | what | look when |\n|---|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let suffixes = family.kind.suffixes().iter();
        let names: Vec<_> = suffixes
            .map(|suffix| format!("`{}{suffix}`", family.name))
            .collect();
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        put(
            &mut page,
            format_args!(
                "| {} | {} | {} | {} | {} | {} |\n",
                names.join(", "),
                family.kind.as_str(),
                if family.unit.is_empty() { "-" } else { family.unit },
                labels.join(", "),
                family.help,
                family.watch
            ),
        );
    }
    page.push_str("\n| label | values |\n|---|---|\n");
    page.push_str("| `namespace`, `app`, `release` | who served, `release` as `r7`; releases beyond the bound share `other`, `other`, `r0` |\n");
    let operations: Vec<_> = StoreOperation::ALL
        .into_iter()
        .chain(REGISTRY_OPERATIONS)
        .collect();
    for (label, values) in [
        ("status_class", &CLASSES[..]),
        ("blame", &BLAMES),
        ("phase", &PHASES),
        ("door", &Door::ALL.map(Door::as_str)),
        ("outcome", &outcomes()),
        ("result", &CallResult::ALL.map(CallResult::as_str)),
        ("connection", &["new", "reused"]),
        ("operation", &operations),
        ("answer", &StoreResult::ALL),
        ("signal", &Signal::ALL.map(Signal::as_str)),
        ("decision", &["kept", "over_budget", "passed"]),
        ("order", &Order::ALL),
        ("severity", &SEVERITIES),
        ("window", &BURN_WINDOWS.map(|(name, _)| name)),
        ("of", &["releases", "frames", "otlp", "stores"]),
    ] {
        let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
        put(&mut page, format_args!("| `{label}` | {} |\n", values.join(", ")));
    }
    page.push_str(&export::reasons());
    page.push_str(
        "| `objective` | the name in `spec.objectives` |\n| `code` | a code of [errors.md](../errors.md); `none` for a request without a route and without a fault |\n\
         | `upstream` | a rule of `[capabilities] http`, as written; `none` for calls that no rule grants |\n\
         | `store` | the name in `[capabilities] keyvalue`; stores beyond the bound share `other`, `other`, `other` |\n\
         | `log` | the log's name |\n| `root` | `packages` |\n| `state` | `dormant` |\n| `thread` | the serving thread's number |\n| `cache` | `native`: compiled code |\n| `kind` | `resident` |\n| `version`, `commit` | of the binary |\n\n\
         `status_class=\"none\"` is a request whose caller got no answer, `blame=\"none\"` one that went well. A \
         histogram's `_bucket` also has `le`, its upper bound in seconds; in OpenMetrics those of \
         `fermion_request_duration_seconds` with `phase=\"total\"` carry an exemplar with a `trace_id`.\n",
    );
    page
}

/// Every value of the label that several families share, once.
fn outcomes() -> Vec<&'static str> {
    let compiled = Compilation::ALL.map(Compilation::as_str).into_iter();
    let woke = compiled.chain(Wake::ALL.map(Wake::as_str));
    let others = Deployed::ALL
        .into_iter()
        .chain(ROLLOUT_OUTCOMES)
        .chain(Heard::ALL);
    let mut outcomes: Vec<_> = woke.chain(others).collect();
    let mut known = BTreeSet::new();
    outcomes.retain(|outcome| known.insert(*outcome));
    outcomes
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes everything");
}
