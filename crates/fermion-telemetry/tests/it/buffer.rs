//! The disk buffer of exports: nothing inside the cap is missing, what is dropped is counted to the item, whatever
//! happens to the process.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use fermion_telemetry::buffer::{Batch, Buffer, BufferReading};
use fermion_telemetry::{DropReason, Signal};
use proptest::prelude::*;

const MIB: u64 = 1 << 20;

fn batch(signal: Signal, items: u32, bytes: usize) -> Batch {
    let fill = u8::try_from(items % 251).unwrap();
    Batch {
        signal,
        items,
        payload: vec![fill; bytes].into(),
    }
}

fn open(folder: &Path, bytes_max: u64) -> Buffer {
    Buffer::open(folder, bytes_max).unwrap()
}

fn read(buffer: &Buffer) -> BufferReading {
    buffer.reader()()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "otlp"))
        .collect();
    found.sort();
    found
}

fn disk_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Everything that waits, in order, as delivered.
fn drain(buffer: &mut Buffer) -> Vec<Batch> {
    let next = || {
        let batch = buffer.take()?;
        buffer.delivered(0);
        Some(batch)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn what_goes_in_comes_out_in_order_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    let batches: Vec<_> = (1..=40)
        .map(|n| batch(Signal::ALL[n as usize % 3], n, 5_000))
        .collect();
    for batch in &batches {
        buffer.append(batch);
    }
    assert!(segments(folder.path()).len() > 1, "several segments");
    assert_eq!(buffer.take().as_ref(), batches.first());
    buffer.delivered(0);
    assert_eq!(buffer.take().as_ref(), batches.get(1));
    // Nobody closes anything: the second one was on its way and comes again.
    drop(buffer);
    let mut buffer = open(folder.path(), MIB);
    assert_eq!(read(&buffer).batches.iter().sum::<u64>(), 39);
    assert_eq!(drain(&mut buffer), batches[1..]);
    let reading = read(&buffer);
    assert_eq!((reading.bytes, reading.batches), (0, [0; 3]));
    let items: u64 = (1..=40).sum();
    assert_eq!(reading.totals.sent.iter().sum::<u64>(), items);
    assert_eq!(segments(folder.path()).len(), 1, "what is delivered is removed");
}

#[test]
fn the_oldest_goes_first_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    let mut put = [0; 3];
    for n in 1..=500 {
        let signal = Signal::ALL[n as usize % 3];
        buffer.append(&batch(signal, n, 10_000));
        put[signal as usize] += u64::from(n);
        assert!(disk_bytes(folder.path()) <= MIB, "the cap holds at every moment");
    }
    let reading = read(&buffer);
    // A kill changes nothing of what is known.
    drop(buffer);
    let mut buffer = open(folder.path(), MIB);
    assert_eq!(read(&buffer), reading);
    let out = drain(&mut buffer);
    assert_eq!(out.last().unwrap().items, 500);
    assert!(out.windows(2).all(|pair| pair[0].items + 1 == pair[1].items));
    // All but a segment or two of the cap are there.
    assert!(out.len() > 80, "{}", out.len());
    for signal in Signal::ALL {
        let mine = out.iter().filter(|batch| batch.signal == signal);
        let sent: u64 = mine.map(|batch| u64::from(batch.items)).sum();
        let dropped = read(&buffer).totals.dropped(signal, DropReason::Full);
        assert_eq!(sent + dropped, put[signal as usize], "{signal:?}");
    }
}

#[test]
fn a_batch_that_is_dropped_on_its_way_counts_once() {
    for is_delivered in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = open(folder.path(), MIB);
        buffer.append(&batch(Signal::Logs, 1, 10_000));
        assert_eq!(buffer.take().unwrap().items, 1);
        let mut put = 1;
        for n in 2..=200 {
            buffer.append(&batch(Signal::Logs, n, 10_000));
            put += u64::from(n);
        }
        if is_delivered {
            buffer.delivered(0);
        } else {
            assert!(!buffer.put_back(), "it is there no more");
        }
        let sent: u64 = drain(&mut buffer)
            .iter()
            .map(|batch| u64::from(batch.items))
            .sum();
        let totals = read(&buffer).totals;
        assert_eq!(totals.sent[Signal::Logs as usize], sent + u64::from(is_delivered));
        let dropped = totals.dropped(Signal::Logs, DropReason::Full);
        assert_eq!(totals.sent[Signal::Logs as usize] + dropped, put);
    }
}

#[test]
fn refusals_are_counted_and_do_not_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    for items in [3, 5, 7] {
        buffer.append(&batch(Signal::Traces, items, 100));
    }
    assert_eq!(buffer.take().unwrap().items, 3);
    buffer.refused();
    assert_eq!(buffer.take().unwrap().items, 5);
    buffer.delivered(2);
    assert_eq!(buffer.take().unwrap().items, 7);
    assert!(buffer.put_back());
    drop(buffer);
    let mut buffer = open(folder.path(), MIB);
    assert_eq!(drain(&mut buffer), [batch(Signal::Traces, 7, 100)]);
    let totals = read(&buffer).totals;
    assert_eq!(totals.sent[Signal::Traces as usize], 10);
    assert_eq!(totals.dropped(Signal::Traces, DropReason::Refused), 5);
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_tore() {
    let whole = tempfile::tempdir().unwrap();
    let mut buffer = open(whole.path(), MIB);
    buffer.append(&batch(Signal::Metrics, 1, 50));
    buffer.append(&batch(Signal::Metrics, 2, 50));
    drop(buffer);
    let bytes = fs::read(&segments(whole.path())[0]).unwrap();
    let first_end = 8 + (bytes.len() - 8) / 2;
    for length in 0..bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        let name = segments(whole.path())[0].file_name().unwrap().to_owned();
        fs::write(folder.path().join(name), &bytes[..length]).unwrap();
        let mut buffer = open(folder.path(), MIB);
        buffer.append(&batch(Signal::Metrics, 3, 50));
        let expected: &[u32] = if length < first_end { &[3] } else { &[1, 3] };
        let found: Vec<_> = drain(&mut buffer).iter().map(|batch| batch.items).collect();
        assert_eq!(found, expected, "torn after {length} bytes");
    }
}

#[test]
fn damage_costs_the_rest_of_its_segment_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    for n in 1..=20 {
        buffer.append(&batch(Signal::Traces, n, 10_000));
    }
    drop(buffer);
    let second = &segments(folder.path())[1];
    let file = fs::OpenOptions::new().write(true).open(second).unwrap();
    file.write_all_at(b"xx", 5_000).unwrap();
    let mut buffer = open(folder.path(), MIB);
    let sent: u64 = drain(&mut buffer)
        .iter()
        .map(|batch| u64::from(batch.items))
        .sum();
    let dropped = read(&buffer).totals.dropped(Signal::Traces, DropReason::Disk);
    assert!(dropped > 0);
    assert_eq!(sent + dropped, (1..=20).sum::<u64>());
}

#[test]
fn what_no_buffer_could_hold_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    buffer.append(&batch(Signal::Logs, 9, 5 << 20));
    buffer.lost(Signal::Logs, DropReason::Queue, 4);
    assert_eq!(buffer.take(), None);
    let totals = read(&buffer).totals;
    assert_eq!(totals.dropped(Signal::Logs, DropReason::Size), 9);
    assert_eq!(totals.dropped(Signal::Logs, DropReason::Queue), 4);
}

#[test]
fn a_smaller_cap_holds_from_the_start_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = open(folder.path(), MIB);
    for n in 1..=90 {
        buffer.append(&batch(Signal::Logs, n, 10_000));
    }
    drop(buffer);
    let buffer = open(folder.path(), MIB / 4);
    assert!(disk_bytes(folder.path()) <= MIB / 4);
    let reading = read(&buffer);
    let known = reading.items[Signal::Logs as usize] + reading.totals.dropped(Signal::Logs, DropReason::Full);
    assert_eq!(known, (1..=90).sum::<u64>());
}

#[derive(Debug, Clone)]
enum Step {
    Append(Signal, u32, usize),
    Deliver(u64),
    Refuse,
    PutBack,
    Kill,
    /// A kill in the middle of writing a record: some bytes of it are there.
    Tear(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let signal = prop_oneof![Just(Signal::Metrics), Just(Signal::Traces), Just(Signal::Logs)];
    prop_oneof![
        6 => (signal, 1..50_u32, 1..3_000_usize).prop_map(|(signal, items, bytes)| Step::Append(signal, items, bytes)),
        2 => (0..3_u64).prop_map(Step::Deliver),
        1 => Just(Step::Refuse),
        1 => Just(Step::PutBack),
        1 => Just(Step::Kill),
        1 => (1..40_usize).prop_map(Step::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn everything_is_sent_dropped_or_waiting(steps in prop::collection::vec(step(), 1..150)) {
        const CAP: u64 = 48 * 1024;
        let folder = tempfile::tempdir().unwrap();
        let mut buffer = open(folder.path(), CAP);
        let mut put = [0; 3];
        for step in steps {
            match step {
                Step::Append(signal, items, bytes) => {
                    buffer.append(&batch(signal, items, bytes));
                    put[signal as usize] += u64::from(items);
                }
                Step::Deliver(rejected) => if buffer.take().is_some() { buffer.delivered(rejected) },
                Step::Refuse => if buffer.take().is_some() { buffer.refused() },
                Step::PutBack => if buffer.take().is_some() { assert!(buffer.put_back()) },
                Step::Kill => {
                    drop(buffer);
                    buffer = open(folder.path(), CAP);
                }
                Step::Tear(bytes) => {
                    drop(buffer);
                    if let Some(last) = segments(folder.path()).last() {
                        let file = fs::OpenOptions::new().append(true).open(last).unwrap();
                        std::io::Write::write_all(&mut &file, &vec![1; bytes]).unwrap();
                    }
                    buffer = open(folder.path(), CAP);
                }
            }
            prop_assert!(disk_bytes(folder.path()) <= CAP);
            let reading = read(&buffer);
            for signal in Signal::ALL {
                let dropped: u64 = reading.totals.dropped[signal as usize].iter().sum();
                let known = reading.totals.sent[signal as usize] + dropped + reading.items[signal as usize];
                prop_assert_eq!(known, put[signal as usize]);
            }
        }
    }
}
