//! The text that a scraper reads, in either of its two formats: Prometheus text 0.0.4 and OpenMetrics 1.0. They differ in
//! where a counter's name ends, in how what is no number is called, and in exemplars, which only the latter has.

use std::fmt::{Display, Write};

use crate::histogram::{BOUND_NAMES, Snapshot};
use crate::reference::{Family, Kind};

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Prometheus text 0.0.4, which everything reads.
    #[default]
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Format {
    /// What a scraper wants, by its `Accept`: OpenMetrics where it is wanted at least as much as text.
    pub fn of(accept: &str) -> Self {
        let weight = |wanted: &str| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
                let mut weights = parts.filter_map(|part| part.strip_prefix("q=")?.parse().ok());
                is_it.then(|| weights.next().unwrap_or(1.0))
            });
            ranges.fold(0.0_f32, f32::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The content type of what is written.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A label with its value.
pub(crate) type Label<'l> = (&'static str, &'l str);

/// What has been written so far.
#[derive(Debug)]
pub(crate) struct Encoder {
    text: String,
    format: Format,
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}

impl Encoder {
    pub(crate) fn new(format: Format) -> Self {
        Self {
            text: String::new(),
            format,
        }
    }

    /// Begins a family.
    pub(crate) fn family<'e>(&'e mut self, family: &'e Family) -> Samples<'e> {
        let Family { name, help, kind, .. } = family;
        let (suffix, kind) = match (self.format, kind) {
            (Format::Text, Kind::Counter) => ("_total", kind.as_str()),
            (Format::Text, Kind::Info) => ("_info", Kind::Gauge.as_str()),
            _ => ("", kind.as_str()),
        };
        put(
            &mut self.text,
            format_args!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"),
        );
        Samples {
            family,
            encoder: self,
        }
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// The samples of one family.
#[derive(Debug)]
pub(crate) struct Samples<'e> {
    family: &'e Family,
    encoder: &'e mut Encoder,
}

impl Samples<'_> {
    /// The one sample of a counter or gauge.
    pub(crate) fn put(&mut self, labels: &[Label<'_>], value: impl Display) {
        let suffix = self.family.kind.suffixes().first().copied().unwrap_or_default();
        self.sample(suffix, labels, value);
    }

    /// The samples of a histogram.
    pub(crate) fn histogram(&mut self, labels: &[Label<'_>], snapshot: &Snapshot) {
        let mut labels = labels.to_vec();
        let mut below = 0;
        for ((name, count), link) in BOUND_NAMES
            .into_iter()
            .zip(snapshot.histogram.counts())
            .zip(snapshot.links)
        {
            below += count;
            labels.push(("le", name));
            match link.filter(|_| self.encoder.format == Format::OpenMetrics) {
                Some(link) => {
                    let id = u128::from_be_bytes(link.trace_id);
                    let seconds = link.seconds;
                    let value = format_args!("{below} # {{trace_id=\"{id:032x}\"}} {seconds}");
                    self.sample("_bucket", &labels, value);
                }
                None => self.sample("_bucket", &labels, below),
            }
            labels.pop();
        }
        self.sample("_sum", &labels, snapshot.histogram.sum_seconds());
        self.sample("_count", &labels, below);
    }

    fn sample(&mut self, suffix: &str, labels: &[Label<'_>], value: impl Display) {
        let text = &mut self.encoder.text;
        put(text, format_args!("{}{suffix}", self.family.name));
        for (index, (name, value)) in labels.iter().enumerate() {
            put(
                text,
                format_args!("{}{name}=\"", if index == 0 { '{' } else { ',' }),
            );
            for letter in value.chars() {
                match letter {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    _ => text.push(letter),
                }
            }
            text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        put(text, format_args!("{end} {value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, format) in [
            (prometheus, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text; q=0.5", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
            (";;,,q=", Format::Text),
        ] {
            assert_eq!(Format::of(accept), format, "{accept}");
        }
    }

    #[test]
    fn what_others_chose_is_escaped() {
        let mut encoder = Encoder::new(Format::OpenMetrics);
        let mut samples = encoder.family(&reference::EGRESS_RETRIES);
        samples.put(&[("app", "a\"b\\c\nd"), ("upstream", "é{}")], 3);
        let text = encoder.finish();
        let sample = "fermion_egress_retries_total{app=\"a\\\"b\\\\c\\nd\",upstream=\"é{}\"} 3\n# EOF\n";
        assert!(text.ends_with(sample), "{text}");
    }
}
