//! Messages reach whoever listens, and who listens too slowly learns how many were missed.

use fermion_bus::limits::MESSAGES_WAITING_MAX;
use fermion_bus::{Bus, Heard};

#[tokio::test]
async fn messages_are_heard_by_subject_and_missed_ones_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let bus = Bus::open(&folder.path().join("bus")).unwrap();
    bus.send("frames/a", *b"nobody listens");
    let mut frames = bus.listen("frames/");
    bus.send("other/a", *b"not asked for");
    bus.send("frames/a", *b"one");
    let Heard::Message(heard) = frames.next().await.unwrap() else {
        panic!("nothing was missed")
    };
    assert_eq!((&*heard.subject, &*heard.bytes), ("frames/a", &b"one"[..]));
    for _ in 0..MESSAGES_WAITING_MAX + 3 {
        bus.send("frames/a", *b"more");
    }
    assert!(matches!(frames.next().await.unwrap(), Heard::Missed(3)));
    assert!(matches!(frames.next().await.unwrap(), Heard::Message(_)));
}
