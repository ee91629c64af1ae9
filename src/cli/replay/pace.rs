//! The times at which frames must be sent.

use std::time::Duration;

/// The pace at which frames are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// As fast as the listener reads.
    Unlimited,
    /// This number of frames a second.
    Rate(f64),
    /// A multiple of the speed of the capture.
    Speed(f64),
}

/// Computes the time at which each frame is due.
#[derive(Debug)]
pub(super) struct Schedule {
    pace: Pace,
    frames: f64,
    /// The time in the first frame of this pass through the captures, and the time at which that frame was due.
    origin: Option<(Duration, Duration)>,
    /// The time in the last frame that contains one.
    moment: Duration,
    /// The time at which the last frame is due.
    last: Duration,
}

/// The times of two consecutive frames of one capture differ by less than this. A longer step means that a clock was
/// wrong, or that another capture begins.
const STEP: Duration = Duration::from_hours(24);

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            frames: 0.0,
            origin: None,
            moment: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    /// Returns whether the pace depends on the times in the frames.
    pub(super) fn needs_moments(&self) -> bool {
        matches!(self.pace, Pace::Speed(_))
    }

    /// Begins another pass through the captures. The first frame of the new pass is due at the same time as the last
    /// frame of the pass before.
    pub(super) fn begin_pass(&mut self) {
        self.origin = None;
    }

    /// Returns the time from the start of the replay until the next frame is due; `None` if the frame is due
    /// immediately. `moment` is the time in the frame. If the frame has no time, or an earlier time than the previous
    /// frame, it is due at the same time as the previous frame. If two frames are more than a day apart, the second is
    /// due immediately, and the pace restarts from its time.
    pub(super) fn next(&mut self, moment: Option<Duration>) -> Option<Duration> {
        match self.pace {
            Pace::Unlimited => return None,
            Pace::Rate(rate) => {
                self.last = seconds(self.frames / rate);
                self.frames += 1.0;
            }
            Pace::Speed(speed) => {
                if let Some(moment) = moment {
                    if moment.abs_diff(self.moment) > STEP {
                        self.origin = None;
                    }
                    self.moment = moment;
                    let (first, due) = *self.origin.get_or_insert((moment, self.last));
                    let passed = moment.saturating_sub(first).as_secs_f64() / speed;
                    self.last = self.last.max(due.saturating_add(seconds(passed)));
                }
            }
        }
        Some(self.last)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(schedule: &mut Schedule, moments: &[Option<u64>]) -> Vec<Option<u128>> {
        let moments = moments
            .iter()
            .map(|moment| moment.map(Duration::from_millis));
        let due = moments.map(|moment| schedule.next(moment));
        due.map(|due| due.map(|due| due.as_millis())).collect()
    }

    #[test]
    fn a_rate_spreads_the_frames_evenly() {
        let mut schedule = Schedule::new(Pace::Rate(4.0));
        assert_eq!(
            due(&mut schedule, &[None; 3]),
            [Some(0), Some(250), Some(500)]
        );
        schedule.begin_pass();
        assert_eq!(due(&mut schedule, &[None]), [Some(750)]);
    }

    #[test]
    fn a_speed_follows_the_times_of_the_frames() {
        let mut schedule = Schedule::new(Pace::Speed(2.0));
        let moments = [Some(9000), Some(9100), None, Some(8000), Some(9500)];
        let expected = [0, 50, 50, 50, 250].map(Some);
        assert_eq!(due(&mut schedule, &moments), expected);
        schedule.begin_pass();
        assert_eq!(
            due(&mut schedule, &[Some(9000), Some(9100)]),
            [Some(250), Some(300)]
        );
    }

    #[test]
    fn without_a_pace_nothing_waits() {
        let mut schedule = Schedule::new(Pace::Unlimited);
        assert_eq!(due(&mut schedule, &[Some(1), Some(5)]), [None, None]);
        let mut schedule = Schedule::new(Pace::Speed(0.001));
        assert_eq!(schedule.next(Some(Duration::ZERO)), Some(Duration::ZERO));
        let last = schedule.next(Some(Duration::from_hours(24)));
        assert_eq!(last, Some(Duration::from_hours(24_000)));
    }

    /// Tests a frame with a wrong time, and a capture of another week.
    #[test]
    fn a_step_of_more_than_a_day_is_not_waited_for() {
        const WEEK: u64 = 7 * 24 * 3_600_000;
        let mut schedule = Schedule::new(Pace::Speed(1.0));
        let moments = [9000, 9100, u64::MAX, 9200, 9300, WEEK, WEEK + 500, 100, 150];
        let expected = [0, 100, 100, 100, 200, 200, 700, 700, 750].map(Some);
        assert_eq!(due(&mut schedule, &moments.map(Some)), expected);
    }
}
