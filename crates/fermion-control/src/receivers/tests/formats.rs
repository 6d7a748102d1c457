//! The documents of each kind of receiver.

use serde_json::{Value, json};

use super::{alert, notice};
use crate::receivers::format::{alertmanager, own, pagerduty, slack, summary};
use crate::slo::Transition;

const SUMMARY: &str = "[page] default/tax success burns: 45 of 900 not good in 15 min, 50.0 times what the budget allows \
                       (limit 14.0); r2 has 98 % of them (44 of its 450); last change: deploy of r2 by operator, 10 min \
                       before";

#[test]
fn a_summary_says_what_where_how_badly_and_who() {
    assert_eq!(summary(&notice(1, Transition::Fired)), SUMMARY);
    assert_eq!(
        summary(&notice(1, Transition::Resolved)),
        "[page] default/tax success is well again"
    );
}

#[test]
fn our_own_document_has_everything() {
    let document = own(&alert(notice(1, Transition::Fired)));
    assert_eq!(document["version"], 1);
    assert_eq!(document["transition"], "fired");
    assert_eq!(document["alert"]["releases"][0]["release"], 2);
    assert_eq!(document["alert"]["changed"]["kind"], "deploy");
    assert_eq!(document["alert"]["runbook"], "https://runbooks.example.com/tax");
}

#[test]
fn slack_reads_text_and_attachments() {
    let mut fired = notice(1, Transition::Fired);
    fired.alert.owner = Some("<!channel> & co".to_owned());
    let document = slack(&alert(fired.clone()));
    assert_eq!(document["text"], SUMMARY);
    let attachment = &document["attachments"][0];
    assert_eq!(attachment["color"], "danger");
    assert_eq!(attachment["fields"][1]["value"], "&lt;!channel&gt; &amp; co");
    assert_eq!(
        slack(&alert(notice(1, Transition::Resolved)))["attachments"][0]["color"],
        "good"
    );
}

#[test]
fn pagerduty_reads_events_that_belong_together() {
    let event = pagerduty(&notice(1, Transition::Fired), "k").unwrap();
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["routing_key"], "k");
    assert_eq!(event["payload"]["severity"], "critical");
    assert_eq!(event["payload"]["source"], "default/tax");
    assert_eq!(event["links"][0]["href"], "https://runbooks.example.com/tax");
    for (transition, action) in [
        (Transition::Reopened, json!("trigger")),
        (Transition::Acknowledged, json!("acknowledge")),
        (Transition::Resolved, json!("resolve")),
    ] {
        let other = pagerduty(&notice(2, transition), "k").unwrap();
        assert_eq!(other["event_action"], action);
        assert_eq!(other["dedup_key"], event["dedup_key"]);
    }
    assert_eq!(pagerduty(&notice(3, Transition::NoData), "k"), None);
}

#[test]
fn an_alertmanager_reads_labels_that_stay_and_an_end() {
    let first = alertmanager(&notice(1, Transition::Fired));
    let last = alertmanager(&notice(2, Transition::Resolved));
    assert_eq!(first[0]["labels"], last[0]["labels"]);
    assert_eq!(first[0]["labels"]["alertname"], "FermionErrorBudgetBurn");
    assert_eq!(first[0]["startsAt"], last[0]["startsAt"]);
    assert_eq!(last[0]["endsAt"], "2027-01-15T08:15:00.000000Z");
    assert_eq!(
        first[0]["annotations"]["runbook_url"],
        "https://runbooks.example.com/tax"
    );
    let labels = first[0]["labels"].as_object().unwrap();
    assert!(labels.values().all(Value::is_string));
}
