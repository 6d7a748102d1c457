//! What stands before a rollout's next step: freezes, and the gates of its spec. Approvals are people's, who promote;
//! windows are the calendar's; questions are asked beside the looks, so that nobody who is slow to answer holds one up.

use std::collections::HashMap;

use fermion_model::gate::{Before, Need};
use fermion_planner::rollout::{Pause, Phase};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::document::RolloutDocument;
use super::words;
use crate::Control;
use crate::error::time_text;
use crate::limits::{GATE_ASKED_EVERY, GATE_QUESTIONS_MAX, GATE_YES_KEEPS};
use crate::receivers::Word;

/// What was asked: whom, about which step of which rollout.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    app: String,
    rollout: u64,
    /// The step that it is at, and whether that has begun.
    at: (usize, bool),
    receiver: String,
}

/// What is known of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Waits,
    /// Answered, at a time by the controller's clock.
    Answered(Word, u64),
}

/// Every gate of every rollout, as far as this life of a controller knows.
#[derive(Debug, Default)]
pub(super) struct Gates {
    asked: HashMap<Question, Asked>,
    under_way: JoinSet<(Question, Word)>,
}

impl Gates {
    /// What keeps a rollout from going forward now, in words; empty if nothing does, or if it would not go forward anyway.
    pub(super) async fn closed(&mut self, control: &Control, document: &RolloutDocument) -> Vec<String> {
        let state = &document.state;
        let may_go_forward = matches!(
            state.phase,
            Phase::Prewarming | Phase::Mirroring | Phase::Judging | Phase::Paused(Pause::Gate)
        );
        if !may_go_forward {
            return Vec::new();
        }
        let now = control.now();
        self.collect(now);
        let mut closed = Vec::new();
        match control.frozen(&document.namespace, &document.app).await {
            Ok(None) => {}
            Ok(Some(freeze)) => closed.push(format!(
                "{} freezes it until {}: {}",
                freeze.id,
                time_text(freeze.until),
                freeze.reason
            )),
            // What may be forbidden is not done.
            Err(error) => closed.push(format!("freezes cannot be read: {error}")),
        }
        for gate in &document.spec.gates {
            if !stands(gate.before, document) {
                continue;
            }
            match &gate.need {
                Need::Approval => closed.push("it needs an approval".to_owned()),
                Need::Window(window) if window.is_open(now) => {}
                Need::Window(window) => closed.push(format!("it goes on {} only", window.text())),
                Need::Ask(receiver) => closed.extend(self.ask(control, document, receiver, now)),
            }
        }
        closed
    }

    /// Takes in what was answered, and forgets what nobody asks about any more.
    fn collect(&mut self, now: u64) {
        while let Some(joined) = self.under_way.try_join_next() {
            match joined {
                Ok((question, word)) => {
                    self.asked.insert(question, Asked::Answered(word, now));
                }
                // Which one died is not known: all that wait are asked again, under the same keys.
                Err(_) => self.asked.retain(|_, asked| *asked != Asked::Waits),
            }
        }
        self.asked.retain(|_, asked| match asked {
            Asked::Waits => true,
            Asked::Answered(word, at) => now.abs_diff(*at) <= keeps(word),
        });
    }

    /// Asks, unless the answer is known. Says what is in the way.
    fn ask(
        &mut self,
        control: &Control,
        document: &RolloutDocument,
        receiver: &str,
        now: u64,
    ) -> Option<String> {
        let question = Question {
            app: document.name(),
            rollout: document.id,
            at: (document.state.step, document.state.weight > 0),
            receiver: receiver.to_owned(),
        };
        match self.asked.get(&question) {
            Some(Asked::Answered(Word::Yes, _)) => return None,
            Some(Asked::Answered(Word::No(why), _)) => return Some(why.clone()),
            Some(Asked::Waits) => {}
            None if self.under_way.len() < GATE_QUESTIONS_MAX => {
                let (body, key) = (body(document), key(&question));
                let (control, asked) = (control.clone(), question.clone());
                self.asked.insert(question, Asked::Waits);
                self.under_way.spawn(async move {
                    let receivers = &control.shared.parts.receivers;
                    let word = receivers.ask(&asked.receiver, &key, &body, now).await;
                    (asked, word)
                });
            }
            None => {}
        }
        Some(format!("{receiver} is asked"))
    }
}

/// Seconds for which an answer counts.
fn keeps(word: &Word) -> u64 {
    match word {
        Word::Yes => GATE_YES_KEEPS,
        Word::No(_) => GATE_ASKED_EVERY,
    }
}

/// Whether a gate stands before the next step forward.
fn stands(before: Before, document: &RolloutDocument) -> bool {
    let has_begun = document.state.weight > 0;
    match before {
        Before::Step => true,
        Before::Rollout => !has_begun,
        Before::Promotion => has_begun && document.state.step + 1 == document.spec.steps.len(),
    }
}

/// The same for every attempt to ask the same thing.
fn key(question: &Question) -> String {
    let Question {
        app,
        rollout,
        at: (step, has_begun),
        receiver,
    } = question;
    crate::slo::digits(&format!("gate/{app}/{rollout}/{step}/{has_begun}/{receiver}"), 32)
}

/// What is asked.
fn body(document: &RolloutDocument) -> Value {
    json!({
        "version": 1,
        "question": "may this rollout go on?",
        "rollout": {
            "id": document.id,
            "namespace": document.namespace,
            "app": document.app,
            "stable": document.stable,
            "canary": document.canary,
            "step": document.state.step,
            "weight": document.state.weight,
            "begun_by": document.begun_by,
            "why": words::why(document),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_that_died_is_asked_again() {
        let mut gates = Gates::default();
        let question = Question {
            app: "default/a".to_owned(),
            rollout: 2,
            at: (0, false),
            receiver: "board".to_owned(),
        };
        gates.asked.insert(question, Asked::Waits);
        gates.under_way.spawn(async { panic!("it dies") });
        while !gates.under_way.is_empty() {
            tokio::task::yield_now().await;
            gates.collect(0);
        }
        assert!(gates.asked.is_empty());
    }
}
