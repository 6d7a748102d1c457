//! Whose turn it is: a fair queue of flows that all want one server, or a few. Each flow has a virtual time, the service
//! it has had; the flow that has had least goes next, and one that comes back after a pause neither keeps what it did
//! not use nor waits behind what others queued meanwhile. (Start-time fair queueing: P. Goyal, H. M. Vin, H. Cheng,
//! 1996.) What a turn costs is known only at its end, so a turn begins with what the flow's last one cost.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Flows that rest and owe nothing are forgotten when there are more than this, and than twice those that remained. All
/// are forgotten when nobody wants a turn: nobody was kept waiting by what they had.
const FLOWS_KEPT_MIN: usize = 64;

/// Items of flows, each flow first in first out. Costs are in any unit, the same for all.
#[derive(Debug)]
pub struct FairQueue<T> {
    flows: BTreeMap<u64, Flow<T>>,
    /// Flows with items, by virtual time; of equals the one that came last, which has waited least often before.
    ready: BTreeSet<(u64, Reverse<u64>, u64)>,
    /// The virtual time of the latest turn's beginning.
    now: u64,
    arrivals: u64,
    waiting: usize,
    running: usize,
    forget_at: usize,
}

#[derive(Debug)]
struct Flow<T> {
    items: VecDeque<T>,
    time: u64,
    arrival: u64,
    /// What a turn is expected to cost.
    expected: u64,
    /// Turns that have begun and not been settled.
    running: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            flows: BTreeMap::new(),
            ready: BTreeSet::new(),
            now: 0,
            arrivals: 0,
            waiting: 0,
            running: 0,
            forget_at: FLOWS_KEPT_MIN,
        }
    }
}

impl<T> FairQueue<T> {
    /// Puts an item behind the others of its flow.
    pub fn push(&mut self, flow: u64, item: T) {
        let now = self.now;
        let entry = self.flows.entry(flow).or_insert_with(|| Flow {
            items: VecDeque::new(),
            time: now,
            arrival: 0,
            expected: 1,
            running: 0,
        });
        if entry.items.is_empty() {
            if entry.running == 0 {
                entry.time = entry.time.max(now);
            }
            self.arrivals += 1;
            entry.arrival = self.arrivals;
            self.ready.insert((entry.time, Reverse(entry.arrival), flow));
        }
        entry.items.push_back(item);
        self.waiting += 1;
        self.forget();
    }

    /// The item whose turn it is, and its flow. [`Self::settle`] ends the turn.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let (time, arrival, flow) = self.ready.pop_first()?;
        let entry = self.flows.get_mut(&flow)?;
        let item = entry.items.pop_front()?;
        self.now = self.now.max(time);
        self.waiting -= 1;
        self.running += 1;
        entry.running += 1;
        entry.time = time.saturating_add(entry.expected);
        if !entry.items.is_empty() {
            self.ready.insert((entry.time, arrival, flow));
        }
        Some((flow, item))
    }

    /// Ends a turn that [`Self::pop`] began: it cost this much.
    pub fn settle(&mut self, flow: u64, cost: u64) {
        let Some(entry) = self.flows.get_mut(&flow).filter(|flow| flow.running > 0) else {
            return;
        };
        self.running -= 1;
        let expected = entry.expected;
        entry.running -= 1;
        entry.expected = cost.max(1);
        self.correct(flow, |time| {
            time.saturating_sub(expected).saturating_add(cost.max(1))
        });
        if self.running == 0 && self.waiting == 0 {
            self.flows.clear();
        }
    }

    fn correct(&mut self, flow: u64, change: impl FnOnce(u64) -> u64) {
        let Some(entry) = self.flows.get_mut(&flow) else {
            return;
        };
        let before = (entry.time, Reverse(entry.arrival), flow);
        entry.time = change(entry.time);
        if self.ready.remove(&before) {
            self.ready.insert((entry.time, Reverse(entry.arrival), flow));
        }
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    fn forget(&mut self) {
        if self.flows.len() <= self.forget_at {
            return;
        }
        let now = self.now;
        self.flows
            .retain(|_, flow| !flow.items.is_empty() || flow.running > 0 || flow.time > now);
        self.forget_at = (2 * self.flows.len()).max(FLOWS_KEPT_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pops and settles at once, with the cost that the item names.
    fn turn(queue: &mut FairQueue<u64>) -> Option<(u64, u64)> {
        let (flow, cost) = queue.pop()?;
        queue.settle(flow, cost);
        Some((flow, cost))
    }

    #[test]
    fn a_quiet_flow_goes_next_whatever_a_flood_has_queued() {
        let mut queue = FairQueue::default();
        for _ in 0..10_000 {
            queue.push(1, 20);
        }
        for _ in 0..100 {
            for _ in 0..5 {
                assert_eq!(turn(&mut queue).unwrap().0, 1);
            }
            queue.push(2, 20);
            assert_eq!(turn(&mut queue).unwrap().0, 2);
        }
    }

    #[test]
    fn a_quiet_flow_goes_next_before_any_looper_s_next_slice() {
        let mut queue = FairQueue::default();
        // Each looper wants slice after slice; many apps loop in all of their instances.
        for looper in 0..128 * 4 {
            queue.push(looper % 4, 1_000_u64);
        }
        for round in 0..1_000 {
            let (looper, slice) = queue.pop().unwrap();
            if round % 7 == 0 {
                queue.push(99, 20);
            }
            queue.settle(looper, slice);
            queue.push(looper, slice);
            if round % 7 == 0 {
                assert_eq!(turn(&mut queue).unwrap().0, 99, "round {round}");
            }
        }
    }

    /// A flow that begins with a dear turn does not make up for it by leaving and coming back.
    #[test]
    fn a_debt_is_not_left_behind_by_a_pause() {
        let mut queue = FairQueue::default();
        for _ in 0..1_000 {
            queue.push(1, 10);
        }
        queue.push(2, 1_000);
        assert_eq!(turn(&mut queue), Some((2, 1_000)));
        queue.push(2, 1_000);
        for _ in 0..99 {
            assert_eq!(turn(&mut queue).unwrap().0, 1);
        }
    }

    #[test]
    fn turns_that_run_beside_each_other_count_before_they_end() {
        let mut queue = FairQueue::default();
        for _ in 0..10 {
            queue.push(1, ());
            queue.push(2, ());
        }
        for flow in [1, 2] {
            let (popped, ()) = queue.pop().unwrap();
            queue.settle(popped, 1_000);
            assert!(popped == 1 || popped == 2, "{flow}");
        }
        let both: BTreeSet<u64> = [queue.pop().unwrap().0, queue.pop().unwrap().0].into();
        assert_eq!(both, BTreeSet::from([1, 2]));
    }

    #[test]
    fn flows_that_rest_are_forgotten_while_another_never_does() {
        let mut queue = FairQueue::default();
        queue.push(0, 1);
        queue.push(0, 1);
        for flow in 1..10_000 {
            queue.push(flow, 1);
            turn(&mut queue).unwrap();
            turn(&mut queue).unwrap();
            queue.push(0, 1);
        }
        assert!(queue.flows.len() <= 4 * FLOWS_KEPT_MIN, "{}", queue.flows.len());
        while turn(&mut queue).is_some() {}
        assert!(queue.is_empty() && queue.flows.is_empty() && queue.ready.is_empty());
    }

    proptest! {
        /// Flows that always want more have had the same, but for the largest turn of each.
        #[test]
        fn flows_that_are_always_ready_share_alike(costs in prop::collection::vec(1_u64..1_000, 2..8), rounds in 50_usize..400) {
            let mut queue = FairQueue::default();
            for (flow, &cost) in costs.iter().enumerate() {
                queue.push(flow as u64, cost);
                queue.push(flow as u64, cost);
            }
            let mut had = vec![0; costs.len()];
            for _ in 0..rounds {
                let (flow, cost) = turn(&mut queue).unwrap();
                had[usize::try_from(flow).unwrap()] += cost;
                queue.push(flow, cost);
            }
            let (least, most) = (had.iter().min().unwrap(), had.iter().max().unwrap());
            prop_assert!(most - least <= 2 * costs.iter().max().unwrap(), "{had:?} of {costs:?}");
        }

        /// Nothing is lost, nothing is dealt twice, and each flow keeps its order.
        #[test]
        fn every_item_comes_out_once_and_in_its_flow_s_order(pushes in prop::collection::vec((0_u64..5, 0_u64..50, any::<bool>()), 0..200)) {
            let mut queue = FairQueue::default();
            let mut came = BTreeMap::<u64, Vec<usize>>::new();
            let take = |queue: &mut FairQueue<(usize, u64)>, came: &mut BTreeMap<u64, Vec<usize>>| {
                if let Some((flow, (index, cost))) = queue.pop() {
                    queue.settle(flow, cost);
                    came.entry(flow).or_default().push(index);
                }
            };
            for (index, &(flow, cost, deal)) in pushes.iter().enumerate() {
                queue.push(flow, (index, cost));
                if deal {
                    take(&mut queue, &mut came);
                }
            }
            while !queue.is_empty() {
                take(&mut queue, &mut came);
            }
            prop_assert_eq!(came.values().map(Vec::len).sum::<usize>(), pushes.len());
            prop_assert!(came.values().all(|indices| indices.is_sorted()));
        }
    }
}
