//! Fuzzes the filters and the privacy options of sinks. Each frame must be counted once. A frame that passes must still
//! be dnstap. It must keep its length, unless the client's address is removed, or a policy that matched this address.

#![no_main]

use std::{num::NonZeroU32, sync::LazyLock, time::Instant};

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tapfan::{
    internals::{
        Chunk,
        filter::{ClientAddress, Kind, Pseudonyms, Sample, SampleKey, Screen, Verdict},
        validate,
    },
    proto::{Dnstap, Policy, policy},
};

const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a";

/// Screens with different rules and privacy options. The first ones let every frame pass.
static SCREENS: LazyLock<[Screen; 5]> = LazyLock::new(|| {
    let pseudonyms = Pseudonyms::from_hex(KEY).expect("a key");
    let mut screens = [const { None }; 5].map(|_: Option<()>| Screen::default());
    screens[0].privacy.client_address = Some(ClientAddress::Remove);
    screens[1].privacy.client_address = Some(ClientAddress::Truncate { ipv4: 24, ipv6: 48 });
    screens[2].privacy.client_address = Some(ClientAddress::Pseudonym(pseudonyms.into()));
    (
        screens[2].privacy.strip_ecs,
        screens[2].privacy.strip_cookie,
    ) = (true, true);
    let [.., rules, sample] = &mut screens;
    for (kind, verdict, word) in [
        (Kind::Type, Verdict::Drop, "update"),
        (Kind::Qname, Verdict::Drop, "*.b.example.test"),
        (Kind::Qname, Verdict::Keep, "test"),
        (Kind::Qtype, Verdict::Drop, "TXT"),
        (Kind::Rcode, Verdict::Drop, "REFUSED"),
        (Kind::Client, Verdict::Drop, "192.0.2.0/24"),
        (Kind::Protocol, Verdict::Drop, "doq"),
    ] {
        rules.filter.add(kind, verdict, word).expect("a rule");
    }
    let one_in = NonZeroU32::new(2).expect("not zero");
    sample.sample = Some(Sample::new(one_in, SampleKey::new([7; 16])));
    screens
});

fuzz_target!(|data: &[u8]| {
    // The first byte is the length of the first frame, and the second frame is the rest.
    let Some((first, frames)) = data.split_first() else {
        return;
    };
    let (first, second) = frames.split_at(usize::from(*first).min(frames.len()));
    let mut wire = Vec::new();
    for frame in [first, second]
        .into_iter()
        .filter(|frame| !frame.is_empty())
    {
        wire.extend_from_slice(&u32::try_from(frame.len()).expect("short").to_be_bytes());
        wire.extend_from_slice(frame);
    }
    let chunk = Chunk::from_wire(wire.into()).expect("frames");
    let is_valid = chunk.frames().all(|frame| validate(frame).is_ok());
    for (place, screen) in SCREENS.iter().enumerate() {
        let screened = screen.screen(&chunk, Instant::now());
        let passed = screened.chunk.as_ref().map_or(0, Chunk::len) as u64;
        let missing = screened.filtered + screened.sampled + screened.rate_limited;
        assert_eq!(passed + missing + screened.malformed, chunk.len() as u64);
        if !is_valid {
            continue;
        }
        assert_eq!(screened.malformed, 0);
        let Some(passed) = screened.chunk else {
            continue;
        };
        assert!(passed.frames().all(|frame| validate(frame).is_ok()));
        assert!(
            passed
                .message_types()
                .zip(chunk.message_types())
                .all(|(one, other)| place > 2 || one == other)
        );
        if matches!(place, 1 | 2) {
            assert_lengths(&chunk, &passed);
        }
    }
});

/// Asserts that every frame has its former length, except for frames that lost a policy.
fn assert_lengths(before: &Chunk, after: &Chunk) {
    assert_eq!(before.len(), after.len());
    for (before, after) in before.frames().zip(after.frames()) {
        if before.len() == after.len() {
            continue;
        }
        assert!(before.len() > after.len());
        assert!(policy_of(before).is_some());
        // A frame with several messages can keep the policy of one that matched something else.
        assert!(policy_of(after).is_none_or(|policy| {
            policy.r#match.is_some() && policy.r#match() != policy::Match::ClientIp
        }));
    }
}

fn policy_of(frame: &[u8]) -> Option<Policy> {
    let tap = Dnstap::decode(frame).expect("valid frames decode");
    tap.message.and_then(|message| message.policy)
}
