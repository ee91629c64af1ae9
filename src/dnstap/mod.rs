//! dnstap.
