//! How many control frames a peer may send that are of no use where they stand.

use std::time::Instant;

use super::ControlError;

/// Counts control frames that are skipped: those of unknown types, as `control.h` asks, and known ones that have no
/// meaning in mid-stream.
///
/// A protocol may grow, so a few of them between data frames, or one now and then on a quiet stream, are nobody's fault.
/// A peer that sends nothing else keeps a processor busy for no frame at all. So a peer may send 64 in a row; each data
/// frame, and each second, gives one back.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    left: u32,
    /// Until when seconds have been given back; `None` before the first skipped frame.
    paid: Option<Instant>,
}

/// Control frames in a row that are skipped.
const IN_A_ROW: u32 = 64;

// === impl Allowance ===

impl Allowance {
    pub(crate) const fn new() -> Self {
        Self {
            left: IN_A_ROW,
            paid: None,
        }
    }

    /// A data frame has come.
    pub(crate) fn earn(&mut self) {
        self.left = (self.left + 1).min(IN_A_ROW);
    }

    /// A control frame was skipped at `now`.
    ///
    /// # Errors
    /// If there were too many, after which the connection is of no further use.
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
    fn so_many_in_a_row_and_not_one_more() {
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
    fn one_a_second_or_one_a_data_frame_may_go_on_for_ever() {
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
    fn a_long_silence_gives_back_no_more_than_there_was() {
        let mut allowance = Allowance::new();
        let now = Instant::now();
        allowance.spend(now).expect("allowed");
        let later = now + Duration::from_hours(1000);
        let skipped = (0..1000).take_while(|_| allowance.spend(later).is_ok());
        assert_eq!(skipped.count(), IN_A_ROW as usize);
    }
}
