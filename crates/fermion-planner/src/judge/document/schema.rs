//! The JSON Schema of the three documents, from the constants that the reader uses.

use serde_json::{Value, json};

use super::reader::Bounds;
use super::{
    CHANCE, COMPATIBILITIES, DIRECTIONS, MEASURES, MISSING, NOT_NEGATIVE, OUTLIERS, POSITIVE, SCORE, SHARE,
};
use crate::judge::ratio::CONCENTRATION;
use crate::judge::sequential::ALPHA;
use crate::limits::{
    ARMS_MAX, BATCHES_MAX, CONFIDENCE, EVENTS_MAX, MARGINAL_SCORE, METRICS_MAX, NAME_CHARACTERS_MAX,
    OUTLIER_FACTOR, PASS_SCORE, SAMPLES_MAX, SAMPLES_MIN, TOLERANCE,
};

/// The schema's identity.
pub const SCHEMA_ID: &str = "https://fermion.dev/schema/judge-1.json";

/// The JSON Schema (draft 2020-12) of what `fermion judge` reads: samples at the top, a sequential test under
/// `$defs/sequential`, a sample-ratio check under `$defs/ratio`. Keys are sorted, so that the text is always the same.
pub fn schema() -> Value {
    let mut schema = samples();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(SCHEMA_ID);
    schema["title"] = json!("Samples for fermion judge");
    schema["$defs"] = json!({"metric": metric(), "sequential": sequential(), "ratio": ratio()});
    schema.sort_all_objects();
    schema
}

fn table(description: &str, required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn number(description: &str, bounds: Bounds, default: Option<f64>) -> Value {
    let mut schema = json!({"type": "number", "description": description});
    let (low, high) = if bounds.inclusive {
        ("minimum", "maximum")
    } else {
        ("exclusiveMinimum", "exclusiveMaximum")
    };
    schema[low] = json!(bounds.low);
    if bounds.high < f64::MAX {
        schema[high] = json!(bounds.high);
    }
    if let Some(default) = default {
        schema["default"] = json!(default);
    }
    schema
}

fn choice<T>(description: &str, choices: &[(&str, T)], default: &str) -> Value {
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    json!({"enum": names, "description": description, "default": default})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description, "default": false})
}

fn name(description: &str) -> Value {
    json!({"type": "string", "description": description, "minLength": 1, "maxLength": NAME_CHARACTERS_MAX})
}

fn samples() -> Value {
    table(
        "Samples of a canary and of a baseline, and how they are to be judged.",
        &["metrics"],
        json!({
            "compatibility": choice(
                "kayenta: the original's rules, so that its published results apply. fermion: the same, mended.",
                &COMPATIBILITIES,
                "fermion",
            ),
            "confidence": number("How sure a difference has to be.", CHANCE, Some(CONFIDENCE)),
            "tolerance": number(
                "How far the whole interval of a shift has to be from zero, as a share of the shift.",
                NOT_NEGATIVE,
                Some(TOLERANCE),
            ),
            "pass": number("The score from which the release passes.", SCORE, Some(PASS_SCORE)),
            "marginal": number(
                "The score from which the release is neither good nor bad; at most pass.",
                SCORE,
                Some(MARGINAL_SCORE),
            ),
            "groups": {
                "type": "object",
                "description": "Weights of groups in percent, together at most 100. The rest is shared by the others.",
                "additionalProperties": number("The group's weight.", SCORE, None),
            },
            "metrics": {
                "type": "array",
                "description": "What is compared.",
                "items": {"$ref": "#/$defs/metric"},
                "minItems": 1,
                "maxItems": METRICS_MAX,
            },
        }),
    )
}

fn metric() -> Value {
    let arm = |whose: &str| {
        json!({
            "type": "array",
            "description": format!(
                "Samples of the {whose}; null or \"NaN\" where nothing was measured. Fewer than {SAMPLES_MIN} are \
                 inconclusive under the fermion rules."
            ),
            "items": {"anyOf": [{"type": "number"}, {"type": "null"}, {"const": "NaN"}]},
            "maxItems": SAMPLES_MAX,
        })
    };
    let threshold = |description: &str| {
        let mut schema = number(description, NOT_NEGATIVE, None);
        schema["description"] = json!(format!(
            "{description} 1 for mean-ratio and 0.5 for cles, unless written."
        ));
        schema
    };
    let effect = table(
        "From which size on a difference counts.",
        &[],
        json!({
            "measure": choice(
                "mean-ratio: the canary's mean by the baseline's. cles: the chance that a canary's sample is the higher one.",
                &MEASURES,
                "mean-ratio",
            ),
            "allowed_increase": threshold("An increase below this passes."),
            "allowed_decrease": threshold("A decrease above this passes."),
            "critical_increase": threshold("An increase from here on is critical, if the metric is."),
            "critical_decrease": threshold("A decrease from here on is critical, if the metric is."),
        }),
    );
    table(
        "One metric.",
        &["name", "canary", "baseline"],
        json!({
            "name": name("What people call it."),
            "group": name("The group whose score it is part of; default unless written."),
            "canary": arm("canary"),
            "baseline": arm("baseline"),
            "direction": choice("Which change is for the worse.", &DIRECTIONS, "either"),
            "nan": choice("What a missing sample means: nothing, or zero.", &MISSING, "remove"),
            "outliers": choice("What becomes of values far from the others.", &OUTLIERS, "keep"),
            "outlier_factor": number(
                "Interquartile ranges beyond the quartiles at which outliers begin.",
                POSITIVE,
                Some(OUTLIER_FACTOR),
            ),
            "critical": flag("Its failure, or silence, fails the release."),
            "must_have_data": flag("Its silence counts against the release."),
            "effect": effect,
        }),
    )
}

fn sequential() -> Value {
    let event = table(
        "One request, or one failure: successes matter to the test without a baseline only.",
        &["arm", "failed", "exposure"],
        json!({
            "arm": {"enum": ["canary", "baseline"], "description": "Which release served it."},
            "failed": {"type": "boolean", "description": "Whether it failed."},
            "exposure": number(
                "The canary's share of traffic at that moment; 1 where there is no baseline.",
                SHARE,
                None,
            ),
        }),
    );
    table(
        "Requests in order, for fermion judge sequential.",
        &["events"],
        json!({
            "alpha": number("How often a good release may be aborted.", CHANCE, Some(ALPHA)),
            "events": {
                "type": "array",
                "description": "What happened, in order.",
                "items": event,
                "maxItems": EVENTS_MAX,
            },
        }),
    )
}

fn ratio() -> Value {
    let arms = |description: &str, item: Value| {
        json!({
            "type": "array",
            "description": description,
            "items": item,
            "minItems": 2,
            "maxItems": ARMS_MAX,
        })
    };
    let prior = format!(
        "What the shares may be instead, as Dirichlet parameters; {CONCENTRATION} times the expected shares unless written."
    );
    table(
        "Requests of each arm, for fermion judge ratio.",
        &["expected", "batches"],
        json!({
            "expected": arms("Each arm's share; together 1.", number("A share.", SHARE, None)),
            "prior": arms(&prior, number("A Dirichlet parameter.", POSITIVE, None)),
            "batches": {
                "type": "array",
                "description": "Requests of each arm since the batch before.",
                "items": arms("One number an arm.", json!({"type": "integer", "minimum": 0})),
                "maxItems": BATCHES_MAX,
            },
        }),
    )
}
