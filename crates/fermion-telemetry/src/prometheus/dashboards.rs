//! Dashboards as Grafana reads them, made of tables of panels: no more than what differs from Grafana's defaults.

use serde_json::{Value, json};

use super::panels::{DEBUG, Draw, EXECUTIVE, ON_CALL, Panel};

/// Rows that a panel is high.
const HEIGHT: u8 = 8;
/// Columns of a dashboard.
const COLUMNS: u8 = 24;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dashboard {
    /// Whether promises are kept, over weeks.
    Executive,
    /// What is wrong now, and with whom.
    OnCall,
    /// What the platform itself does.
    Debug,
}

impl Dashboard {
    /// Every dashboard.
    pub const ALL: [Self; 3] = [Self::Executive, Self::OnCall, Self::Debug];

    fn panels(self) -> &'static [Panel] {
        match self {
            Self::Executive => EXECUTIVE,
            Self::OnCall => ON_CALL,
            Self::Debug => DEBUG,
        }
    }

    /// The queries of all panels, as PromQL with Grafana's variables in it.
    pub fn queries(self) -> impl Iterator<Item = &'static str> {
        let queries = self.panels().iter().flat_map(|panel| panel.queries);
        queries.map(|(query, _)| *query)
    }

    /// The dashboard as Grafana imports it.
    pub fn json(self) -> Value {
        let (name, uid, from) = match self {
            Self::Executive => ("promises", "fermion-executive", "now-30d"),
            Self::OnCall => ("on call", "fermion-on-call", "now-3h"),
            Self::Debug => ("the platform itself", "fermion-debug", "now-3h"),
        };
        json!({
            "uid": uid,
            "title": format!("Fermion: {name}"),
            "tags": ["fermion"],
            "schemaVersion": 39,
            "refresh": "30s",
            "time": {"from": from, "to": "now"},
            "templating": {"list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                variable("namespace", "label_values(fermion_slo_target_ratio, namespace)"),
                variable("app", "label_values(fermion_slo_target_ratio{namespace=~\"$namespace\"}, app)"),
            ]},
            "panels": layout(self.panels()),
        })
    }
}

fn variable(name: &str, query: &str) -> Value {
    json!({
        "name": name, "type": "query", "query": query, "datasource": source(),
        "includeAll": true, "allValue": ".*", "multi": true, "refresh": 2,
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// From left to right, and then below.
fn layout(panels: &[Panel]) -> Vec<Value> {
    let (mut left, mut top) = (0, 0);
    let mut placed = Vec::new();
    for (number, panel) in (1_u8..).zip(panels) {
        if left + panel.width > COLUMNS {
            (left, top) = (0, top + u32::from(HEIGHT));
        }
        placed.push(json!({
            "id": number,
            "title": panel.title,
            "type": match panel.draw {
                Draw::Lines | Draw::LinesWithTraces => "timeseries",
                Draw::Numbers => "stat",
                Draw::Bars => "bargauge",
            },
            "gridPos": {"x": left, "y": top, "w": panel.width, "h": HEIGHT},
            "datasource": source(),
            "fieldConfig": {"defaults": {"unit": panel.unit, "noValue": "no data"}, "overrides": []},
            "targets": panel.queries.iter().zip("ABCDEF".chars()).map(|((query, legend), letter)| json!({
                "refId": letter.to_string(),
                "expr": query,
                "legendFormat": legend,
                "instant": matches!(panel.draw, Draw::Numbers | Draw::Bars),
                "exemplar": panel.draw == Draw::LinesWithTraces,
            })).collect::<Vec<_>>(),
        }));
        left += panel.width;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::super::rules;
    use super::*;
    use crate::reference::FAMILIES;

    /// The names of metrics in a text: words that begin like ours.
    fn names(text: &str) -> Vec<&str> {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_:".contains(letter);
        let words = text.split(|letter: char| !is_name(letter));
        words.filter(|word| word.starts_with("fermion_")).collect()
    }

    #[test]
    fn every_metric_that_is_named_exists() {
        let rules = rules();
        let recorded: Vec<_> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- record: "))
            .collect();
        let is_known = |name: &str| {
            let mut samples = FAMILIES.iter().flat_map(|family| {
                let suffixes = family.kind.suffixes().iter();
                suffixes.map(|suffix| format!("{}{suffix}", family.name))
            });
            recorded.contains(&name) || samples.any(|sample| sample == name)
        };
        let boards = Dashboard::ALL.map(|board| board.json().to_string());
        for text in boards.iter().chain([&rules]) {
            let names = names(text);
            assert!(names.len() > 5);
            for name in names {
                assert!(is_known(name), "{name}");
            }
        }
    }

    #[test]
    fn panels_fit_into_their_rows() {
        for board in Dashboard::ALL {
            let json = board.json();
            let panels = json["panels"].as_array().unwrap();
            for panel in panels {
                let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
                assert!(at("x") + at("w") <= u64::from(COLUMNS), "{panel}");
            }
            assert_eq!(
                board.queries().count(),
                json.to_string().matches("\"expr\"").count()
            );
        }
    }
}
