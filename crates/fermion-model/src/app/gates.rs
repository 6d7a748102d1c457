//! `spec.rollout.gates` of `app.yaml`.

use crate::document::{DocumentError, Node, Section};
use crate::gate::{Before, Gate, Need, Window, read_clock, zone};
use crate::limits::GATES_MAX;
use crate::objective::read_name;

/// Reads the list.
pub(super) fn read(section: &mut Section<'_>, file: &str) -> Result<Vec<Gate>, DocumentError> {
    let next = "write a list such as [{before: promotion, approval: true}]";
    let full = section.full("gates");
    let nodes = section.nodes("gates", GATES_MAX, next)?;
    let indexed = nodes.into_iter().enumerate();
    indexed
        .map(|(index, node)| gate(format!("{full}[{index}]"), node, file))
        .collect()
}

fn gate(path: String, node: Node, file: &str) -> Result<Gate, DocumentError> {
    let at = node.at;
    let mut section = Section::open(file, path.clone(), node, &["before", "approval", "window", "ask"])?;
    let next = "write before: rollout, step or promotion";
    let before = section
        .converted("before", next, |text| {
            let known = Before::ALL.iter().find(|(_, name)| *name == text);
            known
                .map(|(before, _)| *before)
                .ok_or_else(|| format!("{text:?} is none of these"))
        })?
        .ok_or_else(|| section.missing("before", next))?
        .value;
    let mut needs = Vec::new();
    if section.boolean("approval")? == Some(true) {
        needs.push(Need::Approval);
    }
    if let Some(window) = section.section("window", &["days", "from", "until", "zone"])? {
        needs.push(Need::Window(read_window(window)?));
    }
    let next = "write the name of a webhook or a command of alerts.toml";
    if let Some(placed) = section.converted("ask", next, read_name)? {
        needs.push(Need::Ask(placed.value));
    }
    match <[_; 1]>::try_from(needs) {
        Ok([need]) => Ok(Gate { before, need }),
        Err(_) => {
            let next =
                "write one of approval: true, window: {from: \"09:00\", until: \"16:00\"} and ask: NAME";
            Err(section.refuse(at, format!("{path} does not need exactly one thing"), next))
        }
    }
}

fn read_window(mut section: Section<'_>) -> Result<Window, DocumentError> {
    let next = format!("days here: {}", Window::DAYS.join(", "));
    let days = section.list("days", Window::DAYS.len(), &next, |text| {
        let known = Window::DAYS.iter().position(|name| *name == text);
        known
            .and_then(|day| u8::try_from(day).ok())
            .ok_or_else(|| format!("{text:?} is not a day"))
    })?;
    let mut time = |key: &str| {
        let next = "write a time of day such as \"09:30\"";
        let placed = section.converted(key, next, read_clock)?;
        Ok(placed.ok_or_else(|| section.missing(key, next))?.value)
    };
    let (from, until) = (time("from")?, time("until")?);
    let next = "write a place such as Europe/Berlin, or UTC";
    let zone = section.converted("zone", next, |text| {
        zone(text)
            .map(|_| text.to_owned())
            .ok_or_else(|| format!("{text:?} is no place that the time zone database knows"))
    })?;
    Ok(Window {
        days,
        from,
        until,
        zone: zone.map_or_else(|| "UTC".to_owned(), |placed| placed.value),
    })
}
