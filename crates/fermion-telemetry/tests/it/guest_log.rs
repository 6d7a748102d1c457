//! A guest's bytes become lines.

use fermion_telemetry::{Echo, Level, LogHub, Stream, limits};

use crate::{clock, served};

fn hub() -> LogHub {
    LogHub::new(clock(), Echo::Off).unwrap()
}

fn lines(hub: &LogHub) -> Vec<(Stream, String)> {
    hub.recent("shop", "tax", usize::MAX)
        .iter()
        .map(|line| (line.stream, line.line.clone()))
        .collect()
}

#[test]
fn bytes_are_split_into_lines_by_stream() {
    let hub = hub();
    let log = hub.guest(&served("tax", 7), [0xab; 16], [7; 8]);
    let clone = log.clone();
    log.write(Stream::Stdout, b"one\ntw");
    clone.write(Stream::Stderr, b"oops\r\n\n");
    clone.write(Stream::Stdout, b"o\nthree \xff");
    drop(log);
    assert_eq!(lines(&hub).len(), 4);
    drop(clone);
    let expect = [
        (Stream::Stdout, "one"),
        (Stream::Stderr, "oops"),
        (Stream::Stderr, ""),
        (Stream::Stdout, "two"),
        (Stream::Stdout, "three \u{fffd}"),
    ];
    assert_eq!(
        lines(&hub),
        expect.map(|(stream, line)| (stream, line.to_owned()))
    );
    assert_eq!(
        hub.recent("shop", "tax", 1)[0].to_json(),
        format!(
            "{{\"time\":\"2026-11-21T00:00:00.000000Z\",\"namespace\":\"shop\",\"app\":\"tax\",\"release\":\"r7\",\
             \"request_id\":\"{}\",\"stream\":\"stdout\",\"line\":\"three \u{fffd}\"}}",
            "ab".repeat(16)
        )
    );
}

#[test]
fn long_lines_are_cut_and_a_flood_ends_with_a_note() {
    let hub = hub();
    let log = hub.guest(&served("tax", 7), [1; 16], [7; 8]);
    log.write(Stream::Stdout, &vec![b'x'; limits::LINE_BYTES_MAX + 1]);
    log.write(Stream::Stdout, b"\n");
    let lengths: Vec<_> = lines(&hub).iter().map(|(_, line)| line.len()).collect();
    assert_eq!(lengths, [limits::LINE_BYTES_MAX, 1]);
    log.write(Stream::Stderr, &vec![b'y'; limits::REQUEST_LOG_BYTES_MAX]);
    log.write(Stream::Stderr, b"more\n");
    drop(log);
    let all = lines(&hub);
    let written: usize = all[..all.len() - 1].iter().map(|(_, line)| line.len()).sum();
    assert!(written <= limits::REQUEST_LOG_BYTES_MAX, "{written}");
    assert_eq!(all.last().unwrap().1, "output truncated after 65536 bytes");
}

#[test]
fn memory_is_bounded_by_lines_and_bytes() {
    let hub = hub();
    for index in 0..2 * limits::RECENT_LINES_MAX {
        hub.guest(&served("tax", 7), [1; 16], [7; 8])
            .write(Stream::Stdout, format!("{index}\n").as_bytes());
    }
    let all = lines(&hub);
    assert_eq!((all.len(), all[0].1.as_str()), (limits::RECENT_LINES_MAX, "1000"));
    for _ in 0..2 * limits::RECENT_BYTES_MAX / limits::LINE_BYTES_MAX {
        hub.guest(&served("tax", 7), [1; 16], [7; 8])
            .write(Stream::Stdout, &vec![b'x'; limits::LINE_BYTES_MAX]);
    }
    assert!(lines(&hub).iter().map(|(_, line)| line.len()).sum::<usize>() <= limits::RECENT_BYTES_MAX);
    hub.forget("shop", "tax");
    assert!(lines(&hub).is_empty());
}

#[test]
fn followers_hear_their_app_alone_and_slow_ones_lose_lines() {
    let hub = hub();
    let mut tax = hub.follow("shop", "tax");
    let mut stranger = hub.follow("other", "tax");
    let mut all = hub.follow_all();
    hub.guest(&served("tax", 1), [1; 16], [7; 8])
        .write(Stream::Stdout, b"one\n");
    hub.guest(&served("cart", 1), [1; 16], [7; 8])
        .write(Stream::Stdout, b"two\n");
    assert_eq!(tax.try_next().unwrap().line, "one");
    assert!(tax.try_next().is_none() && stranger.try_next().is_none());
    assert_eq!(
        (
            all.try_next().unwrap().line.as_str(),
            all.try_next().unwrap().line.as_str()
        ),
        ("one", "two")
    );
    let log = hub.guest(&served("tax", 1), [1; 16], [7; 8]);
    for _ in 0..limits::FOLLOWER_LINES_MAX + 5 {
        log.write(Stream::Stdout, b"x\n");
    }
    assert_eq!((tax.lost(), all.lost(), stranger.lost()), (5, 5, 0));
    assert_eq!(hub.lost(), 10);
    drop(tax);
    log.write(Stream::Stdout, b"nobody waits for those who left\n");
}

#[test]
fn messages_have_a_level_and_a_context_and_share_the_budget() {
    let hub = hub();
    let log = hub.guest(&served("tax", 7), [1; 16], [7; 8]);
    log.log(Level::Warn, "cart", "one\ntwo");
    log.log(Level::Info, "", "three");
    let all = hub.recent("shop", "tax", 10);
    let said: Vec<_> = all
        .iter()
        .map(|line| (line.level.unwrap(), line.context.as_deref(), line.line.as_str()))
        .collect();
    let expect = [
        (Level::Warn, Some("cart"), "one"),
        (Level::Warn, Some("cart"), "two"),
        (Level::Info, None, "three"),
    ];
    assert_eq!(said, expect);
    let json = all[0].to_json();
    let want = "\"stream\":\"log\",\"level\":\"warn\",\"context\":\"cart\",\"line\":\"one\"";
    assert!(json.contains(want), "{json}");

    let long = "\u{e9}".repeat(limits::CONTEXT_BYTES_MAX);
    for _ in 0..2 * limits::REQUEST_LOG_BYTES_MAX {
        log.log(Level::Error, &long, "");
        log.log(Level::Error, "", "");
    }
    let all = hub.recent("shop", "tax", usize::MAX);
    assert!(all.len() < limits::RECENT_LINES_MAX, "{} lines", all.len());
    let of_long = all.iter().find(|line| line.level == Some(Level::Error)).unwrap();
    assert_eq!(
        of_long.context.as_deref().map(str::len),
        Some(limits::CONTEXT_BYTES_MAX)
    );
    assert_eq!(all.last().unwrap().line, "output truncated after 65536 bytes");
    log.write(Stream::Stdout, b"more\n");
    assert_eq!(hub.recent("shop", "tax", usize::MAX).len(), all.len());
}
