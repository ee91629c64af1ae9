//! Fuzzes the collector's side of a Frame Streams handshake. The sender's side sends arbitrary bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapfan::internals::{CONTENT_TYPE, Control, ControlKind, HandshakeError, Mode, accept};
use tapfan_fuzz::{DEADLINE, Dice, Peer, first_control, paused};

fuzz_target!(|data: &[u8]| {
    let Some((data, dice)) = Dice::split(data) else {
        return;
    };
    let mut peer = Peer::new(data, dice);
    let outcome = paused().block_on(accept(&mut peer, DEADLINE));
    let answers = [Control::accept().encode(), Control::finish().encode()].concat();
    assert!(answers.starts_with(peer.written()));
    match outcome {
        Ok(mode) => {
            let (opening, mut rest) = first_control(data).expect("an opening");
            let opening = opening.expect("a whole one");
            let expected = match mode {
                Mode::Unidirectional => ControlKind::Start,
                Mode::Bidirectional => ControlKind::Ready,
            };
            assert_eq!(opening.kind(), expected);
            assert!(opening.accepts(CONTENT_TYPE));
            if mode == Mode::Bidirectional {
                assert_eq!(peer.written(), Control::accept().encode());
                let (start, behind) = first_control(rest).expect("START");
                let start = start.expect("a whole one");
                assert_eq!(start.kind(), ControlKind::Start);
                assert!(start.accepts(CONTENT_TYPE));
                rest = behind;
            } else {
                assert_eq!(peer.written(), b"");
            }
            assert_eq!(peer.rest(), rest, "no byte beyond START is read");
        }
        Err(HandshakeError::NothingSent) => assert!(data.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
