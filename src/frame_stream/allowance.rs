//! The limit on control frames that have no meaning in mid-stream.

use std::time::Instant;

use super::ControlError;

/// Counts skipped control frames. These are frames of unknown types, which must be skipped (`control.h`), and frames of
/// known types that have no meaning in mid-stream.
///
/// A later version of the protocol may have new types. So a few skipped frames between data frames are harmless, and so
/// is an occasional skipped frame on a quiet stream. But a peer that sends only such frames would keep a processor busy
/// without delivering a data frame. Therefore at most 64 frames in a row are skipped. This allowance grows again by one
/// for each data frame and for each second.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    left: u32,
    /// The time up to which `left` has grown by one for each second. `None` before the first skipped frame.
    paid: Option<Instant>,
}

/// The largest number of control frames that are skipped in a row.
const IN_A_ROW: u32 = 64;

// === impl Allowance ===

impl Allowance {
    pub(crate) const fn new() -> Self {
        Self {
            left: IN_A_ROW,
            paid: None,
        }
    }

    /// Adds 1 to the allowance, for a data frame that arrived.
    pub(crate) fn earn(&mut self) {
        self.left = (self.left + 1).min(IN_A_ROW);
    }

    /// Counts a control frame that was skipped at `now`.
    ///
    /// # Errors
    /// If the allowance is used up. The connection should then be closed.
    pub(crate) fn spend(&mut self, now: Instant) -> Result<(), ControlError> {
        let paid = self.paid.get_or_insert(now);
        let seconds = now.saturating_duration_since(*paid).as_secs();
        if seconds > 0 {
            *paid = now;
            let earned = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(earned).min(IN_A_ROW);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(ControlError::TooMany(IN_A_ROW)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_than_the_limit_in_a_row() {
        let mut allowance = Allowance::new();
        let now = Instant::now();
        for _ in 0..IN_A_ROW {
            allowance.spend(now).expect("allowed");
        }
        let refused = Err(ControlError::TooMany(IN_A_ROW));
        assert_eq!(allowance.spend(now), refused);
        assert_eq!(allowance.spend(now + Duration::from_millis(900)), refused);
        allowance.earn();
        assert_eq!(allowance.spend(now), Ok(()));
        assert_eq!(allowance.spend(now), refused);
    }

    #[test]
    fn one_each_second_or_one_for_each_data_frame_is_always_allowed() {
        let start = Instant::now();
        let mut allowance = Allowance::new();
        for second in 0..10_000 {
            let now = start + Duration::from_secs(second);
            allowance.spend(now).expect("one a second");
        }
        let mut allowance = Allowance::new();
        for _ in 0..10_000 {
            allowance.spend(start).expect("one a data frame");
            allowance.earn();
        }
    }

    #[test]
    fn a_long_silence_gives_back_at_most_the_limit() {
        let mut allowance = Allowance::new();
        let now = Instant::now();
        allowance.spend(now).expect("allowed");
        let later = now + Duration::from_hours(1000);
        let skipped = (0..1000).take_while(|_| allowance.spend(later).is_ok());
        assert_eq!(skipped.count(), IN_A_ROW as usize);
    }
}
