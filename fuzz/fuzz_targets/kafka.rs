//! Fuzzes a producer of Kafka's protocol. The broker sends arbitrary bytes, arbitrary answers in valid frames, or the
//! messages of a login with SCRAM.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapfan::internals::kafka::{converse, log_in};
use tapfan_fuzz::{Dice, Peer, paused};

/// Returns the answers in `data`, each with a length of two bytes, as a broker sends them.
fn framed(mut data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut correlation = 1_i32;
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        let length = u32::try_from(4 + body.len()).expect("short");
        wire.extend(length.to_be_bytes());
        wire.extend(correlation.to_be_bytes());
        wire.extend(body);
        correlation += 1;
        data = rest;
    }
    wire
}

fuzz_target!(|data: &[u8]| {
    let Some((data, dice)) = Dice::split(data) else {
        return;
    };
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    if choice & 0x80 != 0 {
        let at = data.iter().position(|byte| *byte == 0);
        let (challenge, signature) = data.split_at(at.unwrap_or(data.len()));
        let error = log_in(challenge, signature.get(1..).unwrap_or_default(), *choice);
        // Without the password, nobody can sign the messages.
        assert!(!error.expect("a wrong signature").is_empty());
        return;
    }
    let wire = if choice & 0x40 == 0 {
        framed(data)
    } else {
        data.to_vec()
    };
    let mut peer = Peer::new(&wire, dice);
    let ended = paused().block_on(converse(&mut peer, *choice));
    assert!(ended.outcomes.iter().all(|times| *times <= 1), "{ended:?}");
    let is_complete = ended.outcomes.iter().all(|times| *times == 1);
    assert!(!ended.is_empty || is_complete, "lost: {ended:?}");
    assert!(
        !ended.error.is_empty() && !ended.error.contains(char::is_control),
        "{ended:?}"
    );
});
