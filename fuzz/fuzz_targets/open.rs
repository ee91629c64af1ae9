//! Fuzzes the sender's side of a Frame Streams handshake. The collector's side sends arbitrary bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapfan::internals::{CONTENT_TYPE, Control, ControlKind, HandshakeError, offer, open, start};
use tapfan_fuzz::{DEADLINE, Dice, Peer, first_control, paused};

fuzz_target!(|data: &[u8]| {
    let Some((data, dice)) = Dice::split(data) else {
        return;
    };
    let mut peer = Peer::new(data, dice.clone());
    let outcome = paused().block_on(open(&mut peer, DEADLINE));
    let said = [Control::ready().encode(), Control::start().encode()].concat();
    assert!(said.starts_with(peer.written()));
    match &outcome {
        Ok(()) => {
            let (accept, rest) = first_control(data).expect("ACCEPT");
            let accept = accept.expect("a whole one");
            assert_eq!(accept.kind(), ControlKind::Accept);
            assert!(accept.accepts(CONTENT_TYPE));
            assert_eq!(peer.written(), said);
            assert_eq!(peer.rest(), rest, "no byte beyond ACCEPT is read");
        }
        Err(HandshakeError::NothingSent) => panic!("an error of the other side"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // The handshake in two separate steps, `offer` and `start`, must have the same outcome.
    let mut other = Peer::new(data, dice);
    let in_steps = paused().block_on(async {
        offer(&mut other, DEADLINE).await?;
        start(&mut other, DEADLINE).await
    });
    assert_eq!(format!("{outcome:?}"), format!("{in_steps:?}"));
    assert_eq!(
        (peer.written(), peer.rest()),
        (other.written(), other.rest())
    );
});
