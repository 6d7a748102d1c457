//! Pauses are what a step says, so that no clock is needed to see them.

use std::collections::VecDeque;

use super::*;
use crate::DropReason;
use crate::buffer::{Batch, BufferReading};

/// Answers from a list, then takes everything; keeps what came.
struct Scripted {
    answers: VecDeque<Outcome>,
    came: Vec<u32>,
}

impl Deliver for Scripted {
    async fn deliver(&mut self, batch: &Batch) -> Outcome {
        self.came.push(batch.items);
        self.answers.pop_front().unwrap_or(Outcome::Taken { rejected: 0 })
    }
}

fn later(seconds: Option<u64>) -> Outcome {
    Outcome::Later {
        after: seconds.map(Duration::from_secs),
        why: "busy".to_owned(),
    }
}

/// What a receiver with these answers gets of batches of 1, 2 and 3 items, what each attempt came to, and what is left.
async fn attempts(answers: Vec<Outcome>) -> (Vec<u32>, Vec<Step>, BufferReading) {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = Buffer::open(folder.path(), 1 << 20).unwrap();
    for items in 1..=3 {
        buffer.append(&Batch {
            signal: Signal::Logs,
            items,
            payload: vec![1; 10].into(),
        });
    }
    let read = buffer.reader();
    let deliver = Scripted {
        answers: answers.into(),
        came: Vec::new(),
    };
    let buffer = Arc::new(Mutex::new(buffer));
    let mut sender = Sender::new(buffer, deliver, Arc::default(), Failures::default());
    let mut steps = Vec::new();
    loop {
        match sender.step().await {
            Step::Idle => return (sender.deliver.came, steps, read()),
            step => steps.push(step),
        }
    }
}

fn wait(seconds: u64) -> Step {
    Step::Wait(Duration::from_secs(seconds))
}

#[tokio::test]
async fn pauses_grow_and_order_is_kept() {
    let mut answers: Vec<_> = (0..8).map(|_| later(None)).collect();
    answers.push(Outcome::Taken { rejected: 0 });
    answers.push(later(None));
    let (came, steps, left) = attempts(answers).await;
    assert_eq!(came, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3]);
    let mut expected: Vec<_> = [1, 2, 4, 8, 16, 32, 60, 60].map(wait).into();
    // A success forgets what was before.
    expected.extend([Step::Done, wait(1), Step::Done, Step::Done]);
    assert_eq!(steps, expected);
    assert_eq!((left.totals.sent[Signal::Logs as usize], left.bytes), (6, 0));
}

#[tokio::test]
async fn what_the_receiver_asks_for_is_kept_within_reason() {
    let answers = vec![later(Some(30)), later(Some(0)), later(Some(1_000_000))];
    let (came, steps, _) = attempts(answers).await;
    assert_eq!(came, [1, 1, 1, 1, 2, 3]);
    assert_eq!(steps[..4], [wait(30), wait(1), wait(600), Step::Done]);
}

#[tokio::test]
async fn a_refused_batch_holds_up_nobody() {
    let refused = Outcome::Refused {
        why: "bad".to_owned(),
    };
    let (came, steps, left) = attempts(vec![refused, Outcome::Taken { rejected: 1 }]).await;
    assert_eq!((came, steps.len()), (vec![1, 2, 3], 3));
    assert_eq!(left.totals.sent[Signal::Logs as usize], 4);
    assert_eq!(left.totals.dropped(Signal::Logs, DropReason::Refused), 2);
}
