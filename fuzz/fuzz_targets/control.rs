//! Fuzzes the parser of control frames. If a parsed frame is encoded again, the result must be the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tapfan::internals::{Control, MAX_CONTROL_LENGTH};

fuzz_target!(|body: &[u8]| {
    match Control::parse(body) {
        Ok(control) => {
            let wire = control.encode();
            assert!(body.len() <= MAX_CONTROL_LENGTH);
            assert_eq!(wire[..4], [0; 4]);
            assert_eq!(
                wire[4..8],
                u32::try_from(body.len()).expect("short").to_be_bytes()
            );
            assert_eq!(&wire[8..], body);
            let again = Control::new(control.kind(), control.content_types().to_vec());
            assert_eq!(again, Ok(control));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
